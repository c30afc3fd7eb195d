"""Whatever `fit` is given, it learns or says which parameter is wrong.

Cases are drawn by hypothesis over parameters, data types, layouts, targets and weights. A fit ends
in finite predictions of the right shape, or in a ``ValueError`` or ``TypeError`` that names the
argument; then the estimator is as it was.
"""

import faulthandler
import math
import re
import traceback
import warnings
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from _families import ALL, small
from scipy import sparse
from sklearn.base import is_classifier

from sklearn_dropout.nn.activations import ACTIVATIONS

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

# Cases of CI, which runs the slow tests too, over all estimators.
N_CASES = 1_500
QUICK = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
MANY = settings(QUICK, max_examples=-(-N_CASES // len(ALL)))
# Of a case; a hang ends the run with the stack of every thread.
HANG_SECONDS = 300

NUMBERS = [0, 1, -1, 0.5, 2, 1e-300, 1e300, np.nan, np.inf, -np.inf]
ODD_NUMBERS = [np.float32(0.5), np.int8(1), np.float64(0.25), np.array(0.5), Fraction(1, 2)]
ODDITIES = [None, "", "relu", b"x", [], (), {}, [[]], "auto", object, Decimal("0.5"), 1j, True]
ANYTHING = NUMBERS + ODD_NUMBERS + ODDITIES + [np.array([0.5]), np.bool_(1), {"a": 1}, [None]]

# Values that are drawn besides those of ANYTHING; most are allowed.
VALUES = {
    "hidden_layer_sizes": [(), 3, (2, 3), [4], np.array([2, 2]), np.int64(3), (0,), (2.5,), ("3",)],
    "activation": sorted(ACTIVATIONS),
    "dropout_rate": [0.0, 0.9999, [0.5], [0.5, 0.5], np.array([0.3]), "0.5", [None]],
    "input_dropout_rate": [0.0, 0.99, 0.3, [0.5], [0.1, 0.2]],
    "spatial_dropout_rate": [0.0, 0.99, 0.3, [0.5], [0.1, 0.2]],
    "max_norm": [1e-6, 0.5, 1e6],
    "weight_init": [
        "glorot_uniform",
        "glorot_normal",
        "he_uniform",
        "he_normal",
        "lecun_uniform",
        "lecun_normal",
        "normal",
        "uniform",
    ],
    "solver": ["adam", "adamw", "sgd", torch.optim.RMSprop, torch.optim.LBFGS, torch.nn.Linear],
    "alpha": [0.0, 1e-3, 10.0],
    "batch_size": ["auto", 1, 3, 10**9, np.int32(4)],
    "learning_rate": ["constant", "invscaling", "adaptive", "cosine", "one_cycle", "linear_warmup"],
    "dropout_type": ["bernoulli", "gaussian", "concrete", "no such kind"],
    "dropout_schedule": ["constant", "linear", "early", "flat_cos", math.sqrt, math.exp],
    "input_noise_std": [0.0, 0.5, 1e3, -1.0],
    "conv_block_size": [1, 2, 9],
    "learning_rate_init": [1e-3, 0.1, 1e3, 1e30],
    "power_t": [0.0, 0.5, 30.0],
    "max_iter": [1, 2],
    "shuffle": [True, False],
    "random_state": [None, 0, 2**32 - 1, 2**32, -5, np.random.RandomState(0), np.int64(3)],
    "tol": [0.0, 1e-4, 1e9],
    "warm_start": [True, False],
    "momentum": [0.0, 0.9, 1.0],
    "nesterovs_momentum": [True, False],
    "early_stopping": [True, False],
    "validation_fraction": [0.1, 0.3, 0.5, 0.99],
    "beta_1": [0.0, 0.9],
    "beta_2": [0.0, 0.999],
    "epsilon": [1e-8, 1.0],
    "n_iter_no_change": [1, 10, np.inf],
    "scoring": ["accuracy", "r2", "roc_auc", "neg_log_loss", "no such score"],
    "callbacks": [None, [], ()],
    "engine": ["auto", "compiled", "torch", "no such engine"],
    "device": ["cpu", "auto", torch.device("cpu"), "meta", "no such device", "cuda:77"],
    "class_weight": ["balanced", {0: 2.0, 1: 1.0}, {"a": 1, "b": 2}, {0: -1.0}],
    "loss": ["squared_error", "absolute_error", "huber", "poisson", "gaussian", "quantile"],
    "quantile": [0.1, 0.9, 0.0, "half"],
    "feature_groups": [1, 2, 3, [0, 0, 1], ["a", "b", "a", "b"], np.arange(4)],
    "conv_layer_sizes": [(2,), (2, 3), [], 3],
    "convs_per_block": [1, 2],
    "kernel_size": [1, 2, 3, 9],
    "pool_size": [1, 2, 9],
    "padding": ["same", "valid"],
    "input_shape": [(1, 4), (2, 2), (1, 2, 2), (4,), (3, 3)],
    "conv_dropout_rate": [0.0, 0.5, [0.5], [0.1, 0.2]],
    "cell": ["lstm", "gru", "rnn"],
    "bidirectional": [True, False],
    "variational": [True, False],
    "recurrent_dropout_rate": [0.0, 0.5, [0.5]],
    "n_tokens": [1, 2, 5, 100],
    "embedding_dim": [1, 4],
    "embedding_dropout_rate": [0.0, 0.5],
    "mask_zero": [True, False],
    "data_format": ["channels_first", "channels_last"],
    "mask_value": [0.0, -1.0, np.nan],
}
# Those would only print, or run for very long.
LEFT_ALONE = {"verbose"}
TOO_MUCH = {"max_iter": lambda v: isinstance(v, (int, float, np.number)) and v > 2}


def values_of(name):
    """Values to try for a parameter."""
    too_much = TOO_MUCH.get(name, lambda value: False)
    others = [value for value in ANYTHING if not too_much(value)]
    return st.one_of(st.sampled_from(VALUES[name]), st.sampled_from(others))


@st.composite
def parameters(draw, Est):
    """A few parameters, sensible or not."""
    names = sorted(set(Est().get_params()) - LEFT_ALONE)
    chosen = draw(st.lists(st.sampled_from(names), max_size=4, unique=True))
    sensible = draw(st.booleans())
    pick = (lambda name: st.sampled_from(VALUES[name])) if sensible else values_of
    return {name: draw(pick(name)) for name in chosen}


DTYPES = [
    "int8",
    "uint8",
    "int64",
    "bool",
    "float16",
    "float32",
    "float64",
    "object",
    "complex64",
    "U3",
    "M8[s]",
]
SCALES = [1.0, 0.0, 1e-40, 1e-5, 1e3, 1e10, 1e30, 1e38, 1e200]


@st.composite
def tables(draw):
    """A table of numbers as float64, and what was done to it."""
    n = draw(st.sampled_from([12, 12, 12, 20, 5, 2, 1, 0]))
    n_features = draw(st.sampled_from([4, 4, 4, 1, 3, 6, 0]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    X = rng.standard_normal((n, n_features)) * draw(st.sampled_from(SCALES))
    special = draw(st.sampled_from([None] * 6 + [np.nan, np.inf, -np.inf, -0.0]))
    if special is not None and X.size:
        X[n // 2, 0] = special
    if n > 3 and draw(st.booleans()):
        X[1] = X[0]  # equal rows
    return X


def as_strided(X):
    return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def as_frame(X):
    return pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])


def as_mixed_frame(X):
    frame = as_frame(X)
    if X.shape[1] > 2:
        frame["c0"] = frame["c0"].astype("category")
        frame["c1"] = pd.Series(np.arange(len(X)), dtype="Int64")
    return frame


def as_polars(X):
    polars = pytest.importorskip("polars")
    return polars.DataFrame({f"c{i}": X[:, i] for i in range(X.shape[1])})


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": as_strided,
    "reversed": lambda X: X[::-1, ::-1],
    "read-only": read_only,
    "list": lambda X: X.tolist(),
    "flat": lambda X: X.ravel(),
    "three axes": lambda X: X[..., None],
    "four axes": lambda X: X[..., None, None],
    "CSR": sparse.csr_matrix,
    "CSR array": sparse.csr_array,
    "CSC": sparse.csc_matrix,
    "COO": sparse.coo_matrix,
    "LIL": sparse.lil_matrix,
    "CSR, zeros and duplicates": lambda X: _untidy(X),
    "DataFrame": as_frame,
    "mixed DataFrame": as_mixed_frame,
    "polars": as_polars,
    "tensor": lambda X: torch.tensor(X),
    "tensor with gradient": lambda X: torch.tensor(X).requires_grad_(),
    "bfloat16": lambda X: torch.tensor(X).bfloat16(),
    "sparse tensor": lambda X: torch.tensor(X).to_sparse(),
    "masked": lambda X: np.ma.masked_array(X, mask=X > 1),
    "matrix": lambda X: np.asmatrix(X),
    "None": lambda X: None,
    "text": lambda X: "X",
    "number": lambda X: 3.0,
}
TYPICAL = ["C", "Fortran", "strided", "read-only", "CSR", "CSC", "COO", "DataFrame", "tensor"]


def _untidy(X):
    X = sparse.coo_matrix(X)
    doubled = (np.r_[X.data, X.data], (np.r_[X.row, X.row], np.r_[X.col, X.col]))
    return sparse.csr_matrix(doubled, shape=X.shape)


def memory_map(X, folder):
    path = folder / "X.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


def cut(n, n_values, rng):
    """Whole numbers that take several values, as far as there are rows."""
    return (np.arange(n) % n_values)[rng.permutation(n)]


TARGETS = {
    "two classes": lambda n, rng: cut(n, 2, rng),
    "three classes": lambda n, rng: cut(n, 3, rng),
    "one class": lambda n, rng: np.zeros(n, int),
    "a class for each row": lambda n, rng: np.arange(n),
    "text": lambda n, rng: np.array(["a", "b"])[cut(n, 2, rng)],
    "objects": lambda n, rng: np.array(["a", "bc", "d"], dtype=object)[cut(n, 3, rng)],
    "bool": lambda n, rng: cut(n, 2, rng) > 0,
    "negative": lambda n, rng: -1 - 3 * cut(n, 3, rng),
    "whole floats": lambda n, rng: cut(n, 3, rng).astype(float),
    "float16": lambda n, rng: rng.standard_normal(n).astype(np.float16),
    "numbers": lambda n, rng: rng.standard_normal(n),
    "large numbers": lambda n, rng: 1e30 * rng.standard_normal(n),
    "huge numbers": lambda n, rng: 1e300 * rng.standard_normal(n),
    "tiny numbers": lambda n, rng: 1e-300 * rng.standard_normal(n),
    "constant": lambda n, rng: np.full(n, 3.5),
    "positive": lambda n, rng: rng.exponential(size=n),
    "column": lambda n, rng: rng.standard_normal((n, 1)),
    "two columns": lambda n, rng: rng.standard_normal((n, 2)),
    "multilabel": lambda n, rng: rng.integers(0, 2, (n, 3)),
    "multilabel, sparse": lambda n, rng: sparse.csr_matrix(rng.integers(0, 2, (n, 3))),
    "multilabel, bool": lambda n, rng: rng.integers(0, 2, (n, 3)) > 0,
    "several classes twice": lambda n, rng: rng.integers(0, 3, (n, 2)),
    "mixed": lambda n, rng: np.array((["a", 1, None] * n)[:n], dtype=object),
    "numbers and text": lambda n, rng: (["1", 2] * n)[:n],
    "with nan": lambda n, rng: np.r_[np.zeros(n), np.nan][-n:] if n else np.zeros(0),
    "with inf": lambda n, rng: np.r_[np.zeros(n), np.inf][-n:] if n else np.zeros(0),
    "too short": lambda n, rng: cut(max(n - 1, 0), 2, rng),
    "dates": lambda n, rng: cut(n, 2, rng).astype("M8[s]"),
    "complex": lambda n, rng: cut(n, 2, rng) * 1j,
    "Series": lambda n, rng: pd.Series(cut(n, 2, rng), index=np.arange(n)[::-1]),
    "categories": lambda n, rng: pd.Series(cut(n, 2, rng)).astype("category"),
    "nullable": lambda n, rng: pd.Series(cut(n, 2, rng), dtype="Int64"),
    "tensor": lambda n, rng: torch.tensor(cut(n, 2, rng)),
    "strided": lambda n, rng: cut(2 * n, 2, rng)[::2],
    "list": lambda n, rng: cut(n, 2, rng).tolist(),
    "three axes": lambda n, rng: np.zeros((n, 2, 2)),
    "none": lambda n, rng: None,
}
FOR_CLASSES = ["two classes", "three classes", "text", "objects", "bool", "negative", "multilabel"]
FOR_NUMBERS = ["numbers", "two columns", "large numbers", "column", "positive", "float16"]

WEIGHTS = {
    "ones": lambda n, rng: np.ones(n),
    "whole": lambda n, rng: rng.integers(0, 4, n),
    "random": lambda n, rng: rng.random(n),
    "float32": lambda n, rng: rng.random(n).astype(np.float32),
    "huge": lambda n, rng: rng.random(n) * 1e300,
    "tiny": lambda n, rng: rng.random(n) * 1e-300,
    "one": lambda n, rng: np.eye(1, n)[0],
    "zeros": lambda n, rng: np.zeros(n),
    "negative": lambda n, rng: rng.random(n) - 0.5,
    "nan": lambda n, rng: np.full(n, np.nan),
    "inf": lambda n, rng: np.full(n, np.inf),
    "short": lambda n, rng: np.ones(n + 1),
    "column": lambda n, rng: np.ones((n, 1)),
    "text": lambda n, rng: ["a"] * n,
    "list": lambda n, rng: [1.0] * n,
    "number": lambda n, rng: 2.0,
    "bool": lambda n, rng: rng.random(n) > 0.3,
    "tensor": lambda n, rng: torch.ones(n),
    "Series": lambda n, rng: pd.Series(np.ones(n)),
}


@st.composite
def cases(draw, Est):
    """Everything that a fit is given, as a dict that hypothesis can print."""
    typical = FOR_CLASSES if is_classifier(Est()) else FOR_NUMBERS
    return {
        "params": draw(parameters(Est)),
        "X": draw(tables()),
        "dtype": draw(st.one_of(st.just("float64"), st.sampled_from(DTYPES))),
        "layout": draw(
            st.one_of(st.sampled_from(TYPICAL), st.sampled_from([*LAYOUTS, "memory map"]))
        ),
        "target": draw(st.one_of(st.sampled_from(typical), st.sampled_from(list(TARGETS)))),
        "weight": draw(st.one_of(st.none(), st.none(), st.sampled_from(list(WEIGHTS)))),
        "call": draw(st.sampled_from(["fit", "fit", "validation set", "partial_fit"])),
    }


def make(case, folder):
    """`X`, `y` and weights of a case; None where not even NumPy can make them."""
    rng = np.random.default_rng(0)
    n = len(case["X"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            X = case["X"].astype(case["dtype"])
            if case["layout"] == "memory map":
                X = memory_map(X, folder)
            else:
                X = LAYOUTS[case["layout"]](X)
    except (TypeError, ValueError, IndexError, RuntimeError):
        return None
    weight = None if case["weight"] is None else WEIGHTS[case["weight"]](n, rng)
    return X, TARGETS[case["target"]](n, rng), weight


def call(est, case, X, y, weight):
    if case["call"] == "partial_fit":
        classes = {}
        if is_classifier(est) and y is not None:
            labels = np.asarray(y.toarray() if sparse.issparse(y) else y)
            try:
                classes = {"classes": np.unique(labels) if labels.ndim == 1 else np.arange(3)}
            except TypeError:  # labels that cannot be sorted
                classes = {"classes": ["a", 1]}
        return est.partial_fit(X, y, sample_weight=weight, **classes)
    if case["call"] == "validation set":
        return est.fit(X, y, weight, X_val=X, y_val=y, sample_weight_val=weight)
    return est.fit(X, y, weight)


OWN_NAMES = r"\b(X|y|X_val|y_val|sample_weight|sample_weight_val|classes|[Ii]nput)\b"
# How scikit-learn's functions, which check arrays, speak of X and y.
BORROWED = (
    "Found array with|Found input variables|Expected 2D array|[Cc]ould not convert|Complex data|"
    "Singleton array|dtype='numeric'|[Uu]nknown label type|sparse|Sparse|dimension|"
    "Mix of label input types|Input should have at least 1 dimension|DType|ragged|must not|"
    "Expected sequence or array-like|expected .* array|inhomogeneous|Pandas|NA|setting an array"
)


def assert_clear(error, est):
    """The error names an argument, and nothing was left to PyTorch."""
    assert isinstance(error, (TypeError, ValueError)), repr(error)
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    assert not any(re.search(r"[/\\]torch[/\\]", name) for name in frames), frames
    names = "|".join(est.get_params())
    message = str(error)
    named = re.search(rf"\b({names})\b", message) or re.search(OWN_NAMES, message)
    borrowed = "sklearn" in frames[-1].split("sklearn_dropout")[-1] or "numpy" in frames[-1]
    assert named or borrowed or re.search(BORROWED, message), message


def assert_good_predictions(est, X, n):
    """Finite, of the right shape, and the same as ever for an equal table."""
    predicted = est.predict(X)
    assert predicted.shape[0] == n
    expected = (n,)
    if est.n_outputs_ > 1 and not (is_classifier(est) and not est._multilabel):
        expected = (n, est.n_outputs_)
    assert predicted.shape == expected
    if is_classifier(est):
        probabilities = est.predict_proba(X)
        assert probabilities.shape == (n, len(est.classes_))
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        if not est._multilabel:
            assert np.isin(predicted, est.classes_).all()
            np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-4)
    else:
        assert np.isfinite(predicted).all()
    assert np.isfinite(est.loss_)
    assert all(np.isfinite(part).all() for part in est.coefs_ + est.intercepts_)


def check(Est, case, folder):
    made = make(case, folder)
    if made is None:
        return "not made"
    est = small(Est, max_iter=2)
    est.set_params(**case["params"])
    before = dict(vars(est))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            call(est, case, *made)
        except Exception as error:
            assert_clear(error, est)
            assert vars(est) == before or vars(est).keys() == before.keys()
            assert not est.__sklearn_is_fitted__()
            outcome = "refused"
        else:
            assert_good_predictions(est, made[0], len(case["X"]))
            outcome = "fitted"
    kinds = Counter((w.category, str(w.message)) for w in seen)
    assert sum(kinds.values()) <= 4, kinds
    assert not [w for w in seen if issubclass(w.category, RuntimeWarning)], kinds
    return outcome


@pytest.fixture
def no_hang():
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def run(Est, profile, folder):
    """Run the cases; tell how many ended in which way."""
    outcomes = Counter()

    @profile
    @given(cases(Est))
    def test(case):
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        outcomes[check(Est, case, folder)] += 1

    test()
    return outcomes


@pytest.mark.parametrize("Est", ALL)
def test_fit_learns_or_names_what_is_wrong(Est, tmp_path, no_hang):
    outcomes = run(Est, QUICK, tmp_path)
    assert outcomes["fitted"]
    assert outcomes["refused"]


@pytest.mark.slow
@pytest.mark.parametrize("Est", ALL)
def test_many_fits_learn_or_name_what_is_wrong(Est, tmp_path, no_hang):
    outcomes = run(Est, MANY, tmp_path)
    assert outcomes["fitted"] + outcomes["refused"] >= 1_000 / len(ALL)
    assert min(outcomes["fitted"], outcomes["refused"]) > 100 / len(ALL)


@pytest.mark.parametrize("shape", [(0, 4), (0, 4, 2), (0, 4, 2, 2), (3, 0), (3, 0, 2), (3, 4, 0)])
@pytest.mark.parametrize("Est", ALL)
def test_no_rows_or_no_columns(Est, shape):
    y = np.arange(shape[0]) % 2
    est = small(Est)
    with pytest.raises(ValueError) as caught:
        est.fit(np.zeros(shape), y)
    assert_clear(caught.value, est)
