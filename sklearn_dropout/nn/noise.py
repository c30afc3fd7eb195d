"""Layers of Gaussian and alpha dropout and of added noise, for any PyTorch model."""

import torch
from torch import nn

from ..dropout.kinds import normals
from ..dropout.masks import random_lanes
from .layers import Dropout


class GaussianDropout(Dropout):
    """Multiplies single elements by normal noise of mean 1.

    The standard deviation is ``sqrt(rate / (1 - rate))``, that of a mask which drops the fraction
    `rate`, so both regularise a linear layer equally. Keras' ``GaussianDropout`` defines its rate
    in the same way.

    Parameters
    ----------
    rate : float, default=0.5
        In [0, 1).
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    Notes
    -----
    Inputs and outputs are tensors of the same shape, which may be any. In evaluation mode the layer
    is the identity. Each number is one of 4,096 equally likely quantiles of the normal
    distribution, chosen by 12 bits of a 16-bit random integer.

    References
    ----------
    Srivastava, N. et al. (2014). "Dropout: A simple way to prevent neural networks from
    overfitting." JMLR 15, section 10.

    Examples
    --------
    >>> import torch
    >>> from sklearn_dropout.nn import GaussianDropout
    >>> layer = GaussianDropout(0.2, generator=torch.Generator().manual_seed(0))
    >>> x = layer(torch.ones(1000, 100))
    >>> round(float(x.mean()), 2), round(float(x.std()), 2)
    (1.0, 0.5)
    """

    kind = "gaussian"


class AlphaDropout(Dropout):
    """Drops single elements of SELU networks, and keeps their mean 0 and variance 1.

    Dropped elements are set to the value at which SELU saturates, rather than to zero; all elements
    are then scaled and shifted. Unlike ``torch.nn.AlphaDropout``, a seed gives the same masks on
    every platform.

    Parameters
    ----------
    rate : float, default=0.5
        Fraction dropped, in [0, 1). The authors use 0.05 and 0.1.
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    Notes
    -----
    Inputs and outputs are tensors of the same shape, which may be any. In evaluation mode the
    layer is the identity.

    References
    ----------
    Klambauer, G., Unterthiner, T., Mayr, A., Hochreiter, S. (2017). "Self-normalizing neural
    networks." NeurIPS 30.

    Examples
    --------
    >>> import torch
    >>> from sklearn_dropout.nn import AlphaDropout
    >>> generator = torch.Generator().manual_seed(0)
    >>> layer = AlphaDropout(0.1, generator=generator)
    >>> x = layer(torch.randn(1000, 100, generator=generator))
    >>> abs(round(float(x.mean()), 1)), round(float(x.std()), 1)
    (0.0, 1.0)
    """

    kind = "alpha"


class GaussianNoise(nn.Module):
    """Adds normal noise in training mode.

    Parameters
    ----------
    std : float
        Standard deviation, in the units of the inputs.
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    Notes
    -----
    Inputs and outputs are tensors of the same shape, which may be any. For the numbers see
    `GaussianDropout`.

    References
    ----------
    Bishop, C. M. (1995). "Training with noise is equivalent to Tikhonov regularization." Neural
    Computation 7, 108-116.

    Examples
    --------
    >>> import torch
    >>> from sklearn_dropout.nn import GaussianNoise
    >>> layer = GaussianNoise(0.1, generator=torch.Generator().manual_seed(0))
    >>> round(float(layer(torch.zeros(1000, 100)).std()), 2)
    0.1
    """

    def __init__(self, std, generator=None):
        super().__init__()
        if not std >= 0:
            raise ValueError(f"std={std!r} must not be negative: it is a standard deviation.")
        self.std = std
        self.generator = generator
        self.tie(None)

    def tie(self, source, site=0):
        """Take random numbers from one site of a source."""
        self.source, self.site = source, site

    @property
    def active(self):
        """Whether the layer is in training mode with a standard deviation above zero."""
        return self.training and self.std > 0

    def __getstate__(self):
        return self.__dict__ | {"source": None}

    def extra_repr(self):
        """Arguments shown in the representation."""
        return f"std={self.std}"

    def forward(self, x):
        """Add noise to a tensor of any shape."""
        if not self.active:
            return x
        if self.source is None:
            lanes = random_lanes(x.numel(), self.generator, x.device)[: x.numel()]
        else:
            lanes = self.source.lanes(self.site)[: x.shape[0]].reshape(x.shape[0], -1)
            lanes = lanes[:, : x[0].numel()]  # the stream may have more steps than the sequences
        return torch.add(x, normals(lanes, x.dtype).reshape(x.shape), alpha=float(self.std))
