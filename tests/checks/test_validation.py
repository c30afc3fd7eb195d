"""Bad input: a clear error before any work, and an estimator that stays as it was."""

import os
import pickle
import re
import subprocess
import sys
import warnings
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from _families import spread
from _outcome import outcome
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError

from sklearn_dropout import (
    DropoutCNNClassifier,
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutRNNClassifier,
)
from sklearn_dropout.checks.validation import (
    check_feature_groups,
    check_hidden_layer_sizes,
    check_rates,
)
from sklearn_dropout.checks.weights import check_weights
from sklearn_dropout.estimators import base
from sklearn_dropout.fit.training import Trainer

ESTIMATORS = [DropoutMLPClassifier, DropoutMLPRegressor]
SMALL = {"hidden_layer_sizes": (6, 4), "max_iter": 3, "random_state": 0}
both = pytest.mark.parametrize("Est", ESTIMATORS)


def problem(Est, n=30, n_features=4):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, n_features))
    return X, np.arange(n) % 3 if is_classifier(Est()) else X[:, 0] + rng.standard_normal(n)


@pytest.fixture
def no_training(monkeypatch):
    """A context in which training fails: everything has to be refused before."""

    def run(self):
        pytest.fail("training has begun")

    @contextmanager
    def forbid():
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "run", run)
            yield

    return forbid


