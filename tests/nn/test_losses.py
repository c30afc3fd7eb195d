"""Losses and activations against scikit-learn, PyTorch and automatic differentiation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from _families import spread
from scipy import special
from sklearn.metrics import (
    log_loss,
    mean_absolute_error,
    mean_poisson_deviance,
    mean_squared_error,
)

from sklearn_dropout.nn.activations import ACTIVATIONS
from sklearn_dropout.nn.losses import LOSSES, OUT_ACTIVATIONS

SEEDS = [0, 1, 2]

ACTIVATION_FUNCTIONS = {
    "identity": lambda z: z,
    "logistic": lambda z: 1 / (1 + torch.exp(-z)),
    "tanh": lambda z: 1 - 2 / (torch.exp(2 * z) + 1),
    "relu": F.relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
}
# Of the outputs before the output function, summed over the outputs of each row. PyTorch's loss
# of Poisson regression leaves out the terms that depend on the target alone.
LOSS_FUNCTIONS = {
    "log_loss": lambda z, y: F.cross_entropy(z, y.argmax(-1), reduction="none"),
    "binary_log_loss": lambda z, y: -(y * F.logsigmoid(z) + (1 - y) * F.logsigmoid(-z)).sum(-1),
    "weighted_binary_log_loss": lambda z, y: -(y.abs() * F.logsigmoid(z * y.sign())).sum(-1),
    "squared_error": lambda z, y: F.mse_loss(z, y, reduction="none").sum(-1) / 2,
    "absolute_error": lambda z, y: F.l1_loss(z, y, reduction="none").sum(-1),
    "huber": lambda z, y: F.smooth_l1_loss(z, y, reduction="none", beta=1.0).sum(-1),
    "poisson": lambda z, y: F.poisson_nll_loss(z, y, reduction="none").sum(-1),
    "quantile": lambda z, y: F.l1_loss(z, y, reduction="none").sum(-1) / 2,
    "gaussian": lambda z, y: F.gaussian_nll_loss(
        z[:, :2],
        y[:, :2],
        torch.exp(12 * torch.tanh(z[:, 2:] / 12)),
        reduction="none",
        eps=1e-12,
    ).sum(-1),
}


def outputs_and_targets(loss, seed, n_rows=40, n_outputs=3):
    """Outputs before the output function, and targets that the loss accepts: float64."""
    rng = np.random.default_rng(seed)
    n_outputs = 4 if loss == "gaussian" else n_outputs
    z = rng.normal(0, 2, (n_rows, n_outputs))
    y = {
        "log_loss": lambda: np.eye(n_outputs)[rng.integers(n_outputs, size=n_rows)],
        "binary_log_loss": lambda: rng.integers(2, size=z.shape).astype(float),
        "poisson": lambda: rng.poisson(1.5, z.shape).astype(float),
    }.get(loss, lambda: rng.normal(0, 2, z.shape))()
    return torch.from_numpy(z), torch.from_numpy(y)


def predictions(loss, z):
    return OUT_ACTIVATIONS[LOSSES[loss].out_activation](z)


def derivative(loss, z, y):
    z = z.detach().requires_grad_()
    return torch.autograd.grad(LOSSES[loss].rows(z, y).sum(), z)[0]


# Losses


def test_every_loss_and_activation_has_a_reference():
    assert set(LOSS_FUNCTIONS) == set(LOSSES)
    assert set(ACTIVATION_FUNCTIONS) == set(ACTIVATIONS)


@spread(loss=LOSSES, seed=SEEDS)
def test_derivative_equals_autograd(loss, seed):
    z, y = outputs_and_targets(loss, seed)
    z.requires_grad_()
    (expected,) = torch.autograd.grad(LOSS_FUNCTIONS[loss](z, y).sum(), z)
    torch.testing.assert_close(derivative(loss, z.detach(), y), expected, rtol=1e-13, atol=1e-14)


@spread(loss=sorted(set(LOSSES) - {"poisson"}), seed=SEEDS)
def test_rows_equal_pytorch(loss, seed):
    z, y = outputs_and_targets(loss, seed)
    rows = LOSSES[loss].rows(z, y)
    torch.testing.assert_close(rows, LOSS_FUNCTIONS[loss](z, y), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("seed", SEEDS)
def test_log_loss_equals_scikit_learn(seed):
    z, y = outputs_and_targets("log_loss", seed)
    mean = LOSSES["log_loss"].rows(z, y).mean().item()
    assert mean == pytest.approx(log_loss(y.numpy(), predictions("log_loss", z).numpy()))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_binary_log_loss_equals_scikit_learn(seed, n_outputs):
    z, y = outputs_and_targets("binary_log_loss", seed, n_outputs=n_outputs)
    p = predictions("binary_log_loss", z)
    expected = sum(log_loss(y[:, k].numpy(), p[:, k].numpy()) for k in range(n_outputs))
    assert LOSSES["binary_log_loss"].rows(z, y).mean().item() == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_half_poisson_deviance_equals_scikit_learn(seed, n_outputs):
    z, y = outputs_and_targets("poisson", seed, n_outputs=n_outputs)
    assert (y == 0).any()
    mu = predictions("poisson", z)
    expected = sum(
        mean_poisson_deviance(y[:, k].numpy(), mu[:, k].numpy()) for k in range(n_outputs)
    )
    assert LOSSES["poisson"].rows(z, y).mean().item() == pytest.approx(expected / 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_errors_equal_scikit_learn(seed):
    """scikit-learn takes the mean over the outputs, where ours is the sum."""
    z, y = outputs_and_targets("squared_error", seed)
    squared = LOSSES["squared_error"].rows(z, y).mean().item()
    assert squared == pytest.approx(3 * mean_squared_error(y.numpy(), z.numpy()) / 2)
    absolute = LOSSES["absolute_error"].rows(z, y).mean().item()
    assert absolute == pytest.approx(3 * mean_absolute_error(y.numpy(), z.numpy()))


def test_huber_is_quadratic_within_one_and_linear_beyond():
    z = torch.tensor([[0.5], [-0.5], [3.0], [-3.0]])
    y = torch.zeros_like(z)
    assert LOSSES["huber"].rows(z, y).tolist() == [0.125, 0.125, 2.5, 2.5]
    assert derivative("huber", z, y).flatten().tolist() == [0.5, -0.5, 1.0, -1.0]


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"gaussian"}))  # less than nothing
def test_perfect_predictions_cost_nothing(loss):
    _, y = outputs_and_targets(loss, 0)
    z = {
        "log_loss": 1e3 * y,
        "binary_log_loss": 1e3 * (2 * y - 1),
        "weighted_binary_log_loss": 1e6 * y,
        "poisson": torch.log(y),  # minus infinity for a count of zero
    }.get(loss, y)
    if loss == "poisson":
        z, y = z[(y > 0).all(1)], y[(y > 0).all(1)]
    assert len(z) > 3
    rows = LOSSES[loss].rows(z, y)
    assert rows.shape == (len(z),)
    assert rows.abs().max() < 1e-12
    assert derivative(loss, z, y).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", ["log_loss", "binary_log_loss"])
def test_saturated_outputs_cost_their_distance(loss, dtype):
    """The probability of the true class underflows; neither loss nor derivative may do so."""
    z = torch.tensor([[1000.0, -1000.0], [-1000.0, 1000.0]], dtype=dtype)
    y = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=dtype)
    assert LOSSES[loss].rows(z, y).tolist() == [2000.0, 0.0]
    assert derivative(loss, z, y).tolist() == [[1.0, -1.0], [0.0, 0.0]]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("identity", lambda z: z),
        ("logistic", special.expit),
        ("softmax", lambda z: special.softmax(z, axis=-1)),
        ("exp", np.exp),
        ("gaussian", lambda z: z[..., :2]),
    ],
)
def test_output_functions_equal_scipy(name, expected, seed):
    z = np.random.default_rng(seed).normal(0, 3, (2, 20, 4))
    out = OUT_ACTIVATIONS[name](torch.from_numpy(z))
    np.testing.assert_allclose(out.numpy(), expected(z), rtol=1e-13)


def test_every_loss_has_an_output_function():
    assert {loss.out_activation for loss in LOSSES.values()} == set(OUT_ACTIVATIONS)


# Activations


@spread(name=ACTIVATIONS, seed=SEEDS)
def test_activation_equals_pytorch(name, seed):
    z = torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (20, 4)))
    expected = ACTIVATION_FUNCTIONS[name](z)
    before, out = z.clone(), torch.full_like(z, torch.nan)
    ACTIVATIONS[name].forward(z, out)
    torch.testing.assert_close(out, expected, rtol=1e-13, atol=1e-14)
    assert torch.equal(z, before)


@pytest.mark.parametrize("name", [n for n, a in ACTIVATIONS.items() if a.from_output])
def test_activation_in_place_equals_activation(name):
    z = torch.linspace(-5, 5, 41, dtype=torch.float64)
    out = torch.empty_like(z)
    ACTIVATIONS[name].forward(z, out)
    ACTIVATIONS[name].forward(z, z)
    assert torch.equal(z, out)


@spread(name=ACTIVATIONS, seed=SEEDS)
def test_backward_equals_autograd(name, seed):
    rng = np.random.default_rng(seed)
    z, d = (torch.from_numpy(rng.normal(0, 3, (20, 4))) for _ in range(2))
    leaf = z.clone().requires_grad_()
    (expected,) = torch.autograd.grad(ACTIVATION_FUNCTIONS[name](leaf), leaf, d)
    activation, out = ACTIVATIONS[name], torch.empty_like(z)
    activation.forward(z, out)
    activation.backward(d, out if activation.from_output else z)
    torch.testing.assert_close(d, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("n_rows", "n_classes"), [(250, 2), (40, 16), (12, 16), (40, 17)])
def test_softmax(n_rows, n_classes):
    """Many rows of few classes have a formula of their own, the others PyTorch's."""
    z = torch.linspace(-90, 90, n_rows * n_classes, dtype=torch.float64).view(n_rows, n_classes)
    z[0, 0], z[1, 1] = -torch.inf, torch.nan
    z.requires_grad_()
    found, expected = OUT_ACTIVATIONS["softmax"](z), torch.softmax(z, -1)
    torch.testing.assert_close(found, expected, equal_nan=True)
    (found[2:, 0].sum() + expected[2:, 1].sum()).backward()  # both can be differentiated
    assert z.grad[2:].isfinite().all()
