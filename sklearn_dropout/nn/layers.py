"""Dropout layers for any PyTorch model, and output functions as layers."""

from numbers import Real

import torch
from torch import nn

from ..dropout.kinds import KINDS
from ..dropout.levels import dropped_levels
from ..dropout.masks import random_lanes


class DropoutLayer(nn.Module):
    """A layer that multiplies by a mask in training mode and does nothing in evaluation mode.

    Parameters
    ----------
    rate : float, default=0.5
        Fraction dropped, in [0, 1).
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    Attributes
    ----------
    source : MaskSource or None
        Source of the masks of a training run, instead of `generator`. Copies of the layer do not
        have it.
    site : int
        Of the source.
    kind : key of KINDS
        Of the noise.
    """

    kind = "bernoulli"

    def __init__(self, rate=0.5, generator=None):
        super().__init__()
        self.rate = rate
        self.generator = generator
        self.tie(None)

    def tie(self, source, site=0):
        """Take masks from one site of a source."""
        self.source, self.site = source, site

    @property
    def rate(self):
        """Fraction dropped, in [0, 1)."""
        return self._rate

    @rate.setter
    def rate(self, rate):
        if not isinstance(rate, Real):
            raise TypeError(f"rate={rate!r} must be a number in [0, 1).")
        if not 0 <= rate < 1:
            raise ValueError(
                f"rate={rate!r} is outside [0, 1). A rate is the fraction of units dropped; "
                "where a paper gives the fraction p that is retained, pass 1 - p."
            )
        self._rate = rate
        self._drops = bool(dropped_levels(rate))

    @property
    def p(self):
        """The same as `rate`, under the name that PyTorch's layers use."""
        return self.rate

    @p.setter
    def p(self, rate):
        self.rate = rate

    @property
    def active(self):
        """Whether the layer is in training mode with a rate above zero."""
        return self.training and self._drops

    def __getstate__(self):
        return self.__dict__ | {"source": None}

    def extra_repr(self):
        """Arguments shown in the representation."""
        return f"rate={self.rate}" + f", kind={self.kind!r}" * ("kind" in self.__dict__)

    def of_kind(self, kind):
        """Set the kind of noise, and return the layer."""
        if kind != self.kind:
            self.kind = kind
        return self

    def _perturb(self, x, shape):
        """Apply noise of a shape that is broadcast to that of `x`."""
        multiplier, addend = self._noise(shape, x)
        return x * multiplier if addend is None else torch.addcmul(addend, x, multiplier)

    def _mask(self, shape, like):
        """Factors: for masks, 0 if dropped and 1 / (1 - rate) if kept."""
        return self._noise(shape, like)[0]

    def _noise(self, shape, like):
        """Multiplier, a tensor of `shape`, and addend, a tensor of the same shape or None."""
        return KINDS[self.kind].noise(self._lanes(shape, like), self.rate, like.dtype)

    def _lanes(self, shape, like):
        """Random numbers: int16 tensor of `shape`."""
        if self.source is None:
            n_lanes = torch.Size(shape).numel()
            return random_lanes(n_lanes, self.generator, like.device)[:n_lanes].view(shape)
        return self._arrange(self.source.lanes(self.site)[: shape[0]], shape)

    def _arrange(self, lanes, shape):
        """Arrange lanes of the source, (n_rows, width), for a tensor of `shape`.

        A single row of lanes serves all rows.
        """
        return lanes.view(len(lanes), *shape[1:])


class Dropout(DropoutLayer, nn.Dropout):
    """Drops single elements, several times faster on a CPU than ``torch.nn.Dropout``.

    Parameters
    ----------
    rate : float, default=0.5
        Fraction dropped, in [0, 1).
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    References
    ----------
    Srivastava, N. et al. (2014). "Dropout: A simple way to prevent neural networks from
    overfitting." JMLR 15, section 4.

    Examples
    --------
    >>> import torch
    >>> from sklearn_dropout.nn import Dropout
    >>> layer = Dropout(0.5, generator=torch.Generator().manual_seed(0))
    >>> sorted(set(layer(torch.ones(4, 8)).flatten().tolist()))
    [0.0, 2.0]
    >>> bool((layer.eval()(torch.ones(4, 8)) == 1).all())
    True
    """

    def forward(self, x):
        """Drop elements of a tensor of any shape."""
        if not self.active:
            return x
        return self._perturb(x, x.shape)

    def _arrange(self, lanes, shape):
        """The stream has the channels of images last; it may have more steps than the sequences."""
        if len(shape) > 3:
            return lanes.view(len(lanes), *shape[2:], shape[1]).movedim(-1, 1)
        if len(shape) == 3:
            return lanes.view(len(lanes), -1, shape[2])[:, : shape[1]]
        return lanes.view(len(lanes), *shape[1:])