def refuses(
    Est, *args, match, forbid=nullcontext, error=ValueError, method="fit", params=None, **kwargs
):
    """Check the error, and that neither a new nor a fitted estimator changes.

    Returns
    -------
    message : str
    """
    X, y = problem(Est)
    new = Est(**SMALL | (params or {}))
    fitted = Est(**SMALL).fit(X, y)
    expected = fitted.predict(X)
    fitted.set_params(**params or {})
    for est in (new, fitted):
        before = dict(vars(est))
        with forbid(), pytest.raises(error, match=match) as caught:
            getattr(est, method)(*args, **kwargs)
        assert vars(est).keys() == before.keys()
        assert all(vars(est)[name] is value for name, value in before.items())
    assert not [name for name in vars(new) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        new.predict(X)
    np.testing.assert_array_equal(fitted.predict(X), expected)
    return str(caught.value)


def named(name, value):
    """Pattern of a message that names a parameter and its value."""
    return f"(?s){re.escape(name)}.*{re.escape(repr(value))}"


# Parameters


@spread(
    rate=[-0.1, 1.0, 1, 1.5, np.nan, np.inf, -np.inf, 50],
    name=["dropout_rate", "input_dropout_rate", "spatial_dropout_rate"],
    Est=ESTIMATORS,
)
def test_rates_outside_their_range(Est, name, rate, no_training):
    message = refuses(
        Est, *problem(Est), params={name: rate}, match=named(name, rate), forbid=no_training
    )
    assert "[0, 1)" in message
    assert "retained" in message
    assert "1 - p" in message


@pytest.mark.parametrize("rates", [[0.2, 1.0], [-0.1, 0.0], [0.2, np.nan]])
@both
def test_one_rate_of_several_outside_its_range(Est, rates, no_training):
    params = {"dropout_rate": rates}
    message = refuses(
        Est, *problem(Est), params=params, match=named("dropout_rate", rates), forbid=no_training
    )
    assert "retained" in message


@pytest.mark.parametrize("rates", [[], [0.2], [0.2, 0.2, 0.2], np.full(4, 0.1)])
@both
def test_rates_for_another_number_of_layers(Est, rates, no_training):
    params = {"dropout_rate": rates}
    message = refuses(
        Est, *problem(Est), params=params, match=named("dropout_rate", rates), forbid=no_training
    )
    assert f"{len(rates)} rates for 2 hidden layers" in message


@both
def test_rates_in_two_dimensions(Est, no_training):
    params = {"dropout_rate": [[0.2, 0.2]]}
    refuses(Est, *problem(Est), params=params, match="is nested", forbid=no_training)


@pytest.mark.parametrize("rate", ["0.2", None, {}, [0.2, "a"], [None, 0.1], [0.1j, 0.1], True])
@both
def test_rates_of_a_wrong_type(Est, rate, no_training):
    error = (TypeError, ValueError)
    params = {"dropout_rate": rate}
    refuses(
        Est,
        *problem(Est),
        params=params,
        match=named("dropout_rate", rate),
        forbid=no_training,
        error=error,
    )


@pytest.mark.parametrize("name", ["input_dropout_rate", "spatial_dropout_rate"])
@pytest.mark.parametrize("rate", ["0.2", None, [0.1, 0.2, 0.1, 0.1]])
@both
def test_input_rates_are_single_numbers(Est, name, rate, no_training):
    params = {name: rate}
    refuses(Est, *problem(Est), params=params, match=named(name, rate), forbid=no_training)


BAD_VALUES = [
    ("activation", "sigmoid"),
    ("activation", None),
    ("weight_init", "zeros"),
    ("solver", "lbfgs"),
    ("solver", None),
    ("max_norm", 0),
    ("max_norm", -1.0),
    ("alpha", -1e-3),
    ("batch_size", 0),
    ("batch_size", "all"),
    ("batch_size", 2.5),
    ("learning_rate", "exponential"),
    ("learning_rate_init", 0.0),
    ("learning_rate_init", -1),
    ("power_t", -0.5),
    ("max_iter", 0),
    ("max_iter", 2.5),
    ("shuffle", "yes"),
    ("random_state", "seed"),
    ("random_state", -1),
    ("tol", -1e-4),
    ("verbose", -1),
    ("warm_start", "no"),
    ("momentum", 1.1),
    ("momentum", -0.1),
    ("nesterovs_momentum", "yes"),
    ("early_stopping", "yes"),
    ("validation_fraction", 0.0),
    ("validation_fraction", 1.0),
    ("beta_1", 1.0),
    ("beta_2", -0.1),
    ("epsilon", 0.0),
    ("n_iter_no_change", 0),
    ("n_iter_no_change", 1.5),
    ("scoring", "acuracy"),
    ("callbacks", "print"),
    ("device", 3),
    ("feature_groups", 0),
    ("feature_groups", "columns"),
]


@spread(bad=BAD_VALUES, Est=ESTIMATORS)
def test_other_parameters(Est, bad, no_training):
    name, value = bad
    refuses(Est, *problem(Est), params={name: value}, match=named(name, value), forbid=no_training)


@pytest.mark.parametrize("sizes", [0, (5, 0), (5, -1), (2.5, 5), ((5, 5), (5, 5)), ("a",)])
@both
def test_hidden_layer_sizes(Est, sizes, no_training):
    params = {"hidden_layer_sizes": sizes, "dropout_rate": 0.0}
    refuses(Est, *problem(Est), params=params, match="hidden_layer_sizes", forbid=no_training)


def test_class_weight(no_training):
    Est = DropoutMLPClassifier
    params = {"class_weight": "equal"}
    match = named("class_weight", "equal")
    refuses(Est, *problem(Est), params=params, match=match, forbid=no_training)
    params = {"class_weight": "balanced"}
    refuses(
        Est,
        *problem(Est),
        classes=[0, 1, 2],
        params=params,
        method="partial_fit",
        match="class_weight='balanced' is not supported for partial_fit.*dict",
    )


def test_loss(no_training):
    Est = DropoutMLPRegressor
    params = {"loss": "mse"}
    refuses(Est, *problem(Est), params=params, match=named("loss", "mse"), forbid=no_training)


@both
def test_unknown_parameter(Est):
    with pytest.raises(TypeError, match="drop_rate"):
        Est(drop_rate=0.2)


@pytest.mark.parametrize("device", ["gpu", "tpu:0", "cuda:99"])
@both
def test_device_that_is_not_there(Est, device, no_training):
    params = {"device": device}
    message = refuses(
        Est, *problem(Est), params=params, match=named("device", device), forbid=no_training
    )
    assert "'cpu' or 'auto'" in message


@pytest.mark.parametrize("solver", [dict, torch.nn.Linear, torch.optim.lr_scheduler.StepLR])
@both
def test_solver_that_is_no_optimizer(Est, solver, no_training):
    refuses(
        Est,
        *problem(Est),
        params={"solver": solver},
        match=r"solver=<class .*is not a subclass of torch\.optim\.Optimizer.*'adam'",
        forbid=no_training,
        error=TypeError,
    )


@pytest.mark.parametrize("solver", [torch.optim.LBFGS, torch.optim.Optimizer])
@both
def test_solver_that_cannot_serve(Est, solver, no_training):
    refuses(
        Est,
        *problem(Est),
        params={"solver": solver},
        match=r"solver=<class .*'adam'",
        forbid=no_training,
        error=(TypeError, ValueError),
    )


GRADIENTS = r"solver=<class .*dense gradients of weights and biases"
CALLBACKS = r"callbacks=\[.*is not a skorch callback.*pairs \(name, callback\)"
RAGGED = r"{}=\[\[1\], \[2, 3\]\] is ragged"
GROUPS = "feature_groups=.* has labels of several types"
REFUSED = [
    ("solver", torch.optim.SparseAdam, GRADIENTS, ValueError),
    ("callbacks", ["x"], CALLBACKS, TypeError),
    ("callbacks", [("a",)], CALLBACKS, TypeError),
    ("callbacks", [("a", 1)], CALLBACKS, TypeError),
    ("callbacks", [None], CALLBACKS, TypeError),
    ("hidden_layer_sizes", [[1], [2, 3]], RAGGED.format("hidden_layer_sizes"), ValueError),
    ("dropout_rate", [[1], [2, 3]], RAGGED.format("dropout_rate"), ValueError),
    ("feature_groups", ["a", None, "b", "b"], GROUPS, TypeError),
    ("epsilon", 1e-300, r"epsilon=1e-300 is zero in float32.*1e-8", ValueError),
]
if hasattr(torch.optim, "Muon"):  # for matrices alone; not in old releases of PyTorch
    REFUSED.append(("solver", torch.optim.Muon, GRADIENTS, ValueError))


@pytest.mark.parametrize(("name", "value", "match", "error"), REFUSED)
@both
def test_values_that_types_and_ranges_let_pass(Est, name, value, match, error, no_training):
    params = {name: value}
    refuses(Est, *problem(Est), params=params, match=match, forbid=no_training, error=error)


@both
def test_epsilon_beyond_float32(Est):
    """No step is made then, and nothing is warned of."""
    est = Est((3,), epsilon=1e300, max_iter=2, random_state=0).fit(*problem(Est))
    assert np.isfinite(est.loss_curve_).all()


@pytest.mark.parametrize("power_t", [1e9, 400])
@both
def test_a_rate_that_vanishes(Est, power_t):
    X, y = problem(Est)
    params = {"solver": "sgd", "learning_rate": "invscaling", "power_t": power_t}
    est = Est((3,), dropout_rate=0, max_iter=3, momentum=0, random_state=0, **params).fit(X, y)
    assert est.loss_curve_[1] == pytest.approx(est.loss_curve_[2])


@pytest.mark.parametrize("losses", [("squared_error", "poisson"), ("poisson", "huber")])
@pytest.mark.parametrize("partial", [False, True])
def test_another_kind_of_loss_for_a_fitted_network(losses, partial, no_training):
    X, y = problem(DropoutMLPRegressor)
    before, after = losses
    est = DropoutMLPRegressor((3,), loss=before, warm_start=True, max_iter=1, random_state=0)
    fit = est.partial_fit if partial else est.fit
    fit(X, np.abs(y) + 1)
    coefs = est.coefs_
    match = rf"loss='{after}' scales targets .*warm_start=False"
    with no_training(), pytest.raises(ValueError, match=match):
        getattr(est.set_params(loss=after), fit.__name__)(X, np.abs(y) + 1)
    assert est.coefs_ is coefs


@pytest.mark.parametrize("groups", [[0, 1, 1], [0] * 5, np.zeros((4, 1)), ["a"]])
@both
def test_feature_groups_of_another_length(Est, groups, no_training):
    message = refuses(
        Est,
        *problem(Est),
        params={"feature_groups": groups},
        match=r"feature_groups has shape \(.*4 columns",
        forbid=no_training,
    )
    assert str(np.shape(groups)) in message
    assert "one label for each column" in message


@pytest.mark.parametrize("size", [3, 5, 8])
@both
def test_feature_groups_that_do_not_divide(Est, size, no_training):
    refuses(
        Est,
        *problem(Est),
        params={"feature_groups": size},
        match=f"feature_groups={size} does not divide the 4 columns.*array",
        forbid=no_training,
    )


# Data


def put(X, value):
    """`X` with one value replaced."""
    X = X.copy()
    X[3, 1] = value
    return X


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda X: put(X, np.nan), "Input X contains NaN"),
        (lambda X: put(X, np.inf), "Input X contains infinity"),
        (lambda X: sparse.csr_array(put(X, np.nan)), "Input X contains NaN"),
        (lambda X: X[:, :, None], "dim 3"),
        (lambda X: X[0], "Expected 2D array, got 1D array"),
        (lambda X: X + 1j, "Complex data not supported"),
        (lambda X: X.astype(str).astype("U9").astype(object) + "m", "X has text, such as '"),
        (lambda X: np.full(X.shape, "a"), "X has text, such as 'a'"),
        (lambda X: X[:0], "0 sample"),
        (lambda X: X[:, :0], "0 feature"),
        (lambda X: X[:-1], "inconsistent numbers of samples"),
    ],
    ids=["nan", "inf", "sparse nan", "3-D", "1-D", "complex", "text", "U", "no row", "no", "short"],
)
@both
def test_bad_inputs(Est, change, match, method, no_training):
    X, y = problem(Est)
    bad = change(X)
    kwargs = {"classes": [0, 1, 2]} if is_classifier(Est()) and method == "partial_fit" else {}
    y = y[:0] if bad.shape[0] == 0 else y
    refuses(Est, bad, y, match=match, method=method, forbid=no_training, **kwargs)


