"""The compiled engine and PyTorch are each other's oracle."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor
from sklearn_dropout.perceptron import why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason="needs Numba")

EVERYTHING = {
    "dropout_rate": [0.2, 0.4],
    "input_dropout_rate": 0.1,
    "spatial_dropout_rate": 0.2,
    "feature_groups": [0, 0, 1, 1, 2, 2],
}


def data(kind, n=90, seed=0):
    """Inputs, targets of some kind, weights of the rows."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6)).astype(np.float32)
    score = X[:, :3] @ rng.standard_normal((3, 3)) + 0.3 * rng.standard_normal((n, 3))
    y = {
        "two classes": score[:, 0] > 0,
        "three classes": score.argmax(1),
        "labels": (score > 0).astype(int),
        "numbers": 5 * score[:, 0] - 2,
        "outputs": score,
        "counts": rng.poisson(np.exp(np.clip(score[:, 0], -2, 2))),
    }[kind]
    return X, y, rng.uniform(0.5, 3, n)


def both(kind, X, y, **params):
    """The same fit by either engine."""
    weight = params.pop("sample_weight", None)
    Est = DropoutMLPClassifier if kind in CLASSES else DropoutMLPRegressor
    defaults = {
        "hidden_layer_sizes": (8, 5),
        "max_iter": 20,
        "batch_size": 32,
        "random_state": 0,
        "learning_rate_init": 0.005,
    }
    est = Est(**defaults | EVERYTHING | params)
    return [
        clone(est).set_params(engine=engine).fit(X, y, sample_weight=weight)
        for engine in ("compiled", "torch")
    ]


CLASSES = ("two classes", "three classes", "labels")


def assert_agree(compiled, plain, X):
    """Answers, curves and noise agree to what float32 leaves after twenty epochs."""
    for name in ("predict_proba", "predict"):
        if name == "predict" and hasattr(compiled, "classes_"):
            continue
        if hasattr(compiled, name):
            ours, theirs = getattr(compiled, name)(X), getattr(plain, name)(X)
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.ptp(theirs))
    np.testing.assert_allclose(compiled.loss_curve_, plain.loss_curve_, rtol=1e-4, atol=1e-5)
    if hasattr(compiled, "noise_std_"):
        np.testing.assert_allclose(compiled.noise_std_, plain.noise_std_, rtol=1e-4)


@pytest.mark.parametrize(
    "activation", ["identity", "logistic", "tanh", "relu", "elu", "selu", "gelu", "silu"]
)
@pytest.mark.parametrize("kind", ["two classes", "numbers"])
def test_engines_agree_for_every_activation(kind, activation):
    X, y, _ = data(kind)
    assert_agree(*both(kind, X, y, activation=activation), X)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("kind", [*CLASSES, "numbers", "outputs"])
def test_engines_agree_for_every_target_and_solver(kind, solver):
    X, y, _ = data(kind)
    assert_agree(*both(kind, X, y, solver=solver, alpha=0.1), X)


@pytest.mark.parametrize(
    ("kind", "loss"), [("outputs", "absolute_error"), ("numbers", "huber"), ("counts", "poisson")]
)
def test_engines_agree_for_every_loss(kind, loss):
    X, y, _ = data(kind)
    # The sign of a residual may differ where rounding decides it.
    assert_agree(*both(kind, X, y, loss=loss, solver="sgd", learning_rate_init=0.001), X)


@pytest.mark.parametrize(
    "params",
    [
        {"max_norm": 0.8},
        {"learning_rate": "adaptive", "solver": "sgd", "tol": 0.1, "n_iter_no_change": 2},
        {"learning_rate": "invscaling", "solver": "sgd", "momentum": 0.5},
        {"nesterovs_momentum": False, "solver": "sgd"},
        {"early_stopping": True, "n_iter_no_change": 3},
        {"shuffle": False},
        {"batch_size": 200},
        {"dropout_rate": [0.0, 0.5], "input_dropout_rate": 0.0},
        {"dropout_rate": 0.0, "input_dropout_rate": 0.0, "spatial_dropout_rate": 0.0},
        {"hidden_layer_sizes": (), "dropout_rate": 0.0},
        {"hidden_layer_sizes": (150,), "dropout_rate": 0.3, "batch_size": 64},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_engines_agree_for_every_way_to_train(params, weighted):
    X, y, weight = data("three classes")
    engines = both("three classes", X, y, **params, sample_weight=weight if weighted else None)
    assert_agree(*engines, X)


def test_engines_agree_on_sparse_rows():
    X, y, weight = data("numbers")
    X[np.abs(X) < 0.8] = 0
    dense = both("numbers", X, y, sample_weight=weight)
    rows = both("numbers", sparse.csr_array(X), y, sample_weight=weight)
    assert_agree(*rows, X)
    assert_agree(dense[0], rows[0], X)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_continues_whichever_engine_began(solver):
    """A model that was saved on a machine with Numba is trained further on one without."""
    X, y, _ = data("three classes")
    est = DropoutMLPClassifier((8,), solver=solver, batch_size=32, random_state=0)
    steady = clone(est).set_params(engine="compiled")
    mixed = clone(est)
    for epoch in range(10):
        steady.partial_fit(X, y, classes=[0, 1, 2])
        mixed.set_params(engine=["torch", "compiled"][epoch % 2])
        mixed.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(mixed.predict_proba(X), steady.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_moments_of_unused_weights_become_zero(engine):
    """Not denormal, which would make every step many times as long."""
    X, y, _ = data("numbers")
    network = DropoutMLPRegressor((9,), engine=engine, alpha=0, beta_1=0.1, beta_2=0.1)
    moments = []
    for _ in range(40):
        network.partial_fit(X, y)
        X[:, 0] = 0  # from the second epoch on
        moments.append(network._partial_state[0][0]["second_moment"][:9])
    moments = np.array(moments)
    assert (moments[0] > 0).any()
    assert not moments[-1].any()
    assert not ((moments > 0) & (moments < np.finfo(np.float32).tiny)).any()


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"solver": torch.optim.Adagrad}, "solver=Adagrad is a class of PyTorch"),
        ({"callbacks": [pytest.importorskip("skorch").callbacks.PrintLog()]}, "callbacks"),
        ({"device": "meta"}, "device='meta'"),
    ],
)
def test_what_the_compiled_engine_cannot_do_is_refused(params, reason):
    X, y, _ = data("numbers")
    est = DropoutMLPRegressor((4,), engine="compiled", **params)
    with pytest.raises(ValueError, match=f"(engine='compiled'.*{reason}|device='meta')"):
        est.fit(X, y)
    assert not hasattr(est, "coefs_")


_WITHOUT_NUMBA = """
import sys, warnings
warnings.simplefilter("error")
sys.modules["numba"] = None
import numpy as np
from sklearn_dropout import DropoutMLPRegressor
X = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
reg = DropoutMLPRegressor((5,), max_iter=3, random_state=0).fit(X, X[:, 0])
print(reg.predict(X[:2]).tolist())
try:
    reg.set_params(engine="compiled").fit(X, X[:, 0])
except ValueError as error:
    print(error)
"""


def test_without_numba_everything_goes_through_pytorch():
    """On a Python that Numba does not support yet, fits work and give the same answers."""
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT_NUMBA], capture_output=True, text=True, check=True
    )
    answers, message = run.stdout.splitlines()
    X = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    reg = DropoutMLPRegressor((5,), max_iter=3, random_state=0).fit(X, X[:, 0])
    np.testing.assert_allclose(eval(answers), reg.predict(X[:2]), rtol=1e-4)
    assert "engine='compiled'" in message
    assert "umba" in message
