"""`compare_overfitting` against cross-validation one fit at a time, and published numbers."""

import builtins
import re
import sys

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris, make_moons
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer, median_absolute_error
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from sklearn_dropout import (
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutSearchCV,
    OverfittingComparison,
    compare_overfitting,
)
from sklearn_dropout.model_selection import comparison
from sklearn_dropout.model_selection.resampling import resampled_mean

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 5, "batch_size": 16, "random_state": 0}


def classifier(**params):
    return DropoutMLPClassifier(**SMALL | params)


def regressor(**params):
    return DropoutMLPRegressor(**SMALL | params)


def class_data(n=60):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    return X, np.array(["no", "yes"])[(X[:, 0] + 0.5 * rng.standard_normal(n) > 0).astype(int)]


def number_data(n=60):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    return X, 10 * X[:, 0] + rng.standard_normal(n)


def made(train, test, **changes):
    """A comparison of given scores."""
    train, test = np.array(train, dtype=float), np.array(test, dtype=float)
    n = train.shape[1]
    settings = {
        "names": ["a", "b", "c", "d"][: len(train)],
        "n_train": np.full(n, 80),
        "n_test": np.full(n, 20),
        "n_repeats": 1,
        "baseline": "a",
        "score_name": "accuracy",
    }
    return OverfittingComparison(train_scores=train, test_scores=test, **settings | changes)


def assert_scores_of(comparison, name, estimator, X, y, cv, **options):
    expected = cross_validate(estimator, X, y, cv=cv, return_train_score=True, **options)
    place = comparison.names.index(name)
    for part in ("train", "test"):
        found = getattr(comparison, f"{part}_scores")[place]
        np.testing.assert_allclose(found, expected[f"{part}_score"], atol=1e-4, err_msg=name)


# ---- scores


def test_scores_are_those_of_single_fits():
    X, y = class_data()
    estimators = {
        "plain": classifier(dropout_rate=0),
        "dropout": classifier(dropout_rate=[0.4]),
        "other units": classifier(hidden_layer_sizes=(4, 3), alpha=0.1),
        "pipe": make_pipeline(StandardScaler(), classifier(dropout_rate=0.2)),
        "pipe, max-norm": make_pipeline(StandardScaler(), classifier(max_norm=1.0)),
        "other pipe": make_pipeline(MinMaxScaler(), classifier(dropout_rate=0.2)),
        "lambda": make_pipeline(FunctionTransformer(lambda X: 2 * X), classifier()),
        "logistic": LogisticRegression(),
        "search": GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2),
    }
    cv = KFold(3, shuffle=True, random_state=0)
    comparison = compare_overfitting(estimators, X, y, cv=cv)
    assert comparison.names == list(estimators)
    for name, estimator in estimators.items():
        assert_scores_of(comparison, name, estimator, X, y, cv)


def test_scores_of_regressors():
    X, y = number_data()
    estimators = {
        "plain": regressor(),
        "target": TransformedTargetRegressor(regressor(), transformer=StandardScaler()),
        "target, rate": TransformedTargetRegressor(
            regressor(dropout_rate=0.5), transformer=StandardScaler()
        ),
        "ridge": Ridge(),
    }
    cv = KFold(3)
    scoring = "neg_mean_squared_error"
    comparison = compare_overfitting(estimators, X, y, cv=cv, scoring=scoring)
    assert comparison.score_name == scoring
    for name, estimator in estimators.items():
        assert_scores_of(comparison, name, estimator, X, y, cv, scoring=scoring)


def test_networks_share_a_search_where_they_can(monkeypatch):
    seen = []

    class Search(DropoutSearchCV):
        def fit(self, X, y):
            seen.append(len(self.param_grid))
            return super().fit(X, y)

    monkeypatch.setattr(comparison, "DropoutSearchCV", Search)
    X, y = class_data()
    estimators = {f"rate {rate}": classifier(dropout_rate=rate) for rate in (0, 0.2, 0.5)}
    estimators["tree"] = DecisionTreeClassifier()
    for rate in (0, 0.3):
        estimators[f"pipe {rate}"] = make_pipeline(StandardScaler(), classifier(dropout_rate=rate))
    compare_overfitting(estimators, X, y, cv=KFold(2))
    assert sorted(seen) == [1, 2, 3]


def test_estimators_are_left_as_they_were():
    X, y = class_data()
    estimators = [classifier(), make_pipeline(StandardScaler(), classifier(dropout_rate=0.5))]
    before = repr(estimators)
    comparison = compare_overfitting(estimators, X, y, cv=KFold(2))
    assert repr(estimators) == before
    assert not hasattr(estimators[0], "coefs_")
    assert comparison.names == ["DropoutMLPClassifier", "Pipeline"]


