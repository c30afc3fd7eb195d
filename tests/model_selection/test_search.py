"""`DropoutSearchCV` against `GridSearchCV` on the same data: everything a user can see."""

import inspect
import pickle
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from _families import spread
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    cross_val_score,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV

SMALL = {
    "hidden_layer_sizes": (5,),
    "max_iter": 4,
    "batch_size": 10,
    "learning_rate_init": 0.01,
    "random_state": 0,
}
RATES = {"dropout_rate": [0.0, 0.3, 0.6]}
BOTH = (DropoutSearchCV, GridSearchCV)


def classifier(**params):
    return DropoutMLPClassifier(**SMALL | params)


def regressor(**params):
    return DropoutMLPRegressor(**SMALL | params)


def class_data(n=48, seed=0, n_classes=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    y = np.digitize(X[:, 0] + 0.4 * X[:, 1], [-0.5, 0.5][: n_classes - 1])
    return X, np.array(["a", "b", "c"])[y]


def number_data(n=48, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    return X, 20 + 5 * X[:, 0] + X[:, 1] ** 2 + rng.standard_normal(n)


def both(est, grid, X, y, fit_params=None, *, same=True, **options):
    """The two searches, fitted; their results compared."""
    options.setdefault("cv", 2)
    ours, theirs = (Search(est, grid, **options).fit(X, y, **(fit_params or {})) for Search in BOTH)
    if same:
        assert_same_results(ours, theirs)
    return ours, theirs


def assert_same_results(ours, theirs, rtol=1e-5, atol=1e-6):
    """All of `cv_results_`: keys, their order, types and values, except for the times."""
    got, expected = ours.cv_results_, theirs.cv_results_
    assert list(got) == list(expected)
    assert got["params"] == expected["params"]
    for name, values in expected.items():
        if name == "params":
            continue
        assert type(got[name]) is type(values), name
        assert got[name].shape == values.shape, name
        assert got[name].dtype == values.dtype, name
        if name.startswith("param_"):
            np.testing.assert_array_equal(got[name].mask, values.mask)
            assert got[name].tolist() == values.tolist()
        elif name.endswith("_time"):
            assert (got[name] >= 0).all()
        elif name.startswith("rank_"):
            assert_same_ranks(got[name], values, expected[f"mean_{name.removeprefix('rank_')}"])
        else:
            np.testing.assert_allclose(got[name], values, rtol, atol, err_msg=name)
    assert ours.n_splits_ == theirs.n_splits_


def assert_same_ranks(got, expected, means):
    """Equal ranks, except among scores that differ by rounding only."""
    np.testing.assert_array_equal(got[np.isnan(means)], expected[np.isnan(means)])
    means, got = means[~np.isnan(means)], got[~np.isnan(means)]
    for one, rank in zip(means, got):
        assert (got[means > one + 1e-5 * np.abs(one)] < rank).all()


def outcome(search, X, y, **fit_params):
    """What comes of a fit: its error or the search, and the kinds of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            search.fit(X, y, **fit_params)
        except Exception as exception:
            error = exception
        else:
            error = None
    return error, caught


def kinds(caught):
    return sorted({warning.category.__name__ for warning in caught})


def fit_failures(caught):
    """What the warnings say of failed fits, up to the details."""
    texts = [str(w.message) for w in caught if w.category is FitFailedWarning]
    return [text.split("Below are more details")[0] for text in texts]


# The class


def test_constructor_is_that_of_grid_search():
    ours, theirs = (inspect.signature(Search).parameters for Search in BOTH)
    assert list(ours) == list(theirs)
    for name, parameter in theirs.items():
        assert (ours[name].default, ours[name].kind) in [
            (parameter.default, parameter.kind),
            (pytest.approx(parameter.default, nan_ok=True), parameter.kind),
        ]


def test_clone_and_params():
    search = DropoutSearchCV(classifier(), RATES, cv=3, scoring="neg_log_loss", verbose=0)
    theirs = GridSearchCV(classifier(), RATES)
    assert set(search.get_params()) == set(theirs.get_params())
    X, y = class_data()
    twin = clone(search.fit(X, y))
    with pytest.raises(NotFittedError):
        check_is_fitted(twin)
    assert repr(twin.get_params()) == repr(search.get_params())
    assert twin.set_params(estimator__max_iter=2).estimator.max_iter == 2
    assert search.estimator.max_iter == SMALL["max_iter"]


def test_fit_leaves_the_constructor_parameters_alone():
    X, y = class_data()
    est = classifier()
    search = DropoutSearchCV(est, RATES, cv=3)
    before = dict(vars(search))
    assert search.fit(X, y) is search
    assert all(vars(search)[name] is value for name, value in before.items())
    assert not [name for name in vars(est) if name.endswith("_")]


@pytest.mark.parametrize(
    "options", [{"cv": "five"}, {"scoring": "goodness"}, {"refit": 1.5}, {"error_score": "zero"}]
)
def test_parameters_are_validated(options):
    X, y = class_data()
    errors = [outcome(Search(classifier(), RATES, **options), X, y)[0] for Search in BOTH]
    assert type(errors[0]) is type(errors[1])
    assert isinstance(errors[0], ValueError)
    assert next(iter(options)) in str(errors[0])


@pytest.mark.parametrize("make", [classifier, regressor])
def test_tags_are_those_of_the_estimator(make):
    search = DropoutSearchCV(make(), RATES)
    assert (is_classifier(search), is_regressor(search)) == (
        is_classifier(make()),
        is_regressor(make()),
    )
    assert search.__sklearn_tags__().input_tags.sparse


def test_unfitted_search_says_so():
    search = DropoutSearchCV(classifier(), RATES)
    with pytest.raises(NotFittedError):
        search.predict(np.zeros((1, 4)))
    assert not hasattr(search, "classes_")


# Results and scoring


def two_scores(estimator, X, y):
    proba = estimator.predict_proba(X)
    classes = estimator.classes_
    return {
        "top": accuracy_score(y, estimator.predict(X)),
        "loss": -log_loss(y, proba, labels=classes),
    }


def one_score(estimator, X, y):
    return two_scores(estimator, X, y)["loss"]


SCORINGS = {
    "default": {},
    "name": {"scoring": "neg_log_loss"},
    "callable": {"scoring": one_score},
    "list": {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
    "tuple": {"scoring": ("accuracy", "neg_log_loss"), "refit": False},
    "dict": {"scoring": {"a": "accuracy", "b": one_score}, "refit": "b"},
    "callable of a dict": {"scoring": two_scores, "refit": "loss"},
}


@pytest.mark.parametrize("return_train_score", [False, True])
@pytest.mark.parametrize("options", SCORINGS.values(), ids=SCORINGS)
def test_scoring(options, return_train_score):
    X, y = class_data()
    ours, theirs = both(classifier(), RATES, X, y, return_train_score=return_train_score, **options)
    trained = [name for name in ours.cv_results_ if name.startswith("mean_train_")]
    assert bool(trained) == return_train_score
    assert type(ours.scorer_) is type(theirs.scorer_)
    assert ours.multimetric_ == theirs.multimetric_
    if options.get("refit", True):
        assert ours.best_index_ == theirs.best_index_
        assert ours.best_params_ == theirs.best_params_
        assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=1e-5)
        assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-5)


@pytest.mark.parametrize("scoring", [None, "neg_mean_absolute_error"])
def test_scoring_of_a_regressor(scoring):
    X, y = number_data()
    ours, theirs = both(regressor(), RATES, X, y, scoring=scoring, return_train_score=True)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-5)


def broken_score(estimator, X, y):
    if estimator.dropout_rate > 0.5:
        raise ArithmeticError("no score for this one")
    return estimator.score(X, y)


@pytest.mark.parametrize(
    "options",
    [
        {"scoring": broken_score},
        {"scoring": {"good": "accuracy", "bad": broken_score}, "refit": "good"},
    ],
    ids=["one", "several"],
)
def test_failing_scorer(options):
    X, y = class_data()
    ours, theirs = (Search(classifier(), RATES, cv=3, **options) for Search in BOTH)
    results = [outcome(search, X, y) for search in (ours, theirs)]
    assert results[0][0] is results[1][0] is None
    assert_same_results(ours, theirs)
    messages = [sorted(str(w.message)[:60] for w in caught) for _, caught in results]
    assert messages[0] == messages[1]
    assert sum(text.startswith("Scoring failed") for text in messages[0]) == 3
    strict = DropoutSearchCV(classifier(), RATES, cv=3, error_score="raise", **options)
    with pytest.raises(ArithmeticError, match="no score for this one"):
        strict.fit(X, y)


def test_scorer_must_return_a_number():
    X, y = class_data()
    search = DropoutSearchCV(classifier(), RATES, cv=3, scoring=lambda *arguments: "good")
    with pytest.raises(ValueError, match="scoring must return a number"):
        search.fit(X, y)


# Choosing


def last(results):
    return len(results["params"]) - 1


REFITS = {
    "yes": {"refit": True},
    "no": {"refit": False},
    "callable": {"refit": last},
    "several, no": {"scoring": ["accuracy", "neg_log_loss"], "refit": False},
    "several, name": {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
    "several, callable": {"scoring": ["accuracy", "neg_log_loss"], "refit": last},
}
FITTED = [
    "best_estimator_",
    "best_index_",
    "best_params_",
    "best_score_",
    "cv_results_",
    "multimetric_",
    "n_splits_",
    "refit_time_",
    "scorer_",
    "classes_",
    "n_features_in_",
    "feature_names_in_",
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "score_samples",
]


@pytest.mark.parametrize("options", REFITS.values(), ids=REFITS)
def test_refit(options):
    X, y = class_data()
    ours, theirs = both(classifier(), RATES, X, y, **options)
    for name in FITTED:
        assert hasattr(ours, name) == hasattr(theirs, name), name
    if hasattr(theirs, "best_index_"):
        assert (ours.best_index_, ours.best_params_) == (theirs.best_index_, theirs.best_params_)
        assert type(ours.best_index_) is type(theirs.best_index_)
    if options["refit"]:
        np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
        assert ours.refit_time_ > 0
    else:
        with pytest.raises(AttributeError, match="predict"):
            ours.predict(X)


@pytest.mark.parametrize("options", [{}, REFITS["several, no"]], ids=["one", "several, no"])
def test_attributes_of_an_earlier_fit_go(options):
    pandas = pytest.importorskip("pandas")
    X, y = class_data()
    search, new = (DropoutSearchCV(classifier(), RATES, cv=2) for _ in range(2))
    search.fit(pandas.DataFrame(X).add_prefix("column "), y)
    search.set_params(**options).fit(X, y)
    assert vars(search).keys() == vars(new.set_params(**options).fit(X, y)).keys()


@pytest.mark.parametrize(
    "options",
    [
        {"refit": lambda results: "0"},
        {"refit": lambda results: 3},
        {"refit": lambda results: -1},
        {"scoring": ["accuracy", "neg_log_loss"], "refit": True},
        {"scoring": ["accuracy", "neg_log_loss"], "refit": "r2"},
        {"scoring": two_scores, "refit": True},
    ],
    ids=["no index", "too large", "too small", "list", "unknown name", "callable of a dict"],
)
def test_refit_that_cannot_be(options):
    X, y = class_data()
    errors = [outcome(Search(classifier(), RATES, cv=3, **options), X, y)[0] for Search in BOTH]
    assert type(errors[0]) is type(errors[1])
    assert str(errors[0]) == str(errors[1])
    assert isinstance(errors[0], TypeError | IndexError | ValueError)


@pytest.mark.parametrize("frame", [False, True])
def test_fitted_attributes_and_methods(frame):
    X, y = class_data()
    if frame:
        X = pd.DataFrame(X, columns=list("wxyz"))
    ours, theirs = both(classifier(), RATES, X, y, scoring="neg_log_loss")
    best = ours.best_estimator_
    assert type(best) is DropoutMLPClassifier
    assert best.dropout_rate == ours.best_params_["dropout_rate"]
    for method in ("predict", "predict_proba", "predict_log_proba"):
        np.testing.assert_array_equal(getattr(ours, method)(X), getattr(theirs, method)(X))
    assert ours.score(X, y) == theirs.score(X, y)
    np.testing.assert_array_equal(ours.classes_, ["a", "b", "c"])
    assert ours.n_features_in_ == 4
    assert hasattr(ours, "feature_names_in_") == frame
    if frame:
        assert list(ours.feature_names_in_) == list("wxyz")


def test_pickle_of_a_fitted_search():
    X, y = class_data()
    search = DropoutSearchCV(classifier(), RATES, cv=3, scoring="neg_log_loss").fit(X, y)
    twin = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(twin.predict_proba(X), search.predict_proba(X))
    assert twin.score(X, y) == search.score(X, y)
    assert_same_results(twin, search, 0, 0)


@pytest.mark.parametrize("validation", [False, True])
def test_fitted_search_keeps_no_data(validation):
    def size(n):
        X, y = class_data(n)
        fit_params = {"sample_weight": np.ones(n)}
        if validation:
            fit_params |= dict(zip(("X_val", "y_val"), class_data(n - 7, seed=1)))
        model = Pipeline([("scale", StandardScaler()), ("net", classifier())])
        fit_params = {f"net__{name}": value for name, value in fit_params.items()}
        search = DropoutSearchCV(model, {"net__dropout_rate": [0.0, 0.3]}, cv=2)
        return len(pickle.dumps(search.fit(X, y, **fit_params)))

    assert abs(size(600) - size(60)) <= 32


def test_second_fit_starts_anew():
    X, y = class_data()
    search = DropoutSearchCV(classifier(), RATES, cv=3, scoring="neg_log_loss")
    first = search.fit(X[:30], y[:30]).cv_results_["mean_test_score"]
    again = search.fit(X, y).cv_results_["mean_test_score"]
    fresh = clone(search).fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(again, fresh)
    assert not np.array_equal(first, again)


# Failures


class Broken(skorch.callbacks.Callback):
    def on_epoch_end(self, net, **kwargs):
        raise ArithmeticError("this callback never works")


def broken_epoch_score(estimator, X, y):
    raise ArithmeticError("this score never works")


FAILING = {
    "rate out of range": {"dropout_rate": [0.1, 1.0]},
    "first of all": {"dropout_rate": [-0.1, 0.1]},
    "rates for layers that are not": {"dropout_rate": [[0.1, 0.2], [0.1]]},
    "diverging": {"learning_rate_init": [0.01, 1e30]},
    "diverging first": {"learning_rate_init": [1e30, 0.01], "dropout_rate": [0.0, 0.3]},
    "negative alpha": {"alpha": [-1.0, 0.1]},
    "layer sizes": {"hidden_layer_sizes": [("five",), (5,)]},
    "activation": {"activation": ["relu", "step"]},
    "batch of nothing": {"batch_size": [0, 10]},
    "batch by name": {"batch_size": ["large", 10]},
    "no batch": {"batch_size": [None, 10]},
    "no epochs": {"max_iter": [0, 4]},
    "callback": {"callbacks": [None, [Broken()]]},
    "epoch score": {"scoring": [None, broken_epoch_score]},
    "optimiser": {"solver": ["adam", torch.optim.SparseAdam]},
    "no room to hold out": {"early_stopping": [False, True], "validation_fraction": [0.001]},
}


@spread(failing=FAILING, error_score=[np.nan, -7])
def test_candidate_that_fails(failing, error_score):
    grid = FAILING[failing]
    X, y = class_data()
    options = {"cv": 3, "scoring": "neg_log_loss", "return_train_score": True}
    ours, theirs = (
        Search(classifier(), grid, error_score=error_score, **options) for Search in BOTH
    )
    expected_error, expected = outcome(theirs, X, y)
    error, caught = outcome(ours, X, y)
    assert expected_error is None
    if error is not None:
        raise error
    assert_same_results(ours, theirs)
    assert FitFailedWarning in [w.category for w in caught]
    assert kinds(caught) == kinds(expected)
    assert fit_failures(caught) == fit_failures(expected)
    assert ours.best_params_ == theirs.best_params_


@pytest.mark.parametrize("grid", FAILING.values(), ids=FAILING)
def test_candidate_that_fails_where_errors_are_raised(grid):
    X, y = class_data()
    errors = [
        outcome(Search(classifier(), grid, cv=3, error_score="raise"), X, y)[0] for Search in BOTH
    ]
    assert errors[1] is not None
    assert type(errors[0]) is type(errors[1])
    assert str(errors[1]).splitlines()[0][:40] in str(errors[0])


@pytest.mark.parametrize(
    "options",
    [
        {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
        {"scoring": two_scores, "refit": "loss"},
    ],
    ids=["list", "callable"],
)
def test_candidate_that_fails_with_several_scores(options):
    X, y = class_data()
    grid = {"dropout_rate": [1.0, 0.1, 0.2]}
    ours, theirs = (
        Search(classifier(), grid, cv=3, return_train_score=True, **options) for Search in BOTH
    )
    (error, caught), (_, expected) = (outcome(search, X, y) for search in (ours, theirs))
    assert error is None
    assert_same_results(ours, theirs)
    assert fit_failures(caught) == fit_failures(expected)


def test_every_candidate_fails():
    X, y = class_data()
    errors = [
        outcome(Search(classifier(), {"dropout_rate": [1.0, 2.0]}, cv=3), X, y)[0]
        for Search in BOTH
    ]
    assert type(errors[0]) is type(errors[1]) is ValueError
    assert str(errors[0]).startswith("\nAll the 6 fits failed.")
    assert "is outside [0, 1)" in str(errors[0])


def test_fold_that_fails():
    X, y = number_data()
    y = np.abs(y)
    y[:16] = -1.0  # a training row of every fold but the first
    est = regressor(loss="poisson", max_iter=2)
    ours, theirs = (Search(est, RATES, cv=KFold(3), refit=False) for Search in BOTH)
    (error, caught), (_, expected) = (outcome(search, X, y) for search in (ours, theirs))
    assert not error
    for search in (ours, theirs):
        assert not np.isnan(search.cv_results_["split0_test_score"]).any()
    assert kinds(caught) == kinds(expected)
    assert fit_failures(caught) == fit_failures(expected)
    np.testing.assert_array_equal(
        np.isnan(ours.cv_results_["split1_test_score"]),
        np.isnan(theirs.cv_results_["split1_test_score"]),
    )


def test_failing_candidate_does_not_touch_the_others():
    X, y = class_data()
    grid = {"dropout_rate": [0.0, 0.3]}
    alone = DropoutSearchCV(classifier(), grid, cv=3, scoring="neg_log_loss").fit(X, y)
    company = [grid, {"learning_rate_init": [1e30]}, {"dropout_rate": [1.5]}]
    search = DropoutSearchCV(classifier(), company, cv=3, scoring="neg_log_loss")
    error, _ = outcome(search, X, y)
    assert error is None
    means = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(means[:2], alone.cv_results_["mean_test_score"], 1e-6)
    assert np.isnan(means[2:]).all()


# Bad grids


@pytest.mark.parametrize("error_score", [np.nan, "raise"])
def test_unknown_parameter_is_named_before_training(error_score, monkeypatch):
    X, y = class_data()
    grid = [{"dropout_rate": [0.1]}, {"drop_rate": [0.2]}]
    expected, _ = outcome(GridSearchCV(classifier(), grid, error_score=error_score), X, y)
    forbid_training(monkeypatch)
    with pytest.raises(ValueError, match=r"Candidate 1 .*'drop_rate': 0\.2.*Invalid parameter"):
        DropoutSearchCV(classifier(), grid, error_score=error_score).fit(X, y)
    assert isinstance(expected, ValueError)


def forbid_training(monkeypatch):
    def train(*arguments, **options):
        raise AssertionError("nothing may be trained")

    monkeypatch.setattr(DropoutMLPClassifier, "_train", train)


@pytest.mark.parametrize("grid", [{"dropout_rate": []}, {"dropout_rate": 0.1}, [], {"alpha": "1"}])
def test_grid_that_is_none(grid, monkeypatch):
    X, y = class_data()
    expected, _ = outcome(GridSearchCV(classifier(), grid, cv=3), X, y)
    forbid_training(monkeypatch)
    error, _ = outcome(DropoutSearchCV(classifier(), grid, cv=3), X, y)
    assert type(error) is type(expected)
    assert str(error) == str(expected)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dropout_rate": 1.0}, r"is outside \[0, 1\)"),
        ({"dropout_rate": [0.1, 0.2]}, "has 2 rates for 1 hidden layers"),
        ({"input_dropout_rate": -0.5}, r"is outside \[0, 1\)"),
        ({"alpha": -1}, "'alpha' parameter"),
        ({"max_norm": 0}, "'max_norm' parameter"),
    ],
)
def test_bad_value_is_named_before_training(params, message, monkeypatch):
    X, y = class_data()
    forbid_training(monkeypatch)
    grid = [{"max_iter": [2]}, {name: [value] for name, value in params.items()}]
    model = make_pipeline(StandardScaler(), classifier())
    prefix = "dropoutmlpclassifier__"
    piped = [{f"{prefix}{name}": values for name, values in part.items()} for part in grid]
    for est, candidates in ((classifier(), grid), (model, piped)):
        search = DropoutSearchCV(est, candidates, cv=3, error_score="raise")
        with pytest.raises(ValueError, match=f"Candidate 1 .*{next(iter(params))}.*{message}"):
            search.fit(X, y)
        with pytest.raises(NotFittedError):
            check_is_fitted(search)


# Splits


def splits(X, y):
    rows = np.arange(len(y))
    mask = rows % 4 == 0
    folds = np.arange(len(y)) % 3
    return {
        "default": None,
        "int": 4,
        "splitter": KFold(3, shuffle=True, random_state=1),
        "repeated": RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0),
        "arrays": [(rows[:30], rows[30:]), (rows[10:], rows[:10])],
        "lists": [(rows[:30].tolist(), rows[30:].tolist())],
        "generator": ((rows[rows % 3 != k], rows[rows % 3 == k]) for k in range(3)),
        "masks": [(mask, ~mask), (~mask, mask)],
        "predefined": PredefinedSplit(np.where(folds == 0, -1, folds)),
        "overlap": [(rows, rows), (rows[::2], rows)],
    }


@pytest.mark.parametrize("name", list(splits(*class_data())))
def test_cv(name):
    X, y = class_data()
    ours, theirs = (
        Search(classifier(), RATES, cv=splits(X, y)[name], scoring="neg_log_loss").fit(X, y)
        for Search in BOTH
    )
    assert_same_results(ours, theirs)
    assert f"split{ours.n_splits_ - 1}_test_score" in ours.cv_results_


def test_empty_cv():
    X, y = class_data()
    errors = [outcome(Search(classifier(), RATES, cv=[]), X, y)[0] for Search in BOTH]
    assert type(errors[0]) is type(errors[1]) is ValueError
    assert "No fits were performed" in str(errors[0])


def test_groups():
    X, y = class_data()
    groups = np.arange(len(y)) // 6
    both(classifier(), RATES, X, y, {"groups": groups}, cv=GroupKFold(4), scoring="neg_log_loss")
    errors = [outcome(Search(classifier(), RATES, cv=GroupKFold(4)), X, y)[0] for Search in BOTH]
    assert str(errors[0]) == str(errors[1])
    assert "groups" in str(errors[0])


def test_classes_that_some_folds_lack():
    X, _ = class_data()
    y = np.repeat(["a", "b", "c"], [8, 16, 24])  # the first fold is tested on all of "a"
    options = {"scoring": "accuracy", "return_train_score": True}
    both(classifier(), RATES, X, y, cv=KFold(6), **options)
    alike = {"cv": [(np.arange(24), np.arange(8)), (np.arange(8, 32), np.arange(24, 48))]}
    both(classifier(), RATES, X, y, **alike, **options)


# Fit parameters


@pytest.mark.parametrize("make", [classifier, regressor])
def test_sample_weight(make):
    X, y = class_data() if make is classifier else number_data()
    weight = np.random.default_rng(2).integers(0, 4, len(y)).astype(float)
    ours, _ = both(make(), RATES, X, y, {"sample_weight": weight}, return_train_score=True)
    plain, _ = both(make(), RATES, X, y, {"sample_weight": None}, return_train_score=True)
    name = "mean_train_score"
    assert not np.allclose(ours.cv_results_[name], plain.cv_results_[name])


def test_sample_weight_that_the_scorer_does_not_take():
    X, y = class_data()
    weight = np.arange(len(y)) % 2
    options = {"cv": 3, "scoring": one_score}
    results = [
        outcome(Search(classifier(), RATES, **options), X, y, sample_weight=weight)
        for Search in BOTH
    ]
    messages = [[str(w.message)[:40] for w in caught] for _, caught in results]
    assert messages[0] == messages[1]
    assert "does not support sample_weight" in str(results[0][1][0].message)


def valid_loss(estimator, X, y):
    return -estimator.history_[-1, "valid_loss"]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("make", [classifier, regressor])
def test_validation_set(make, early_stopping):
    data = class_data if make is classifier else number_data
    X, y = data()
    X_val, y_val = data(n=21, seed=1)
    est = make(early_stopping=early_stopping, max_iter=8, n_iter_no_change=2)
    fit_params = {
        "X_val": X_val,
        "y_val": y_val,
        "sample_weight_val": np.linspace(0, 2, len(y_val)),
    }
    ours, theirs = both(est, RATES, X, y, fit_params, scoring=valid_loss)
    assert ours.best_estimator_.n_iter_ == theirs.best_estimator_.n_iter_


def test_fit_parameters_of_a_pipeline():
    X, y = class_data()
    weight = np.random.default_rng(2).integers(0, 4, len(y)).astype(float)
    model = Pipeline([("scale", StandardScaler()), ("clf", classifier())])
    fit_params = {"clf__sample_weight": weight, "scale__sample_weight": weight}
    grid = {"clf__dropout_rate": [0.0, 0.4], "scale__with_mean": [True, False]}
    ours, _ = both(model, grid, X, y, fit_params, scoring="neg_log_loss")
    plain = DropoutSearchCV(model, grid, cv=2, scoring="neg_log_loss").fit(X, y)
    name = "mean_test_score"
    assert not np.allclose(ours.cv_results_[name], plain.cv_results_[name])


def test_unknown_fit_parameter():
    X, y = class_data()
    errors = [outcome(Search(classifier(), RATES, cv=3), X, y, sample_wait=1)[0] for Search in BOTH]
    assert type(errors[0]) is type(errors[1])
    assert "sample_wait" in str(errors[0])


@pytest.mark.parametrize("scoring", [None, "neg_log_loss"])
def test_metadata_routing(scoring):
    X, y = class_data()
    X_val, y_val = class_data(n=21, seed=1)
    weight = np.random.default_rng(2).integers(0, 4, len(y)).astype(float)
    groups = np.arange(len(y)) // 6
    metadata = {"sample_weight": weight, "groups": groups, "X_val": X_val, "y_val": y_val}
    with config_context(enable_metadata_routing=True):
        est = classifier(early_stopping=True, max_iter=6)
        est.set_fit_request(sample_weight=True, X_val=True, y_val=True)
        est.set_score_request(sample_weight=True)
        if scoring is not None:
            from sklearn.metrics import get_scorer

            scoring = get_scorer(scoring).set_score_request(sample_weight=True)
        ours, theirs = both(est, RATES, X, y, metadata, cv=GroupKFold(3), scoring=scoring)
        assert ours.score(X, y, sample_weight=weight) == pytest.approx(
            theirs.score(X, y, sample_weight=weight)
        )
        unasked, _ = outcome(DropoutSearchCV(classifier(), RATES), X, y, sample_weight=weight)
        assert "sample_weight" in str(unasked)
    without = GridSearchCV(est, RATES, cv=3).fit(X, y)
    assert not np.allclose(
        without.cv_results_["mean_test_score"], ours.cv_results_["mean_test_score"]
    )


def test_metadata_routing_through_a_pipeline():
    X, y = class_data()
    X_val, y_val = class_data(n=21, seed=1)
    weight = np.random.default_rng(2).integers(0, 4, len(y)).astype(float)
    metadata = {"sample_weight": weight, "X_val": 3 * X_val, "y_val": y_val}
    with config_context(enable_metadata_routing=True):
        est = classifier().set_fit_request(sample_weight=True, X_val=True, y_val=True)
        est.set_score_request(sample_weight=False)
        steps = [("scale", StandardScaler().set_fit_request(sample_weight=True)), ("clf", est)]
        model = Pipeline(steps, transform_input=["X_val"])
        grid = {"clf__dropout_rate": [0.0, 0.4]}
        both(model, grid, X, y, metadata, scoring=lambda est, X, y: valid_loss(est[-1], X, y))


# Grids

GRIDS = {
    "one number": {"dropout_rate": [0.0, 0.2, 0.5]},
    "rates of layers": {"dropout_rate": [0.1, [0.3, 0.0], (0.0, 0.5), np.array([0.2, 0.7])]},
    "all dropout": {"input_dropout_rate": [0.0, 0.2], "spatial_dropout_rate": [0, 0.3]},
    "penalty and rate": {"alpha": [0, 10.0], "learning_rate_init": [0.001, 0.05]},
    "norms": {"max_norm": [None, 0.5, 2], "dropout_rate": [0.0, 0.4]},
    "seeds": {"random_state": [0, 2**31, np.int64(3)], "dropout_rate": [0.1, 0.4]},
    "weights": {"weight_init": ["glorot_uniform", "he_normal"], "dropout_rate": [0, 0.3]},
    "sizes": {"hidden_layer_sizes": [(3,), 4, (3, 2)], "dropout_rate": [0.0, 0.4]},
    "activations": {"activation": ["relu", "tanh"], "alpha": [0.1, 1.0]},
    "epochs and batches": {"max_iter": [2, 5], "batch_size": [8, "auto"], "alpha": [0, 1.0]},
    "solvers": {"solver": ["adam", "sgd", "adamw", torch.optim.RMSprop], "alpha": [0.01, 0.1]},
    "schedules": {"solver": ["sgd"], "learning_rate": ["constant", "invscaling", "adaptive"]},
    "stopping": {"early_stopping": [False, True], "tol": [1e-4, 0.1], "dropout_rate": [0.0, 0.4]},
    "scorings": {"scoring": [None, "accuracy", "neg_log_loss"], "dropout_rate": [0.0, 0.4]},
    "class weights": {"class_weight": [None, "balanced", {"a": 1, "b": 5, "c": 2}]},
    "callbacks": {"callbacks": [None, [], [skorch.callbacks.EpochTimer()]], "alpha": [0.1, 1]},
    "two grids": [
        {"dropout_rate": [0.1, 0.3], "alpha": [0.5]},
        {"hidden_layer_sizes": [(3,)], "dropout_rate": [0.2]},
    ],
    "nothing": {},
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_grid(grid):
    X, y = class_data()
    est = classifier(hidden_layer_sizes=(4, 3), early_stopping=False)
    if isinstance(grid, dict) and "hidden_layer_sizes" in grid:
        est.set_params(hidden_layer_sizes=(4,))
    options = {"scoring": "neg_log_loss", "return_train_score": True, "refit": False}
    ours, theirs = both(est, grid, X, y, **options)
    means = theirs.cv_results_["mean_test_score"]
    assert means[ours.best_index_] == pytest.approx(theirs.best_score_, rel=1e-5)
    # Otherwise nothing is said about which candidate is which.
    assert len(set(means)) >= min(2, len(means)) or {"callbacks", "scoring"} & set(grid)


def test_grid_with_an_estimator_for_each_epoch_score():
    X, y = class_data()
    grid = {"scoring": [None, "accuracy"], "callbacks": [None, [skorch.callbacks.EpochTimer()]]}
    both(classifier(early_stopping=True), grid, X, y, scoring="neg_log_loss")


# Estimators around ours


def test_pipeline_with_scaler_parameters():
    X, y = class_data()
    model = Pipeline([("scale", StandardScaler()), ("clf", classifier())])
    grid = {
        "clf__dropout_rate": [0.0, 0.4],
        "clf__hidden_layer_sizes": [(3,), (4,)],
        "scale": [StandardScaler(), MinMaxScaler(), "passthrough"],
    }
    ours, theirs = both(model, grid, 10 * X, y, scoring="neg_log_loss")
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    grid = {"scale__with_std": [True, False], "clf__alpha": [0.1, 1.0]}
    both(model, grid, 10 * X, y, scoring="neg_log_loss")


@pytest.mark.parametrize("dense", [False, True])
def test_pipeline_of_columns(dense):
    X, y = class_data(n_classes=2)
    frame = pd.DataFrame(X, columns=list("wxyz"))
    frame["colour"] = np.where(X[:, 2] > 0, "red", "green")
    frame.loc[0, "colour"] = "blue"  # in one fold only
    columns = ColumnTransformer(
        [
            ("number", StandardScaler(), list("wxyz")),
            ("word", OneHotEncoder(handle_unknown="ignore"), ["colour"]),
        ],
        sparse_threshold=0 if dense else 1,
    )
    model = make_pipeline(columns, classifier())
    grid = {
        "dropoutmlpclassifier__dropout_rate": [0.0, 0.4],
        "columntransformer__number__with_mean": [True, False],
    }
    ours, _ = both(model, grid, frame, y, scoring="neg_log_loss")
    assert list(ours.feature_names_in_) == [*"wxyz", "colour"]
    assert ours.n_features_in_ == 5


def test_target_transformer():
    X, y = number_data()
    model = TransformedTargetRegressor(regressor(), func=np.log, inverse_func=np.exp)
    grid = {"regressor__dropout_rate": [0.0, 0.4], "regressor__alpha": [0.1, 1.0]}
    ours, theirs = both(model, grid, X, y, scoring="neg_mean_absolute_error")
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_target_transformer_of_a_pipeline():
    X, y = number_data()
    pipeline = make_pipeline(StandardScaler(), regressor())
    model = TransformedTargetRegressor(pipeline, transformer=StandardScaler())
    prefix = "regressor__dropoutmlpregressor"
    grid = {
        f"{prefix}__dropout_rate": [0.0, 0.4],
        f"{prefix}__hidden_layer_sizes": [(3,), (4,)],
        "transformer": [StandardScaler(), MinMaxScaler()],
        "regressor__standardscaler__with_std": [True, False],
    }
    both(model, grid, 10 * X, y)


def test_grid_over_the_last_step():
    X, y = class_data()
    model = Pipeline([("scale", StandardScaler()), ("clf", classifier())])
    networks = [classifier(), classifier(hidden_layer_sizes=(3,))]
    grid = [
        {"clf": [*networks, GaussianNB()]},
        {"clf": networks, "clf__dropout_rate": [0.1, 0.4]},
        {"clf": [GaussianNB()], "clf__var_smoothing": [1e-9, 0.1]},
    ]
    ours, theirs = both(model, grid, X, y, scoring="neg_log_loss")
    assert ours.best_index_ == theirs.best_index_
    assert not [name for network in networks for name in vars(network) if name.endswith("_")]


def test_grid_that_brings_networks_in():
    X, y = class_data()
    model = Pipeline([("clf", GaussianNB())])
    grid = {"clf": [classifier()], "clf__alpha": [0.1, 1.0]}
    both(model, grid, X, y, scoring="neg_log_loss")


OTHERS = {
    "logistic regression": (LogisticRegression(), {"C": [0.01, 1.0]}),
    "bayes": (GaussianNB(), [{}, {"var_smoothing": [0.1]}]),
    "pipeline": (make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 10.0]}),
    "kernel": (SVC(), {"kernel": ["linear", "rbf"], "C": [0.1, 1]}),
}


@pytest.mark.parametrize(("est", "grid"), OTHERS.values(), ids=OTHERS)
def test_other_estimators_give_exactly_the_same(est, grid):
    X, y = class_data() if is_classifier(est) else number_data()
    ours, theirs = both(est, grid, X, y, same=False, return_train_score=True)
    assert_same_results(ours, theirs, 0, 0)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_estimators_without_targets():
    X, _ = class_data()
    grid = {"n_clusters": [2, 3]}
    ours, theirs = (Search(KMeans(random_state=0, n_init=1), grid, cv=2).fit(X) for Search in BOTH)
    assert_same_results(ours, theirs, 0, 0)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))


def test_precomputed_kernel():
    X, y = class_data()
    grid = {"C": [0.1, 1.0]}
    ours, theirs = both(SVC(kernel="precomputed"), grid, X @ X.T, y, return_train_score=True)
    assert_same_results(ours, theirs, 0, 0)


def test_nested_in_cross_validation():
    X, y = class_data()
    scores = [
        cross_val_score(Search(classifier(), RATES, cv=2, scoring="neg_log_loss"), X, y, cv=3)
        for Search in BOTH
    ]
    np.testing.assert_allclose(*scores, rtol=1e-5)


def test_nested_in_a_pipeline_and_in_a_search():
    X, y = class_data()
    searches = [
        Search(
            make_pipeline(StandardScaler(), Search(classifier(), RATES, cv=2)),
            {"standardscaler__with_mean": [True, False]},
            cv=2,
            scoring="neg_log_loss",
        ).fit(X, y)
        for Search in BOTH
    ]
    np.testing.assert_array_equal(*(search.predict_proba(X) for search in searches))
    np.testing.assert_allclose(
        *(search.cv_results_["mean_test_score"] for search in searches), rtol=1e-5
    )


class Told:
    """A callback of scikit-learn that counts what it is told."""

    def __init__(self):
        self.seen = Counter()

    def setup(self, estimator, context):
        self.seen["setup"] += 1

    def teardown(self, estimator, context):
        self.seen["teardown"] += 1

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self.seen[f"begin {context.task_name}"] += 1

    def on_fit_task_end(self, estimator, context, **kwargs):
        self.seen[f"end {context.task_name}"] += 1


@pytest.mark.skipif(not hasattr(GridSearchCV, "set_callbacks"), reason="new in scikit-learn 1.9")
def test_callbacks_of_scikit_learn():
    X, y = class_data()
    told = []
    for Search in BOTH:
        told.append(Told())
        Search(classifier(), RATES, cv=2).set_callbacks(told[-1]).fit(X, y)
    assert told[0].seen == told[1].seen


# Data of other kinds


def test_lists():
    X, y = class_data()
    both(classifier(), RATES, X.tolist(), y.tolist(), scoring="neg_log_loss")


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix, sparse.csc_matrix])
def test_sparse(container):
    X, y = class_data()
    X[np.abs(X) < 0.5] = 0
    both(classifier(), RATES, container(X), y, scoring="neg_log_loss")


def test_several_outputs_in_a_frame():
    X, y = number_data()
    y = pd.DataFrame({"one": y, "two": -y + X[:, 1]})
    ours, _ = both(regressor(), RATES, pd.DataFrame(X), y)
    assert ours.predict(pd.DataFrame(X)).shape == y.shape


def test_fresh_seeds_give_every_candidate_its_own():
    X, y = class_data()
    grid = {"random_state": [None, None, None], "dropout_rate": [0.3]}
    search = DropoutSearchCV(classifier(), grid, cv=3, scoring="neg_log_loss").fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 3


def test_random_state_instance_is_that_of_grid_search():
    X, y = class_data()
    est = classifier(random_state=np.random.RandomState(3))
    both(est, RATES, X, y, scoring="neg_log_loss")