@both
def test_numbers_too_large_for_float32(Est, no_training):
    X, y = problem(Est)
    X[0, 0] = 1e300
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        refuses(Est, X, y, match="X contains infinity or a value too large", forbid=no_training)


@pytest.mark.parametrize(
    ("Est", "method"),
    [(Est, method) for Est in ESTIMATORS for method in ("predict", "score")]
    + [(DropoutMLPClassifier, "predict_proba"), (DropoutMLPClassifier, "predict_log_proba")],
)
def test_bad_inputs_at_prediction(Est, method):
    X, y = problem(Est)
    est = Est(**SMALL).fit(X, y)
    after = (y,) if method == "score" else ()
    call = getattr(est, method)
    with pytest.raises(ValueError, match=r"X has 3 features, but Dropout\w+ is expecting 4"):
        call(X[:, :3], *after)
    with pytest.raises(ValueError, match="contains NaN"):
        call(np.full_like(X, np.nan), *after)
    with pytest.raises(ValueError, match="dim 3"):
        call(X[:, :, None], *after)
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(Est(**SMALL), method)(X, *after)


def rows_to_predict():
    """Rows for a network of 4 columns, as scikit-learn's checks take, convert or refuse them."""
    X = np.random.default_rng(0).standard_normal((5, 4))
    huge = np.full((5, 4), 1e308)
    found = {
        "float64": X,
        "float32": X.astype(np.float32),
        "one row": X[:1],
        "an infinite sum": huge,
        "a sum that is NaN": huge * [1, -1, 1, -1],
        "read-only": np.frombuffer(X.tobytes()).reshape(X.shape),
        "Fortran order": np.asfortranarray(X),
        "every second column": np.repeat(X, 2, axis=1)[:, ::2],
        "another byte order": X.astype(">f8"),
        "float16": X.astype(np.float16),
        "int64": np.arange(20).reshape(5, 4),
        "complex": X.astype(complex),
        "a list": X.tolist(),
        "a matrix": np.matrix(X),
        "a masked array": np.ma.masked_greater(X, 1),
        "a CSR matrix": sparse.csr_array(X),
        "a data frame": pd.DataFrame(X, columns=list("abcd")),
        "three columns": X[:, :3].copy(),
        "five columns": np.hstack([X, X[:, :1]]),
        "no rows": X[:0],
        "one dimension": X[0],
        "three dimensions": np.zeros((5, 4, 4)),
    }
    for name, value in {"NaN": np.nan, "infinity": -np.inf}.items():
        found[name] = X.copy()
        found[name][2, 1] = value
    return found


