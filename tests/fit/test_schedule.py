"""Schedules of the learning rate against those of PyTorch."""

import numpy as np
import pytest
import torch
from _families import ALL, problem, small
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR

from sklearn_dropout import DropoutMLPRegressor
from sklearn_dropout.fit.schedule import PLANNED, planned_epochs

ORACLES = {
    "cosine": lambda optimizer, n: CosineAnnealingLR(optimizer, n),
    "one_cycle": lambda optimizer, n: OneCycleLR(optimizer, 0.3, total_steps=n),
    "linear_warmup": lambda optimizer, n: LinearLR(
        optimizer, 1 / max(1, round(n / 10)), 1.0, max(1, round(n / 10) - 1)
    ),
}


def rates_of_pytorch(name, n_epochs):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.3)
    scheduler, rates = ORACLES[name](optimizer, n_epochs), []
    for _ in range(n_epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")  # PyTorch's, for its last step
@pytest.mark.parametrize("name", PLANNED)
@pytest.mark.parametrize("n_epochs", [2, 7, 60])
def test_rates_are_those_of_pytorch(name, n_epochs):
    found = 0.3 * PLANNED[name](np.arange(n_epochs), n_epochs)
    np.testing.assert_allclose(found, rates_of_pytorch(name, n_epochs), rtol=1e-12)


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("name", PLANNED)
def test_engines_agree(name, solver):
    X, y = problem(DropoutMLPRegressor)
    params = {"solver": solver, "learning_rate": name, "learning_rate_init": 0.01, "max_iter": 30}
    fits = [
        small(DropoutMLPRegressor, **params, engine=engine).fit(X, y)
        for engine in ("compiled", "torch")
    ]
    np.testing.assert_allclose(*(est.coefs_[0] for est in fits), atol=1e-5)
    constant = small(DropoutMLPRegressor, **params | {"learning_rate": "constant"}).fit(X, y)
    assert abs(constant.coefs_[0] - fits[0].coefs_[0]).max() > 1e-4


@pytest.mark.parametrize("Est", ALL)
@pytest.mark.parametrize("name", PLANNED)
def test_partial_fit_counts_its_calls(Est, name):
    X, y = problem(Est)
    uninterrupted = small(Est, learning_rate=name, max_iter=5).fit(X, y)
    parts = small(Est, learning_rate=name, max_iter=5)
    for _ in range(5):
        parts.partial_fit(
            X, y, **({"classes": np.unique(y)} if hasattr(Est, "predict_proba") else {})
        )
    for a, b in zip(uninterrupted.coefs_, parts.coefs_):
        np.testing.assert_array_equal(a, b)


def test_a_schedule_stays_at_its_end():
    np.testing.assert_array_equal(planned_epochs(3, 4, 5), [3, 4, 4, 4])
