"""Dropout layers for any PyTorch model."""

import torch
from torch import nn

from ._masks import LEVELS, dropped_levels, inverse_kept_fraction, random_lanes
from ._rnn_dropout import first_occurrences


class _Dropout(nn.Module):
    """A layer that multiplies by a mask in training mode and does nothing in evaluation mode.

    Parameters
    ----------
    rate : float, default=0.5
        Fraction dropped, in [0, 1).
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.
    """

    def __init__(self, rate=0.5, generator=None):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(
                f"rate={rate!r} is outside [0, 1). A rate is the fraction of units dropped; "
                "where a paper gives the fraction p that is retained, pass 1 - p."
            )
        self.rate = rate
        self.generator = generator

    def extra_repr(self):
        return f"rate={self.rate}"

    def _mask(self, shape, like):
        """0 where dropped, 1 / (1 - rate) where kept: a tensor of `shape`."""
        n_lanes = torch.Size(shape).numel()
        lanes = random_lanes(n_lanes, self.generator, like.device)[:n_lanes]
        lanes.ge_(int(dropped_levels(self.rate)) - LEVELS // 2)
        mask = lanes.to(like.dtype).mul_(float(inverse_kept_fraction(self.rate)))
        return mask.view(shape)


class Dropout(_Dropout):
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
        if not self.training or self.rate == 0:
            return x
        return x * self._mask(x.shape, x)


class FeatureGroupDropout(_Dropout):
    """Drops whole groups of columns: all the columns that one variable became.

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
        if not self.training or self.rate == 0:
            return x
        return x * self._mask((*x.shape[:-1], self.n_groups), x)[..., self.groups]


_SPATIAL_DOC = """

    Neighbouring positions carry the same information, so dropping one of them alone takes little
    away. Unlike ``torch.nn.Dropout{n}d``, the layer refuses tensors of any other rank, and so never
    takes another axis for the channels.

    Parameters
    ----------
    rate : float, default=0.5
        Fraction of the feature maps dropped, in [0, 1).
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    Notes
    -----
    Inputs and outputs have shape {shape}.
    In training mode the maps that are kept are multiplied by the inverse of the fraction kept; in
    evaluation mode nothing happens.

    References
    ----------
    Tompson, J. et al. (2015). "Efficient object localization using convolutional networks." CVPR,
    section 3.2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_dropout.nn import SpatialDropout{n}d
    >>> layer = SpatialDropout{n}d(0.5, generator=torch.Generator().manual_seed(0))
    >>> x = layer(torch.ones(4, 8, {sides}))
    >>> maps = x.flatten(2)
    >>> bool((maps == maps[:, :, :1]).all()), maps.unique().tolist()
    (True, [0.0, 2.0])
    """


class _SpatialDropout(_Dropout):
    """A layer that drops whole feature maps of tensors of one rank."""

    _rank: int
    _shape: str

    def __init_subclass__(cls):
        super().__init_subclass__()
        if cls.__doc__ is not None:  # python -OO
            n = cls._rank - 2
            sides = ", ".join(["5"] * n)
            cls.__doc__ += _SPATIAL_DOC.format(n=n, shape=cls._shape, sides=sides)

    def forward(self, x):
        """Drop feature maps; those of each sample on their own."""
        if x.dim() != self._rank:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: {type(self).__name__} takes {self._rank} axes, "
                f"{self._shape}. Use SpatialDropout1d, 2d or 3d by the kinds of positions."
            )
        if not self.training or self.rate == 0:
            return x
        n_rows, n_channels = x.shape[:2]
        mask = self._mask((n_rows, n_channels), x)
        return x * mask.view(n_rows, n_channels, *[1] * (self._rank - 2))


class SpatialDropout1d(_SpatialDropout):
    """Drops whole feature maps of signals: all positions of a channel, or none."""

    _rank = 3
    _shape = "(n_samples, n_channels, length)"


class SpatialDropout2d(_SpatialDropout):
    """Drops whole feature maps of images: all positions of a channel, or none."""

    _rank = 4
    _shape = "(n_samples, n_channels, height, width)"


class SpatialDropout3d(_SpatialDropout):
    """Drops whole feature maps of volumes: all positions of a channel, or none."""

    _rank = 5
    _shape = "(n_samples, n_channels, depth, height, width)"


class VariationalDropout(_Dropout):
    """Drops whole channels of sequences: one mask for all steps of a sequence.

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
        if not self.training or self.rate == 0:
            return x
        return x * self._mask((x.shape[0], 1, x.shape[2]), x)


class EmbeddingDropout(_Dropout):
    """Drops word types: in each sequence a token wherever it occurs, or nowhere.

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

    def forward(self, embedded, tokens):
        """Drop vectors of words.

        Parameters
        ----------
        embedded : tensor of shape (n_samples, n_steps, n_channels)
        tokens : int64 tensor of shape (n_samples, n_steps)
        """
        if not self.training or self.rate == 0:
            return embedded
        mask = self._mask(tokens.shape, embedded)
        return embedded * mask.gather(1, first_occurrences(tokens.t()).t()).unsqueeze(-1)


class Exp(nn.Module):
    """The exponential function, as the last layer of a Poisson regression."""

    def forward(self, x):
        """Exponential of a tensor of any shape."""
        return torch.exp(x)
