"""Losses on the outputs of a network: the value of each row.

Every loss is a function of the last layer's sums `z`, before the output function, because its
derivative is then exact where the output function saturates. Values and targets have shape
(n_rows, n_outputs); the loss of a row is the sum over its outputs. Targets of ``log_loss``
sum to one; those of ``weighted_binary_log_loss`` are weights, with the sign of the class. With
``gaussian`` the second half of the outputs are logarithms of variances; that of the targets is
not used.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss

_FEW_CLASSES = 16
_FEW_NUMBERS = 400


@dataclass(frozen=True)
class Loss:
    """A loss with the output function that belongs to it.

    Attributes
    ----------
    name : str
    out_activation : str
        scikit-learn's name of the output function.
    rows : callable (z, y) -> tensor of shape (n_rows,)
        Loss of each row.
    noise : {"constant", "mean"} or None, default="constant"
        Whether the variance of a target is constant or proportional to its mean; ``None`` for
        classes.
    n_heads : int, default=1
        Outputs of the network for each target.
    quantile : float, default=0.5
        Of the pinball loss.
    """

    name: str
    out_activation: str
    rows: Callable
    noise: str | None = "constant"
    n_heads: int = 1
    quantile: float = 0.5


def _cross_entropy(z, y):
    return -(torch.log_softmax(z, -1) * y).sum(-1)


def _binary_cross_entropy(z, y):
    return binary_cross_entropy_with_logits(z, y, reduction="none").sum(-1)


def _weighted_binary_cross_entropy(z, y):
    """Targets are the weights of their terms, negative if the row does not have the label."""
    has = (y > 0).to(z.dtype)
    return binary_cross_entropy_with_logits(z, has, weight=y.abs(), reduction="none").sum(-1)


def _half_poisson_deviance(z, y):
    return (torch.xlogy(y, y) - y * z - y + torch.exp(z)).sum(-1)


# Logarithms of variances stay between plus and minus this, in the units of standardised targets.
LARGEST_LOG_VARIANCE = 12.0


def log_variance(s):
    """Bounded logarithm of a variance, close to `s` if `s` is small."""
    return LARGEST_LOG_VARIANCE * torch.tanh(s / LARGEST_LOG_VARIANCE)


def mean_and_log_variance(z):
    """Halves of the outputs of a network with ``gaussian`` loss."""
    n = z.shape[-1] // 2
    return z[..., :n], log_variance(z[..., n:])


def _gaussian(z, y):
    # Nix & Weigend 1994, eq. 7, without the constant.
    mean, log = mean_and_log_variance(z)
    square = (y[..., : mean.shape[-1]] - mean).square()
    return 0.5 * (log + square * torch.exp(-log)).sum(-1)


def _pinball(z, y, quantile):
    # Koenker & Bassett 1978.
    error = y - z
    return torch.maximum(quantile * error, (quantile - 1) * error).sum(-1)


_ALL = [
    Loss("log_loss", "softmax", _cross_entropy, noise=None),
    Loss("binary_log_loss", "logistic", _binary_cross_entropy, noise=None),
    Loss("weighted_binary_log_loss", "logistic", _weighted_binary_cross_entropy, noise=None),
    Loss("squared_error", "identity", lambda z, y: 0.5 * (z - y).square().sum(-1)),
    Loss("absolute_error", "identity", lambda z, y: (z - y).abs().sum(-1)),
    Loss("huber", "identity", lambda z, y: huber_loss(z, y, reduction="none").sum(-1)),
    Loss("poisson", "exp", _half_poisson_deviance, noise="mean"),
    Loss("gaussian", "gaussian", _gaussian, n_heads=2),
    Loss("quantile", "identity", partial(_pinball, quantile=0.5)),
]
LOSSES = {loss.name: loss for loss in _ALL}


def pinball(quantile):
    """The loss of a quantile."""
    rows = partial(_pinball, quantile=quantile)
    return replace(LOSSES["quantile"], rows=rows, quantile=quantile)


def _softmax(z):
    """Softmax over the last axis; for many rows of few classes PyTorch's own takes far longer."""
    if z.shape[-1] > _FEW_CLASSES or z.numel() < _FEW_NUMBERS:
        return torch.softmax(z, -1)
    masses = (z - z.amax(-1, keepdim=True)).exp_()
    return masses / masses.cumsum(-1)[..., -1:]  # the sum over few takes longer


OUT_ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": torch.sigmoid,
    "softmax": _softmax,
    "exp": torch.exp,
    "gaussian": lambda z: z[..., : z.shape[-1] // 2],
}