def checked(est, X):
    """Rows as the network takes them, with their dtype and order."""
    table = est._validate(X, reset=False)
    table = table.toarray() if sparse.issparse(table) else table
    return table.tolist(), table.dtype, repr(table.flags)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    "est",
    [
        DropoutMLPClassifier(max_iter=1),
        DropoutCNNClassifier((2,), input_shape=(1, 4), max_iter=1),
        DropoutRNNClassifier((2,), input_shape=(2, 2), max_iter=1),
    ],
)
def test_rows_are_checked_as_by_scikit_learn(est, named, monkeypatch):
    """Those that need no conversion pass without scikit-learn's checks, to the same end."""
    X, y = problem(DropoutMLPClassifier)
    est = clone(est).fit(pd.DataFrame(X, columns=list("abcd")) if named else X, y)
    check = partial(checked, est)
    quick = {name: outcome(check, rows) for name, rows in rows_to_predict().items()}
    with monkeypatch.context() as patch:
        patch.setattr(base, "are_plain_numbers", lambda X, n_features: False)
        for name, rows in rows_to_predict().items():
            assert quick[name] == outcome(check, rows), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_plain_rows_skip_the_checks(dtype, monkeypatch):
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier(**SMALL).fit(X, y)
    expected = est.predict_proba(X)
    monkeypatch.setattr(base, "validate_data", lambda *args, **options: pytest.fail("checked"))
    np.testing.assert_allclose(est.predict_proba(X.astype(dtype)), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["module_", "net_", "history_"])