def test_names_of_a_list():
    X, y = class_data()
    trees = [DecisionTreeClassifier(max_depth=depth) for depth in (1, 2)]
    comparison = compare_overfitting([*trees, LogisticRegression()], X, y, cv=KFold(2))
    names = ["DecisionTreeClassifier 1", "DecisionTreeClassifier 2", "LogisticRegression"]
    assert comparison.names == names
    assert comparison.baseline == names[0]


def test_same_result_on_every_run():
    X, y = class_data()
    estimators = {"plain": classifier(), "dropout": classifier(dropout_rate=0.5)}
    first, second = (compare_overfitting(estimators, X, y, cv=2) for _ in range(2))
    np.testing.assert_array_equal(first.test_scores, second.test_scores)
    np.testing.assert_array_equal(first.train_scores, second.train_scores)
    assert str(first) == str(second)


def test_workers_change_nothing():
    X, y = class_data()
    estimators = {"plain": classifier(), "dropout": classifier(dropout_rate=0.5)}
    first, second = (
        compare_overfitting(estimators, X, y, cv=KFold(2), n_jobs=n_jobs) for n_jobs in (1, 2)
    )
    np.testing.assert_allclose(first.test_scores, second.test_scores, atol=1e-4)


# ---- splits


@pytest.mark.parametrize(("cv", "n_folds"), [(None, 5), (3, 3)])
def test_folds_are_repeated_and_stratified_by_default(cv, n_folds):
    X, y = load_iris(return_X_y=True)
    comparison = compare_overfitting([DecisionTreeClassifier(random_state=0)], X, y, cv=cv)
    expected = RepeatedStratifiedKFold(n_splits=n_folds, n_repeats=10, random_state=0)
    assert_scores_of(
        comparison, comparison.names[0], DecisionTreeClassifier(random_state=0), X, y, expected
    )
    assert f"{n_folds} folds x 10 repeats" in str(comparison)


def test_folds_of_numbers():
    X, y = number_data()
    comparison = compare_overfitting({"ridge": Ridge()}, X, y)
    expected = RepeatedKFold(n_splits=5, n_repeats=10, random_state=0)
    assert_scores_of(comparison, "ridge", Ridge(), X, y, expected)
    assert comparison.score_name == "r2"


@pytest.mark.parametrize("data", [class_data, number_data])
def test_groups_stay_together_by_default(data):
    X, y = data()
    groups = np.repeat(np.arange(20), 3)
    kept = []

    class Spy(DummyClassifier if data is class_data else Ridge):
        def fit(self, X, y):
            kept.append(set(np.unique(X[:, 0].astype(int))))
            return super().fit(X, y)

    X = np.column_stack([groups, X])
    comparison = compare_overfitting({"spy": Spy()}, X, y, groups=groups)
    assert len(kept) == 50
    for seen, n_train in zip(kept, comparison.n_train):
        assert n_train == 3 * len(seen)
    assert len({tuple(sorted(seen)) for seen in kept}) > 20  # shuffled anew in each repeat


def test_splits_that_are_no_folds():
    X, y = class_data()
    cv = ShuffleSplit(4, test_size=0.25, random_state=0)
    comparison = compare_overfitting({"tree": DecisionTreeClassifier()}, X, y, cv=cv)
    assert comparison.n_repeats == 0
    assert "4 splits, 45 training and 15 test rows" in str(comparison)


# ---- statistics


def test_published_example():
    """scikit-learn's gallery, "Statistical comparison of models using grid search".

    The page prints a corrected t of 0.750 with a right-tailed p of 0.227 for the first two
    models, and for all pairs Bonferroni's p-values of one tail and six comparisons.
    """
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    estimators = {
        "rbf": SVC(kernel="rbf", random_state=0),
        "linear": SVC(kernel="linear", random_state=0),
        "3_poly": SVC(kernel="poly", degree=3, random_state=0),
        "2_poly": SVC(kernel="poly", degree=2, random_state=0),
    }
    cv = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    comparison = compare_overfitting(estimators, X, y, cv=cv, scoring="roc_auc", baseline="linear")
    means = {name: comparison.means["test"][name].mean for name in estimators}
    published = {"rbf": 0.9400, "linear": 0.9300, "3_poly": 0.9044, "2_poly": 0.6852}
    assert means == pytest.approx(published, abs=5e-5)

    best = comparison.differences["test"]["rbf"]
    assert best.statistic == pytest.approx(0.750, abs=5e-4)
    assert best.p_value / 2 == pytest.approx(0.227, abs=5e-4)
    assert "Test score, rbf vs linear: no significant" in comparison.conclusions()[0]

    rows = {name: comparison.test_scores[place] for place, name in enumerate(estimators)}
    for one, other, statistic, bonferroni in [
        ("rbf", "linear", 0.750, 1.000),
        ("rbf", "3_poly", 1.657, 0.302),
        ("rbf", "2_poly", 4.565, 0.000),
        ("linear", "3_poly", 1.111, 0.807),
        ("linear", "2_poly", 4.276, 0.000),
        ("3_poly", "2_poly", 3.851, 0.001),
    ]:
        found = resampled_mean(rows[one] - rows[other], 10 / 90)
        assert found.statistic == pytest.approx(statistic, abs=5e-4)
        assert min(1, 6 * found.p_value / 2) == pytest.approx(bonferroni, abs=5e-4)