class FeatureGroupDropout(DropoutLayer):
    """Drops groups of columns together, such as the one-hot columns of a variable.

    Parameters
    ----------
    rate : float
        Fraction of the groups dropped, in [0, 1).
    groups : array-like of shape (n_features,)
        Group of each column, numbered from 0.
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    References
    ----------
    The groups take the place of the feature maps of Tompson, J. et al. (2015). "Efficient object
    localization using convolutional networks." CVPR, section 3.2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_dropout.nn import FeatureGroupDropout
    >>> layer = FeatureGroupDropout(0.5, [0, 0, 1, 1], generator=torch.Generator().manual_seed(1))
    >>> x = layer(torch.ones(100, 4))
    >>> bool((x[:, 0] == x[:, 1]).all() and (x[:, 2] == x[:, 3]).all())
    True
    """

    def __init__(self, rate, groups, generator=None):
        super().__init__(rate, generator)
        groups = torch.as_tensor(groups)
        if groups.dim() != 1 or groups.is_floating_point() or bool((groups < 0).any()):
            raise ValueError(
                f"groups={groups.tolist()!r} must be one whole number >= 0 for each column."
            )
        self.n_groups = int(groups.max()) + 1
        self.register_buffer("groups", groups.to(torch.int64))

    def forward(self, x):
        """Drop groups of the columns of a tensor of shape (..., n_features)."""
        if x.shape[-1] != len(self.groups):
            raise ValueError(
                f"x has {x.shape[-1]} columns, but groups has {len(self.groups)} labels. "
                "Give one label for each column."
            )
        if not self.active:
            return x
        return x * self._mask((*x.shape[:-1], self.n_groups), x)[..., self.groups]


class VariationalDropout(DropoutLayer):
    """Drops channels of sequences, with one mask for all steps of a sequence.

    Parameters
    ----------
    rate : float, default=0.5
        Fraction of the channels dropped, in [0, 1).
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    References
    ----------
    Gal, Y., Ghahramani, Z. (2016). "A theoretically grounded application of dropout in recurrent
    neural networks." NIPS, section 4: the masks of inputs and outputs.

    Examples
    --------
    >>> import torch
    >>> from sklearn_dropout.nn import VariationalDropout
    >>> layer = VariationalDropout(0.5, generator=torch.Generator().manual_seed(0))
    >>> x = layer(torch.ones(4, 10, 3))
    >>> bool((x == x[:, :1]).all())
    True
    """

    def forward(self, x):
        """Drop channels of a tensor of shape (n_samples, n_steps, n_channels)."""
        if x.dim() != 3:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but sequences have the shape "
                "(n_samples, n_steps, n_channels)."
            )
        if not self.active:
            return x
        return self._perturb(x, (x.shape[0], 1, x.shape[2]))


class EmbeddingDropout(DropoutLayer):
    """Drops word types: in each sequence all occurrences of a token, or none.

    Parameters
    ----------
    rate : float, default=0.5
        Fraction of the word types dropped, in [0, 1).
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    References
    ----------
    Gal & Ghahramani 2016, section 4.2.
    """

    by_type = False

    def forward(self, embedded, tokens):
        """Drop vectors of words.

        Parameters
        ----------
        embedded : tensor of shape (n_samples, n_steps, n_channels)
        tokens : int64 tensor of shape (n_samples, n_steps)
        """
        if not self.active:
            return embedded
        mask = self._mask(tokens.shape, embedded)
        positions = tokens if self.by_type else first_occurrences(tokens)
        return embedded * mask.gather(1, positions).unsqueeze(-1)

    def _arrange(self, lanes, shape):
        return lanes  # may have more steps than the sequences


def first_occurrences(tokens):
    """The first step at which the token of each step occurs.

    Parameters
    ----------
    tokens : int64 tensor of shape (n_samples, n_steps)

    Returns
    -------
    first : int64 tensor of shape (n_samples, n_steps)
    """
    values, order = tokens.sort(dim=1, stable=True)
    is_first = torch.ones_like(values, dtype=torch.bool)
    is_first[:, 1:] = values[:, 1:] != values[:, :-1]
    positions = torch.arange(tokens.shape[1], device=tokens.device)
    start = torch.where(is_first, positions, 0).cummax(1).values
    return torch.empty_like(order).scatter_(1, order, order.gather(1, start))


class Mean(nn.Module):
    """The means of a network whose outputs are means and logarithms of variances."""

    def forward(self, x):
        """First half of the last axis."""
        return x[..., : x.shape[-1] // 2]


class Exp(nn.Module):
    """The exponential function, as the last layer of a Poisson regression."""

    def forward(self, x):
        """Exponential of a tensor of any shape."""
        return torch.exp(x)