@both
def test_attributes_of_an_unfitted_estimator(Est, name):
    with pytest.raises(AttributeError):
        getattr(Est(**SMALL), name)
    assert not hasattr(Est(**SMALL), name)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@both
def test_continuing_with_other_columns(Est, method):
    X, y = problem(Est)
    est = Est(**SMALL, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4"):
        getattr(est, method)(X[:, :3], y)
    assert est.n_features_in_ == 4


@both
def test_continuing_with_other_layers(Est):
    X, y = problem(Est)
    est = Est(**SMALL, warm_start=True).fit(X, y)
    before = est.predict(X)
    est.set_params(hidden_layer_sizes=(7, 4))
    with pytest.raises(ValueError, match=r"\(4, 6, 4, [13]\).*hidden_layer_sizes=\(7, 4\).*warm_s"):
        est.fit(X, y)
    np.testing.assert_array_equal(est.predict(X), before)


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.zeros(30), "class"),
        (["only"] * 30, "'only'"),
        (np.linspace(0, 1, 30), "Unknown label type: continuous"),
        (np.tile([[0, 2], [1, 1]], (15, 1)), r"\(30, 2\).*MultiOutputClassifier"),
        (np.array([np.nan] * 30), "NaN"),
        (np.zeros((30, 2, 2)), "dim 3|3"),
        (None, "y cannot be None|requires y"),
    ],
    ids=["one class", "one string", "numbers", "several outputs", "nan", "3-D", "none"],
)
def test_bad_labels(y, match, no_training):
    X, _ = problem(DropoutMLPClassifier)
    refuses(DropoutMLPClassifier, X, y, match=match, forbid=no_training)


def test_one_class_left_by_the_weights(no_training):
    X, y = problem(DropoutMLPClassifier)
    weight = np.where(y == 1, 1.0, 0.0)
    message = refuses(DropoutMLPClassifier, X, y, weight, match="class", forbid=no_training)
    assert "1" in message


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.where(np.arange(30) == 3, np.nan, 1.0), "y contains NaN"),
        (np.where(np.arange(30) == 3, np.inf, 1.0), "y contains infinity"),
        (np.array(["a", "b", "c"] * 10), "y has text, 'a' in row 0"),
        (np.zeros((30, 2, 2)), "dim 3|3"),
        (None, "y cannot be None|requires y"),
    ],
    ids=["nan", "inf", "text", "3-D", "none"],
)
def test_bad_numbers(y, match, no_training):
    X, _ = problem(DropoutMLPRegressor)
    refuses(DropoutMLPRegressor, X, y, match=match, forbid=no_training)