def test_differences_are_paired_and_signed():
    train = [[1.0, 0.9, 1.0, 0.9], [0.8, 0.9, 0.8, 0.7]]
    test = [[0.7, 0.8, 0.6, 0.7], [0.75, 0.8, 0.7, 0.6]]
    comparison = made(train, test)
    np.testing.assert_allclose(comparison.gaps, np.subtract(train, test))
    difference = np.subtract(test[1], test[0])
    assert comparison.differences["test"]["b"] == resampled_mean(difference, 0.25)
    gap = comparison.gaps[1] - comparison.gaps[0]
    assert comparison.differences["gap"]["b"] == resampled_mean(gap, 0.25)
    assert set(comparison.differences["test"]) == {"b"}
    other = made(train, test, baseline="b")
    assert other.differences["test"]["a"].mean == pytest.approx(-difference.mean())


def test_p_values_are_adjusted_for_the_number_of_comparisons():
    rng = np.random.default_rng(0)
    test = rng.random((4, 20)) + np.array([[0], [0.3], [0.35], [0]])
    comparison = made(test + 0.1, test)
    raw = {name: found.p_value for name, found in comparison.differences["test"].items()}
    adjusted = comparison.adjusted_p_values["test"]
    smallest = min(raw, key=raw.get)
    assert adjusted[smallest] == pytest.approx(3 * raw[smallest])
    assert all(adjusted[name] >= raw[name] for name in raw)
    assert made(test[:2], test[:2]).adjusted_p_values["test"]["b"] == pytest.approx(raw["b"])


# ---- what is said


def test_it_refuses_to_rank_by_differences_that_do_not_vary():
    """Two or three splits of few rows often differ alike; that says nothing of other splits."""
    comparison = made(np.ones((2, 2)), np.array([[0.8, 0.7], [0.81, 0.71]]))
    text = str(comparison)
    assert "the same in every split, not tested" in text
    assert "nan" not in text
    assert np.isnan(comparison.adjusted_p_values["test"]["b"])


def test_it_refuses_to_rank_where_the_test_does_not_separate():
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.standard_normal((3, 20))
    test = np.array([[0.7], [0.705], [0.95]]) + noise
    train = np.array([[1.0], [0.98], [0.97]]) + 0.001 * noise
    comparison = made(train, test)
    text = str(comparison)
    said = [
        sentence.partition(", +")[0].partition(", -")[0] for sentence in comparison.conclusions()
    ]
    assert said == [
        "Test score, b vs a: no significant difference",
        "Gap, b vs a: no significant difference",
        "Test score, c vs a: higher",
        "Gap, c vs a: smaller",
    ]
    cells = [re.split("  +", line) for line in text.splitlines() if line.startswith(("b  ", "c  "))]
    assert [row[-1] for row in cells[2:]] == [s.partition(": ")[2] for s in said]
    assert "Holm-adjusted" in text
    assert text.index("a (baseline)") < text.index("\nb ") < text.index("\nc ")


def test_text_states_design_and_numbers():
    comparison = made([[1.0, 0.9, 1.0], [0.8, 0.8, 0.7]], [[0.7, 0.8, 0.6], [0.7, 0.8, 0.7]])
    lines = str(comparison).splitlines()
    assert lines[0] == "accuracy: 3 folds x 1 repeat, 80 training and 20 test rows"
    assert lines[1:3] == ["mean ± standard deviation over the splits", "gap = train - test"]
    assert re.split("  +", lines[5]) == [
        "a (baseline)",
        "0.967 ± 0.058",
        "0.700 ± 0.100",
        "0.267 ± 0.153",
    ]
    found = comparison.differences["gap"]["b"]
    row = re.split("  +", lines[-1])
    assert row[:2] == ["b", "gap"]
    assert row[2:4] == [f"{found.mean:+.3f}", f"[{found.low:+.3f}, {found.high:+.3f}]"]
    assert repr(comparison) == str(comparison)
    uneven = made(np.eye(2), np.zeros((2, 2)), n_train=np.array([80, 79]))
    assert "79-80 training and 20 test rows" in str(uneven)


