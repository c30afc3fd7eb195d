"""Losses on the outputs of a stack: value of each row and derivative by the network's output.

Every loss is a function of the last layer's sums `z`, before the output function, because the
derivative is then exact where the output function saturates. Values and targets have shape
(..., n_rows, n_outputs); the loss of a row is the sum over its outputs. Targets of ``log_loss``
sum to one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss

_FEW_VALUES = 128


@dataclass(frozen=True)
class Loss:
    """A loss with the output function that belongs to it.

    Attributes
    ----------
    out_activation : str
        scikit-learn's name of the output function.
    rows : callable (z, y) -> tensor of shape (..., n_rows)
        Loss of each row.
    derivative : callable (z, y, out)
        Write d rows / d z into `out`.
    noise : {"constant", "mean"} or None, default="constant"
        What the variance of a target is proportional to; ``None`` where targets are classes.
    """

    out_activation: str
    rows: Callable
    derivative: Callable
    noise: str | None = "constant"


def softmax(z, function=torch.softmax):
    """Softmax (or its logarithm) over the last axis.

    Over a short last axis PyTorch's is scalar code; over the one before it is not, but rounds by
    the number of threads. How many steps come at once, on axes before the last three, must not
    change the result.
    """
    if z.shape[-3:].numel() < _FEW_VALUES:
        return function(z, -1)
    return function(z.transpose(-1, -2).contiguous(), -2).transpose(-1, -2)


def _softmax_error(z, y, out):
    torch.sub(softmax(z), y, out=out)


def _sigmoid(z, y, out):
    torch.sigmoid(z, out=out).sub_(y)


def _difference(z, y, out):
    torch.sub(z, y, out=out)


def _sign(z, y, out):
    torch.sub(z, y, out=out).sign_()


def _clipped(z, y, out):
    torch.sub(z, y, out=out).clamp_(-1, 1)


def _exp(z, y, out):
    torch.exp(z, out=out).sub_(y)


def _cross_entropy(z, y):
    return (softmax(z, torch.log_softmax) * y).sum(-1).neg_()


def _binary_cross_entropy(z, y):
    return binary_cross_entropy_with_logits(z, y, reduction="none").sum(-1)


def _half_poisson_deviance(z, y):
    return (torch.xlogy(y, y) - y * z - y + torch.exp(z)).sum(-1)


LOSSES = {
    "log_loss": Loss("softmax", _cross_entropy, _softmax_error, noise=None),
    "binary_log_loss": Loss("logistic", _binary_cross_entropy, _sigmoid, noise=None),
    "squared_error": Loss("identity", lambda z, y: 0.5 * (z - y).square().sum(-1), _difference),
    "absolute_error": Loss("identity", lambda z, y: (z - y).abs().sum(-1), _sign),
    "huber": Loss("identity", lambda z, y: huber_loss(z, y, reduction="none").sum(-1), _clipped),
    "poisson": Loss("exp", _half_poisson_deviance, _exp, noise="mean"),
}

OUT_ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": torch.sigmoid,
    "softmax": softmax,
    "exp": torch.exp,
}