def test_negative_counts(no_training):
    X, y = problem(DropoutMLPRegressor)
    y = np.abs(y)
    y[4] = -2.5
    params = {"loss": "poisson"}
    match = r"y has negative values.*-2\.5.*loss='poisson'.*squared_error"
    refuses(DropoutMLPRegressor, X, y, params=params, match=match, forbid=no_training)
    match = "y_val has negative values"
    kwargs = {"X_val": X, "y_val": y}
    refuses(
        DropoutMLPRegressor, X, np.abs(y), params=params, match=match, forbid=no_training, **kwargs
    )


def test_unseen_class_in_partial_fit(no_training):
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier(**SMALL)
    with pytest.raises(ValueError, match=r"y has classes \[2\].*\[0, 1\]"):
        est.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(NotFittedError):
        est.predict(X)
    est.partial_fit(X[y < 2], y[y < 2], classes=[0, 1])
    state, before = pickle.dumps(est), est.predict_proba(X)
    with no_training(), pytest.raises(ValueError, match=r"y has classes \[2\].*\[0, 1\]"):
        est.partial_fit(X, y)
    np.testing.assert_array_equal(est.predict_proba(X), before)
    assert pickle.dumps(est) == state


# Weights


BAD_WEIGHTS = {
    "negative": (np.linspace(-0.5, 1, 30), r"-0\.5.*>= 0"),
    "zero": (np.zeros(30), "zero"),
    "nan": (np.full(30, np.nan), "NaN"),
    "inf": (np.full(30, np.inf), "infinity"),
    "short": (np.ones(29), r"\(29,\)"),
    "2-D": (np.ones((30, 1)), "1D"),
}


@pytest.mark.parametrize("kind", BAD_WEIGHTS)
@both
def test_bad_weights(Est, kind, no_training):
    weight, match = BAD_WEIGHTS[kind]
    match = f"(?i)sample.weight.*{match}|{match}.*sample.weight"
    refuses(Est, *problem(Est), weight, match=match, forbid=no_training)


@pytest.mark.parametrize("kind", BAD_WEIGHTS)
@both
def test_bad_weights_of_the_validation_set_are_called_so(Est, kind, no_training):
    X, y = problem(Est)
    weight, match = BAD_WEIGHTS[kind]
    data = {"X_val": X, "y_val": y, "sample_weight_val": weight}
    message = refuses(Est, X, y, **data, match=match, forbid=no_training)
    assert "sample_weight_val" in message


# Validation sets


@both
def test_half_a_validation_set(Est, no_training):
    X, y = problem(Est)
    match = "X_val is given but y_val is None.*both or neither"
    refuses(Est, X, y, X_val=X, match=match, forbid=no_training)
    match = "y_val is given but X_val is None.*both or neither"
    refuses(Est, X, y, y_val=y, match=match, forbid=no_training)
    match = "sample_weight_val is given but X_val is None.*X_val and y_val"
    refuses(Est, X, y, sample_weight_val=np.ones(30), match=match, forbid=no_training)


@pytest.mark.parametrize(
    "change",
    [
        lambda X, y: (np.full_like(X, np.nan), y),
        lambda X, y: (X[:, :3], y),
        lambda X, y: (X[:, :, None], y),
        lambda X, y: (X, y[:-1]),
        lambda X, y: (X, np.stack([y, y], axis=1)),
    ],
    ids=["nan", "columns", "3-D", "short", "outputs"],
)
@both
def test_bad_validation_sets_are_called_by_their_names(Est, change, no_training):
    X, y = problem(Est)
    X_val, y_val = change(X, y)
    refuses(Est, X, y, X_val=X_val, y_val=y_val, match="X_val|y_val", forbid=no_training)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_unseen_class_in_the_validation_set(early_stopping, no_training):
    X, y = problem(DropoutMLPClassifier)
    refuses(
        DropoutMLPClassifier,
        X,
        y,
        X_val=X,
        y_val=y + 1,
        params={"early_stopping": early_stopping},
        match=r"y_val has classes \[3\].*\[0, 1, 2\]",
        forbid=no_training,
    )