def test_one_estimator_is_only_described():
    comparison = made([[1.0, 0.9]], [[0.7, 0.8]])
    assert comparison.conclusions() == []
    assert "baseline" not in str(comparison)
    assert "Differences" not in comparison._repr_html_()


def test_html_shows_the_same_and_escapes_names():
    comparison = made(np.eye(2), np.zeros((2, 2)), names=["a<b", "c&d"], baseline="a<b")
    html = comparison._repr_html_()
    assert "a&lt;b (baseline)" in html
    assert "c&amp;d" in html
    assert "a<b" not in html
    assert html.count("<tr>") == 3 + 3
    assert "2 folds x 1 repeat" in html
    assert html.count("no significant difference") == 2


def test_frame():
    pandas = pytest.importorskip("pandas")
    comparison = made([[1.0, 0.9, 1.0], [0.8, 0.8, 0.7]], [[0.7, 0.8, 0.6], [0.7, 0.8, 0.7]])
    frame = comparison.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.index) == ["a", "b"]
    np.testing.assert_allclose(frame["gap"], comparison.gaps.mean(axis=1))
    np.testing.assert_allclose(frame["test_std"], comparison.test_scores.std(axis=1, ddof=1))
    found = comparison.differences["gap"]["b"]
    for key, value in {
        "": found.mean,
        "_low": found.low,
        "_high": found.high,
        "_t": found.statistic,
        "_p": found.p_value,
        "_p_adjusted": comparison.adjusted_p_values["gap"]["b"],
    }.items():
        assert frame.loc["b", f"gap_difference{key}"] == value
        assert np.isnan(frame.loc["a", f"gap_difference{key}"])


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_frame"), ("matplotlib", "plot")])
def test_packages_are_asked_for_only_where_needed(package, method, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return original(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    X, y = class_data()
    comparison = compare_overfitting({"tree": DecisionTreeClassifier()}, X, y, cv=KFold(2))
    assert "tree" in str(comparison)
    assert "tree" in comparison._repr_html_()
    with pytest.raises(ImportError, match=f"requires {package}"):
        getattr(comparison, method)()


# ---- what is refused


@pytest.mark.parametrize(
    ("estimators", "error", "message"),
    [
        ({}, ValueError, "is empty"),
        ([], ValueError, "is empty"),
        (LogisticRegression(), TypeError, "must be a dict"),
        ({"a": LogisticRegression}, TypeError, "as 'a', which is not an estimator"),
        ([3], TypeError, "which is not an estimator"),
        ({1: LogisticRegression()}, TypeError, "Names must be strings"),
        ({"a": LogisticRegression(), "b": Ridge()}, ValueError, "of both kinds"),
    ],
)
def test_bad_estimators(estimators, error, message):
    with pytest.raises(error, match=message):
        compare_overfitting(estimators, *class_data())


def test_bad_arguments():
    X, y = class_data()
    trees = {"tree": DecisionTreeClassifier()}
    with pytest.raises(ValueError, match=r"baseline='x' is not the name.*\['tree'\]"):
        compare_overfitting(trees, X, y, baseline="x")
    with pytest.raises(ValueError, match="must be one score"):
        compare_overfitting(trees, X, y, scoring=["accuracy", "roc_auc"])
    with pytest.raises(ValueError, match="1 split"):
        compare_overfitting(trees, X, y, cv=[(np.arange(40), np.arange(40, 60))])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        compare_overfitting(trees, X, y[:-1])


def test_failures_name_the_estimator():
    X, y = class_data()
    estimators = {
        "good": classifier(),
        "bad": make_pipeline(StandardScaler(), classifier(alpha=-1)),
    }
    with pytest.raises(ValueError, match="alpha") as caught:
        compare_overfitting(estimators, X, y, cv=KFold(2))
    assert any("'bad'" in note for note in caught.value.__notes__)


def test_scores_that_are_not_finite():
    X, y = class_data()
    with pytest.raises(ValueError, match=r"'tree' has scores that are not finite.*another score"):
        compare_overfitting(
            {"tree": DecisionTreeClassifier()}, X, y, cv=KFold(2), scoring=lambda *_: np.inf
        )


def test_scorer_objects_have_a_name():
    X, y = number_data()
    scorer = make_scorer(median_absolute_error, greater_is_better=False)
    comparison = compare_overfitting({"ridge": Ridge()}, X, y, cv=KFold(2), scoring=scorer)
    assert "median_absolute_error" in comparison.score_name
