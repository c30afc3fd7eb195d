"""Targets and weights of classes that no network should learn from: refused by name."""

import datetime
import re
import warnings

import joblib
import numpy as np
import pytest
import torch
from _families import ALL, CLASSIFIERS, answers, problem, small, spread
from _outcome import outcome
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV
from sklearn_dropout.checks import targets
from sklearn_dropout.checks.targets import check_labels, check_targets
from sklearn_dropout.checks.weights import class_factors, label_factors

REGRESSORS = [Est for Est in ALL if Est not in CLASSIFIERS]
N = 24


def inputs():
    return np.random.default_rng(0).standard_normal((N, 4))


def indicators(seed=0, n=N, n_labels=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (n, n_labels))


def words():
    return ["no", "yes"] * (N // 2)


def refused(Est, y, match, error=ValueError, good=None, **params):
    """`y` is refused wherever targets are handed over, each time by the name it has there."""
    good = (words() if is_classifier(Est()) else np.arange(float(N))) if good is None else good
    X = inputs()
    first = {}
    if is_classifier(Est()) and np.ndim(good) == 1:
        first = {"classes": np.unique(good)}
    calls = {
        "y": [
            lambda: small(Est, **params).fit(X, y),
            lambda: small(Est, **params).partial_fit(X, y, **first),
            lambda: small(Est, **params).partial_fit(X, good, **first).partial_fit(X, y),
            lambda: small(Est, **params, warm_start=True).fit(X, good).fit(X, y),
        ],
        "y_val": [lambda: small(Est, **params).fit(X, good, X_val=X, y_val=y)],
    }
    for name, several in calls.items():
        for call in several:
            with pytest.raises(error, match=match) as caught:
                call()
            assert re.search(rf"\b{name}\b", str(caught.value))


# Labels that need no check

LABELS = {
    "int64": np.arange(24) % 3,
    "int8": (np.arange(24) % 3 - 1).astype(np.int8),
    "uint64": (np.arange(24) % 2).astype(np.uint64) + np.uint64(2**63),
    "few rows": np.array([4, 2]),
    "one class": np.zeros(5, dtype=int),
    "every second": (np.arange(24) % 3)[::2],
    "10 of 21": np.minimum(np.arange(21), 9),
    "11 of 21": np.minimum(np.arange(21), 10),
    "far apart": np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max]),
    "none": np.array([], dtype=int),
    "column": np.arange(24).reshape(-1, 1) % 3,
    "indicators": np.eye(3, dtype=int),
    "bool": np.arange(24) % 2 == 0,
    "whole floats": np.arange(24.0) % 3,
    "fractions": np.array([0.5, 1.5]),
    "words": np.array(words()),
    "objects": np.arange(24).astype(object) % 2,
    "list": [0, 1, 1],
    "masked": np.ma.array([0, 1, 1], mask=[False, True, False]),
}


def checked(labels):
    found = check_labels(labels)
    return type(found), found.dtype, found.tolist()


def test_labels_are_checked_as_by_scikit_learn(monkeypatch):
    """Those that need no conversion pass without scikit-learn's checks, to the same end."""
    quick = {name: outcome(checked, labels) for name, labels in LABELS.items()}
    monkeypatch.setattr(targets, "_are_plain_labels", lambda y: False)
    assert quick == {name: outcome(checked, labels) for name, labels in LABELS.items()}


def test_plain_labels_skip_the_checks(monkeypatch):
    monkeypatch.setattr(targets, "type_of_target", lambda *_, **__: pytest.fail("checked"))
    assert check_labels(LABELS["int64"]) is LABELS["int64"]
    with pytest.raises(pytest.fail.Exception):
        check_labels(LABELS["11 of 21"])