@pytest.mark.parametrize("n", [4, 9])
@both
def test_too_few_rows_to_hold_some_out(Est, n, no_training):
    X, y = problem(Est, n)
    message = refuses(
        Est,
        X,
        y,
        params={"early_stopping": True},
        match="(?s)validation_fraction.*0.1",
        forbid=no_training,
    )
    assert f"{n} rows" in message


# Training that fails


@pytest.mark.parametrize("solver", ["sgd", "adam", torch.optim.SGD])
@both
def test_divergence(Est, solver):
    X, y = problem(Est)
    params = {"solver": solver, "learning_rate_init": 1e18, "activation": "relu", "max_iter": 50}
    message = refuses(
        Est, X, y, params=params, match=r"became (nan|inf) in epoch \d+.*smaller learning_rate_init"
    )
    assert "1e+18" in message
    assert "StandardScaler" in message


@pytest.mark.parametrize(("batch_size", "rate"), [(7, 0.3), (30, 3.0)])
def test_divergence_names_the_epoch(batch_size, rate):
    """The same one, whether training looks up after each epoch or after many."""
    X, y = problem(DropoutMLPRegressor)
    params = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": rate, "max_iter": 300}
    est = DropoutMLPRegressor(**SMALL | params, activation="identity", batch_size=batch_size)
    epochs = set()
    for validation in ({}, {"X_val": X, "y_val": y}):
        with pytest.raises(ValueError, match="diverged") as caught:
            est.fit(X, y, **validation)
        epochs.add(int(re.search(r"epoch (\d+)", str(caught.value))[1]))
    (epoch,) = epochs
    assert epoch > 1
    # It ends no sooner: an epoch less leaves finite losses, and with luck finite weights.
    est.set_params(max_iter=max(epoch - 2, 1)).fit(X, y)
    assert np.isfinite(est.loss_curve_).all()


@both
def test_divergence_leaves_partial_fit_as_it_was(Est):
    """Weights, counts and the state of the solver."""
    X, y = problem(Est)
    first = {"classes": [0, 1, 2]} if is_classifier(Est()) else {}
    for solver in ("adam", "sgd", torch.optim.Adam):
        est = Est(**SMALL, solver=solver, activation="relu").partial_fit(X, y, **first)
        twin = pickle.loads(pickle.dumps(est))
        with pytest.raises(ValueError, match="diverged"):
            est.partial_fit(np.full_like(X, 3e38), y)
        np.testing.assert_array_equal(est.predict(X), twin.predict(X))
        est.partial_fit(X, y)
        twin.partial_fit(X, y)
        for one, other in zip(est.coefs_, twin.coefs_):
            np.testing.assert_array_equal(one, other)
        assert est.t_ == twin.t_ == 60


@both
def test_divergence_with_early_stopping(Est):
    X, y = problem(Est)
    params = {"solver": "sgd", "learning_rate_init": 1e18, "early_stopping": True, "max_iter": 50}
    refuses(Est, X, y, X_val=X, y_val=y, params=params, match="diverged")


@pytest.mark.parametrize("validated", [False, True])
@both
def test_interruption_keeps_what_was_learned(Est, validated, monkeypatch):
    X, y = problem(Est)
    validation = {"X_val": X, "y_val": y}  # so that training looks up after each epoch
    est = Est(**SMALL | {"max_iter": 50, "early_stopping": validated})
    original = Trainer._epochs

    def three_epochs(trainer):
        if len(trainer.record) == 3:
            raise KeyboardInterrupt
        original(trainer)

    monkeypatch.setattr(Trainer, "_epochs", three_epochs)
    with pytest.warns(UserWarning, match="interrupted by user after 3 epochs"):
        assert est.fit(X, y, **validation) is est
    assert est.n_iter_ == len(est.loss_curve_) == len(est.history_) == 3
    assert est.t_ == 90
    monkeypatch.undo()
    if not validated:
        uninterrupted = Est(**SMALL | {"max_iter": 3}).fit(X, y)
        np.testing.assert_array_equal(est.predict(X), uninterrupted.predict(X))
    est.set_params(warm_start=True, max_iter=2, early_stopping=False).fit(X, y)
    assert len(est.loss_curve_) == 5