@pytest.mark.parametrize(
    ("y", "y_val", "unseen"),
    [
        (np.arange(N) % 2 * 2, np.arange(N) % 5 - 1, "[-1, 1, 3]"),
        (np.arange(N) % 2 * 2.0, np.full(N, 9.0), "[9.0]"),
        (np.array(words(), dtype=object), np.arange(N) % 2, "[0, 1]"),
        (words(), ["perhaps", "yes"] * (N // 2), "['perhaps']"),
    ],
)
def test_unseen_classes_are_named(y, y_val, unseen):
    X = inputs()
    with pytest.raises(ValueError, match=re.escape(f"y_val has classes {unseen}")):
        small(DropoutMLPClassifier).fit(X, y, X_val=X, y_val=y_val)


# What is missing


def with_gap(values, gap, as_list):
    values = list(values)
    values[5] = gap
    return values if as_list else np.array(values, dtype=object)


@spread(Est=ALL, gap=[None, np.nan, np.float32("nan")], as_list=[False, True])
def test_missing_targets(Est, gap, as_list):
    """A NaN among words was trained as a class "nan"; None was a TypeError of sorting."""
    values = words() if is_classifier(Est()) else np.arange(float(N)).tolist()
    with pytest.raises(ValueError, match=r"Input y contains NaN.*in row 5.*Leave such rows out"):
        small(Est).fit(inputs(), with_gap(values, gap, as_list))


@pytest.mark.parametrize("gap", [None, np.nan])
@pytest.mark.parametrize("Est", [DropoutMLPClassifier, DropoutMLPRegressor])
def test_missing_targets_in_every_call(Est, gap):
    values = words() if is_classifier(Est()) else np.arange(float(N)).tolist()
    match = r"Input y(_val)? contains NaN, None or NA: the first is (None|nan) in row 5"
    refused(Est, with_gap(values, gap, True), match)


def test_missing_targets_of_pandas():
    pandas = pytest.importorskip("pandas")
    numbers = [0, 1] * (N // 2 - 1) + [1]
    match = rf"Input y contains NaN.*in row {N - 1}"
    for y in (
        pandas.Series([*numbers, None], dtype="Int64"),
        pandas.Series([*numbers, None], dtype="Float64"),
        pandas.array([*numbers, None], dtype="boolean"),
        pandas.Series([*numbers, None], dtype=object),
        pandas.DataFrame({"a": [*numbers, None], "b": 1.0}),
    ):
        for Est in (DropoutMLPClassifier, DropoutMLPRegressor):
            with pytest.raises(ValueError, match=match):
                small(Est).fit(inputs(), y)
    labels = [str(number) for number in numbers]
    for dtype in ("string", "category", object):
        with pytest.raises(ValueError, match=match):
            small(DropoutMLPClassifier).fit(inputs(), pandas.Series([*labels, None], dtype=dtype))


def test_masked_targets():
    """The mask was dropped, and what lay under it trained on."""
    y = np.ma.array(np.arange(float(N)), mask=np.arange(N) == 7)
    refused(DropoutMLPRegressor, y, r"contains NaN, None or NA.*in row 7")


@pytest.mark.parametrize("Est", [DropoutMLPClassifier, DropoutMLPRegressor])
def test_infinite_targets(Est):
    refused(Est, np.where(np.arange(N) == 3, np.inf, 1.0), r"contains infinity, in row 3")


def test_ordinary_targets_pass():
    for y in (words(), np.array(words(), dtype=object), [1, 2.5], (True, False), [np.int8(1)] * 3):
        check_targets(y, "y", numeric=False)
    for y in ([1, 2.5], np.arange(3), ["1.5", "2"], np.ones((3, 2)), [[1, 2], [3, 4]]):
        check_targets(y, "y", numeric=True)
    check_targets(torch.arange(3), "y", numeric=True)


# Values that are not targets


def times():
    days = np.arange(N).astype("datetime64[D]")
    return {
        "datetime64": days,
        "timedelta64": days - days[0],
        "objects": np.array(days.tolist(), dtype=object),
        "list": [datetime.datetime(2020, 1, 1 + day) for day in range(N)],
    }


@pytest.mark.parametrize("kind", times())
@pytest.mark.parametrize("Est", [DropoutMLPClassifier, DropoutMLPRegressor])
def test_times_are_no_targets(Est, kind):
    """Dates were trained on as nanoseconds since 1970."""
    refused(Est, times()[kind], "has dates or times.*Pass numbers, such as the days since")


@pytest.mark.parametrize("kind", ["datetime64", "timedelta64", "objects"])
@pytest.mark.parametrize("Est", ALL)
def test_times_are_no_inputs(Est, kind):
    X = np.tile(times()[kind][:, None], (1, 4))
    _, y = problem(Est, N)
    with pytest.raises(ValueError, match=r"X has dates or times.*Pass numbers"):
        small(Est).fit(X, y)
    if kind != "objects":
        with pytest.raises(ValueError, match="X has dates or times"):
            small(Est).fit(inputs(), y).predict(X)


def test_times_in_a_data_frame():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(inputs(), columns=list("abcd"))
    for when in (
        pandas.date_range("2020", periods=N),
        pandas.date_range("2020", periods=N, tz="UTC"),
        pandas.period_range("2020", periods=N),
    ):
        with pytest.raises(ValueError, match=r"X has dates or times, of dtype .* in column 'b'"):
            small(DropoutMLPClassifier).fit(X.assign(b=when), words())
        with pytest.raises(ValueError, match="y has dates or times"):
            small(DropoutMLPRegressor).fit(X, pandas.Series(when))


@pytest.mark.parametrize("Est", REGRESSORS)
def test_text_targets_of_a_regressor(Est):
    with pytest.raises(ValueError, match=r"y has text, 'no' in row 0.*Use a classifier"):
        small(Est).fit(inputs(), words())


def test_text_targets_in_every_call():
    refused(DropoutMLPRegressor, words(), "y(_val)? has text, 'no' in row 0.*Use a classifier")
    X, y = inputs(), np.arange(float(N))
    text = small(DropoutMLPRegressor).fit(X, [str(value) for value in y])
    np.testing.assert_array_equal(text.predict(X), small(DropoutMLPRegressor).fit(X, y).predict(X))


def test_sparse_targets():
    column = sparse.csr_array(np.arange(N)[:, None] % 2)
    refused(DropoutMLPRegressor, column, r"sparse.*pass y(_val)?\.toarray\(\)", TypeError)
    refused(DropoutMLPClassifier, column, r"sparse.*toarray\(\)\.ravel\(\)", TypeError)


@pytest.mark.parametrize("y", [[{"a"}, {"b"}] * 12, [[0], [0, 1]] * 12, [{"a": 1}] * 24])
@pytest.mark.parametrize("Est", [DropoutMLPClassifier, DropoutMLPRegressor])
def test_nested_targets(Est, y):
    refused(Est, y, "in row 0: give one target for each row.*MultiLabelBinarizer")


def test_continuous_targets_of_a_classifier():
    """The message about `y_val` spoke of a classifier on a regression target, and of no name."""
    y = np.linspace(0, 1, N)
    match = r"Unknown label type: continuous\. y(_val)? has numbers.*0\.04.*Use a regressor"
    refused(DropoutMLPClassifier, y, match, good=np.arange(N) % 2)
    refused(DropoutMLPClassifier, indicators() / 2, "0.5.*indicator", good=indicators())


def test_labels_of_several_types():
    y = np.array(["a", 1] * (N // 2), dtype=object)
    with pytest.raises(TypeError, match=r"y has labels of several types.*numbers or strings"):
        small(DropoutMLPClassifier).fit(inputs(), y)


# Several labels


@pytest.mark.parametrize("pair", [(1, 2), (-1, 1), (0, 255), (0, 2)])
@pytest.mark.parametrize("convert", [np.asarray, np.ndarray.tolist, sparse.csr_array])
def test_indicators_of_other_values(pair, convert):
    """Masks of 0 and 255 were trained on as they stood, to probabilities of one everywhere."""
    if convert is sparse.csr_array and 0 not in pair:
        pytest.skip("a sparse matrix has zeros")
    low, high = pair
    y = convert(np.where(indicators(), high, low))
    match = rf"y(_val)? has shape \(24, 3\) and the values \[{low}, {high}\].* == {high}\)"
    refused(DropoutMLPClassifier, y, match, good=indicators())


@pytest.mark.parametrize("Est", CLASSIFIERS)
def test_indicators_of_other_values_in_all_families(Est):
    with pytest.raises(ValueError, match=r"the values \[1, 2\]"):
        small(Est).fit(inputs(), indicators() + 1)


@pytest.mark.parametrize("Search", [DropoutSearchCV, GridSearchCV])
def test_searches_agree_about_indicators(Search):
    """One search scored labels of 1 and 2 as if they were right, the other as all wrong."""
    search = Search(small(DropoutMLPClassifier), {"alpha": [0.0, 0.1]}, cv=2)
    with pytest.raises(ValueError, match=r"fits failed|values"):
        search.fit(inputs(), indicators() + 1)
    with pytest.raises(ValueError, match=r"the values \[-1, 1\]"):
        search.set_params(error_score="raise").fit(inputs(), 2 * indicators() - 1)


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array, lambda y: y.astype(bool)])
def test_indicators_of_every_form(convert):
    X, y = inputs(), indicators()
    one = small(DropoutMLPClassifier).fit(X, convert(y))
    np.testing.assert_array_equal(answers(one, X), answers(small(type(one)).fit(X, y), X))


@pytest.mark.parametrize("Est", CLASSIFIERS)
def test_one_hot_targets_are_warned_of(Est):
    """Keras' one-hot classes were trained as labels that do not exclude each other."""
    X, y = inputs(), np.arange(N) % 3
    with pytest.warns(UserWarning, match=r"shape \(24, 3\) and one label.*y\.argmax\(axis=1\)"):
        est = small(Est).fit(X, np.eye(3)[y])
    assert est.out_activation_ == "logistic"


def test_other_indicators_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(DropoutMLPClassifier).fit(inputs(), indicators())


# The argument `classes`


@pytest.mark.parametrize(
    "classes", ["ab", 5, [[0, 1]], {0, 1}, [0, None], [0.5, 1], [0, "a"], [[0], [1, 2]], [1], []]
)
def test_bad_classes(classes):
    """A sentence of scikit-learn about array-likes, without the argument's name."""
    with pytest.raises(ValueError, match=r"^classes="):
        small(DropoutMLPClassifier).partial_fit(inputs(), np.arange(N) % 2, classes=classes)


@pytest.mark.parametrize("classes", [["a", "b", "c"], [0, 1], [1, 2, 3], range(4)])
def test_classes_of_several_labels_are_checked_at_the_first_call(classes):
    """Any were taken, and the second call, with the same ones, was refused."""
    est = small(DropoutMLPClassifier)
    with pytest.raises(ValueError, match=r"are not the columns of y.*classes=range\(3\)"):
        est.partial_fit(inputs(), indicators(), classes=classes)
    for right in (range(3), None, [2, 1, 0]):
        est.partial_fit(inputs(), indicators(), classes=right)
    with pytest.raises(ValueError, match="not the same as on the first call"):
        est.partial_fit(inputs(), indicators(), classes=classes)


# Weights of classes

BAD_WEIGHTS = [
    ({0: "heavy"}, "gives 0 the weight 'heavy'"),
    ({0: "1"}, "gives 0 the weight '1'"),
    ({0: None}, "the weight None"),
    ({0: np.nan, 1: 1}, "the weight nan"),
    ({0: -1, 1: 1}, "the weight -1"),
    ({0: True}, "the weight True"),
    ({"0": 1, "1": 5}, r"\['0', '1'\], which are not classes of y, and no weight for \[0, 1\]"),
    ({0: 0, 1: 0}, "zero for every row"),
    ({0: 1e-300, 1: 1e-300}, "a sum of .*Scale them"),
    ({0: 1e300, 1: 1}, "a sum of .*Scale them"),
    ([{0: 1, 1: 5}], "a list, which is for several labels.*Pass a dict"),
]


@pytest.mark.parametrize(("class_weight", "match"), BAD_WEIGHTS)
def test_bad_class_weights(class_weight, match):
    """Tiny ones were called sample_weight, which nobody had passed."""
    est = small(DropoutMLPClassifier, class_weight=class_weight)
    with pytest.raises(ValueError, match=f"^class_weight=.*{match}"):
        est.fit(inputs(), np.arange(N) % 2)


def test_class_weights_of_digits_in_text():
    """Labels such as "0" were looked up as the number 0, and not found."""
    X, y = inputs(), np.arange(N) % 2
    one = small(DropoutMLPClassifier, class_weight={"0": 1, "1": 5}).fit(X, y.astype(str))
    other = small(DropoutMLPClassifier, class_weight={0: 1, 1: 5}).fit(X, y)
    np.testing.assert_array_equal(answers(one, X), answers(other, X))


def test_class_weights_of_classes_that_a_fold_lacks():
    factors = class_factors({0: 1.0, 1: 2.0, 2: 3.0}, np.array([0, 1]), np.array([0, 1]), None)
    assert factors.tolist() == [1, 2]


BAD_LABEL_WEIGHTS = [
    ({0: 1, 1: 5}, "does not fit the 3 labels of y.*a list with a dict for each label"),
    ([{1: 5}], "does not fit the 3 labels"),
    ([1, 2, 3], "does not fit the 3 labels"),
    ([{1: 5}, {}, {2: 5}], "has the key 2"),
    ([{1: 5}, {}, {1: "x"}], "the weight 'x'"),
]


@pytest.mark.parametrize(("class_weight", "match"), BAD_LABEL_WEIGHTS)
def test_bad_class_weights_of_several_labels(class_weight, match):
    """A dict was answered with "use a list of dicts", and that with "use a dict"."""
    est = small(DropoutMLPClassifier, class_weight=class_weight)
    with pytest.raises(ValueError, match=f"^class_weight=.*{match}"):
        est.fit(inputs(), indicators())


def test_balanced_labels_have_equal_sums():
    """Of the rows with a label and of those without it, sample weights counted."""
    for seed in range(3):
        y = indicators(seed, 50)
        weight = np.random.default_rng(seed).uniform(0.5, 2, 50)
        for w in (None, weight):
            factors = label_factors("balanced", y, w)
            rows = np.ones(50) if w is None else w
            for label in range(3):
                sums = [factors[side, label] * rows[y[:, label] == side].sum() for side in (0, 1)]
                np.testing.assert_allclose(sums, rows.sum() / 2)


def test_factors_of_labels():
    y = np.array([[0, 1], [1, 1]])
    assert label_factors([{1: 5}, {0: 2, 1: 3}], y, None).tolist() == [[1, 2], [5, 3]]
    assert label_factors("balanced", y, None).tolist() == [[1, 0], [1, 1]]  # all have the second


@pytest.mark.parametrize("early_stopping", [False, True])
def test_searches_agree_about_weights_of_labels(early_stopping):
    X, y = inputs(), indicators()
    est = small(DropoutMLPClassifier, early_stopping=early_stopping, validation_fraction=0.2)
    grid = {"class_weight": ["balanced", [{1: 5}, {}, {0: 2}]], "dropout_rate": [0.0, 0.3]}
    ours, theirs = (
        Search(est, grid, cv=2, refit=False, error_score="raise").fit(X, y).cv_results_
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    np.testing.assert_allclose(ours["mean_test_score"], theirs["mean_test_score"], atol=1e-7)


# Weights and the penalty


@pytest.mark.parametrize("Est", [DropoutMLPClassifier, DropoutMLPRegressor])
def test_weights_too_small_beside_the_penalty(Est):
    """Weights of 1e-5 gave a constant answer, without a word."""
    X, y = problem(Est, N)
    with pytest.warns(UserWarning, match=r"sample_weight.* mean of 1e-05.*0\.0001.*alpha=10 w"):
        small(Est).fit(X, y, np.full(N, 1e-5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(Est, alpha=0.0).fit(X, y, np.full(N, 1e-5))
        small(Est, solver="adamw").fit(X, y, np.full(N, 1e-5))
        small(Est, alpha=30.0).fit(X, y)


def test_what_is_out_of_proportion_is_named():
    """A huge alpha was blamed on sample weights that were not there."""
    X, y = inputs(), np.arange(N) % 2
    with pytest.raises(ValueError, match=r"^alpha=1e\+38 is out of proportion: .* a smaller alpha"):
        small(DropoutMLPClassifier, alpha=1e38).fit(X, y)
    est = small(DropoutMLPClassifier, alpha=1e5, class_weight={0: 1e-28, 1: 1e-28})
    with pytest.raises(ValueError, match=r"alpha=.*class_weight=\{0: 1e-28.*mean of 1e-28"):
        est.fit(X, y)


# Models that were loaded


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("Est", ALL)
def test_a_model_loaded_from_mapped_memory_goes_on_training(Est, method, tmp_path):
    """PyTorch warned of arrays that may not be written to."""
    X, y = problem(Est, N)
    first = {"classes": np.unique(y)} if is_classifier(Est()) else {}
    est = small(Est, warm_start=True).partial_fit(X, y, **first)
    joblib.dump(est, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    before = answers(mapped, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(mapped, method)(X, y)
    again = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    np.testing.assert_array_equal(answers(again, X), before)
    getattr(est, method)(X, y)
    np.testing.assert_array_equal(answers(mapped, X), answers(est, X))


@pytest.mark.parametrize(
    "y", ["species", {0: 1.0, 1: 2.0}, iter([0, 1])], ids=["name", "dict", "it"]
)
@pytest.mark.parametrize("Est", [DropoutMLPClassifier, DropoutMLPRegressor])
def test_targets_that_are_no_array(Est, y):
    """A column's name ended in "too many values to unpack"."""
    with pytest.raises(TypeError, match=r"y is a \w+; it must be an array or a list\. Pass"):
        small(Est).fit(inputs(), y)