@both
def test_interruption_before_the_first_epoch(Est, monkeypatch):
    X, y = problem(Est)

    def at_once(trainer):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_epochs", at_once)
    with pytest.warns(UserWarning, match="interrupted by user after 0 epochs"):
        est = Est(**SMALL).fit(X, y)
    assert est.n_iter_ == 0
    assert est.predict(X).shape == y.shape
    assert est.history_[:] == []


@pytest.mark.parametrize("early_stopping", [False, True])
@both
def test_interruption_while_scoring(Est, early_stopping):
    """Where a slow scorer spends most of the time, Ctrl-C strikes most of the time."""
    X, y = problem(Est)
    calls = []

    def score(estimator, X, y):
        calls.append(1)
        if len(calls) == 8:  # the second of two calls in the fourth epoch
            raise KeyboardInterrupt
        return 0.5

    est = Est(**SMALL | {"max_iter": 50}, scoring=score, early_stopping=early_stopping)
    with pytest.warns(UserWarning, match="interrupted by user"):
        est.fit(X, y, X_val=X, y_val=y)
    assert est.n_iter_ in (3, 4)
    assert est.predict(X).shape == y.shape
    assert len(est.history_) == est.n_iter_
    assert len(est.validation_scores_) >= 3


@both
def test_error_of_a_scorer_is_passed_on(Est):
    def score(estimator, X, y):
        raise ZeroDivisionError("no score")

    refuses(
        Est, *problem(Est), params={"scoring": score}, match="no score", error=ZeroDivisionError
    )


# The checks themselves


def test_check_rates():
    np.testing.assert_array_equal(check_rates("r", 0.2, 3, "places"), [0.2, 0.2, 0.2])
    np.testing.assert_array_equal(check_rates("r", (0, 0.5), 2, "places"), [0, 0.5])
    assert check_rates("r", 0.2, 0, "places").shape == (0,)
    rates = np.array([0.1, 0.2])
    check_rates("r", rates, 2, "places")[0] = 9
    assert rates[0] == 0.1
    with pytest.raises(ValueError, match=r"r=1\.2 is outside"):
        check_rates("r", 1.2, 0, "places")


@pytest.mark.parametrize(
    ("sizes", "expected"), [(5, (5,)), ((), ()), ([], ()), (np.int64(3), (3,)), ([4, 2], (4, 2))]
)
def test_check_hidden_layer_sizes(sizes, expected):
    checked = check_hidden_layer_sizes(sizes)
    assert checked == expected
    assert all(type(size) is int for size in checked)


def test_check_feature_groups():
    np.testing.assert_array_equal(check_feature_groups(None, 3), [0, 1, 2])
    np.testing.assert_array_equal(check_feature_groups(2, 4), [0, 0, 1, 1])
    np.testing.assert_array_equal(check_feature_groups(["b", "a", "b"], 3), [1, 0, 1])


def test_check_weights():
    X = np.zeros((3, 1))
    assert check_weights(None, X) is None
    weight = check_weights([0, 1, 2], X)
    assert weight.dtype == np.float64
    assert weight.tolist() == [0, 1, 2]


@pytest.mark.slow
def test_tensors_with_array_api_dispatch():
    """They count as arrays of numbers; answers are NumPy arrays, whatever the setting."""
    code = """
import numpy as np, sklearn, torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_dropout import DropoutMLPClassifier, DropoutSearchCV

X = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
y = (X[:, 0] > 0).int()
network = DropoutMLPClassifier(max_iter=3, random_state=0)
models = [
    network,
    make_pipeline(StandardScaler(), network),
    DropoutSearchCV(network, {"dropout_rate": [0.0, 0.3]}, cv=2),
]
for model in models:
    expected = model.fit(X.numpy(), y.numpy()).predict_proba(X.numpy())
    with sklearn.config_context(array_api_dispatch=True):
        found = model.fit(X, y).predict_proba(X)
        model.score(X, y)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
"""
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)
