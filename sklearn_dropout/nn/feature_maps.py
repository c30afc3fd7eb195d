"""Dropout of feature maps: maps in full, or contiguous blocks of them."""

from math import prod

from torch import nn

from ..dropout.levels import LEVELS, dropped_levels
from .layers import Dropout, DropoutLayer


class _MapDropout:
    """A dropout layer for feature maps with one number of axes.

    Attributes
    ----------
    _rank : int
        Axes of the inputs.
    _shape : str
        Of the inputs, as the documentation has it.
    _doc : str
        What follows the first line of the docstring of each layer.
    _example_side : str
        Positions along each side of the map in the example.
    """

    _rank: int
    _shape: str
    _doc: str
    _example_side: str

    def __init_subclass__(cls):
        super().__init_subclass__()
        if "_rank" in vars(cls) and cls.__doc__ is not None:  # no docstrings under python -OO
            n = cls._rank - 2
            sides = ", ".join([cls._example_side] * n)
            cls.__doc__ += cls._doc.format(n=n, shape=cls._shape, sides=sides)

    def _check(self, x):
        """Refuse inputs with another number of axes."""
        if x.dim() != self._rank:
            name = type(self).__name__
            raise ValueError(
                f"x has shape {tuple(x.shape)}: {name} takes {self._rank} axes, {self._shape}. "
                f"Use {name[:-2]}1d for signals, 2d for images or 3d for volumes."
            )


_SPATIAL_DOC = """

    Neighbouring positions carry the same information, so dropping one of them alone removes little.
    Unlike ``torch.nn.Dropout{n}d``, the layer refuses tensors of any other rank, so it cannot take
    another axis for the channels.

    Parameters
    ----------
    rate : float, default=0.5
        Fraction of the feature maps dropped, in [0, 1).
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    Notes
    -----
    Inputs and outputs have shape {shape}.
    In training mode the kept maps are multiplied by the inverse of the fraction kept; in evaluation
    mode the layer is the identity.

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


class _SpatialDropout(_MapDropout, DropoutLayer):
    """Drops feature maps in full."""

    _doc = _SPATIAL_DOC
    _example_side = "5"

    def forward(self, x):
        """Drop feature maps of each sample."""
        self._check(x)
        if not self.active:
            return x
        mask = self._mask(x.shape[:2], x)
        return x * mask.view(*mask.shape, *[1] * (x.dim() - 2))


class SpatialDropout1d(_SpatialDropout):
    """Drops feature maps of signals: all positions of a channel, or none."""

    _rank = 3
    _shape = "(n_samples, n_channels, length)"


class SpatialDropout2d(_SpatialDropout):
    """Drops feature maps of images: all positions of a channel, or none."""

    _rank = 4
    _shape = "(n_samples, n_channels, height, width)"


class SpatialDropout3d(_SpatialDropout):
    """Drops feature maps of volumes: all positions of a channel, or none."""

    _rank = 5
    _shape = "(n_samples, n_channels, depth, height, width)"


_BLOCK_DOC = """

    Neighbouring positions carry the same information, so dropping single positions removes little,
    and dropping a feature map removes all of it. Blocks are between the two.

    Parameters
    ----------
    rate : float, default=0.5
        Fraction of the positions to drop, in [0, 1). Blocks may overlap, so the fraction dropped is
        somewhat smaller.
    block_size : int, default=7
        Positions along each side of a block; at most the side of the map.
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    Notes
    -----
    Inputs and outputs have shape {shape}. Corners are drawn for each map independently, among the
    positions at which a block fits into the map. Kept values are multiplied by the number of
    positions over the number of kept ones, in all maps of the batch. In evaluation mode the layer
    is the identity.

    References
    ----------
    Ghiasi, G., Lin, T.-Y., Le, Q. V. (2018). "DropBlock: A regularization method for convolutional
    networks." NeurIPS 31, algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_dropout.nn import DropBlock{n}d
    >>> layer = DropBlock{n}d(0.2, 3, generator=torch.Generator().manual_seed(0))
    >>> x = layer(torch.ones(8, 16, {sides}))
    >>> round(float(x.mean()), 3)
    1.0
    """


class _DropBlock(_MapDropout, Dropout):
    """Drops contiguous blocks of feature maps."""

    _doc = _BLOCK_DOC
    _example_side = "9"

    def __init__(self, rate=0.5, block_size=7, generator=None):
        super().__init__(rate, generator)
        if not block_size >= 1:
            raise ValueError(f"block_size={block_size!r} must be at least 1.")
        self.block_size = block_size

    def extra_repr(self):
        """Arguments shown in the representation."""
        return f"{super().extra_repr()}, block_size={self.block_size}"

    def forward(self, x):
        """Drop blocks of the feature maps of each sample."""
        self._check(x)
        return super().forward(x)

    def _noise(self, shape, like):
        sizes = shape[2:]
        block = [min(self.block_size, size) for size in sizes]
        corners = [size - side + 1 for size, side in zip(sizes, block)]
        # Blocks without overlap would cover the fraction `rate` of the positions.
        share = min(1.0, self.rate * prod(sizes) / (prod(block) * prod(corners)))
        lanes = self._lanes(shape, like)[(..., *(slice(n) for n in corners))]
        drawn = (lanes < int(dropped_levels(share)) - LEVELS // 2).to(like.dtype)
        margins = [side - 1 for size in reversed(block) for side in (size, size)]
        spread = getattr(nn.functional, f"max_pool{len(sizes)}d")
        kept = 1 - spread(nn.functional.pad(drawn, margins), block, stride=1)
        return kept.mul_(kept.numel() / kept.sum().clamp_min(1)), None


class DropBlock1d(_DropBlock):
    """Drops segments of signals: neighbouring positions of a channel."""

    _rank = 3
    _shape = "(n_samples, n_channels, length)"


class DropBlock2d(_DropBlock):
    """Drops squares of images: neighbouring positions of a channel."""

    _rank = 4
    _shape = "(n_samples, n_channels, height, width)"


class DropBlock3d(_DropBlock):
    """Drops cubes of volumes: neighbouring positions of a channel."""

    _rank = 5
    _shape = "(n_samples, n_channels, depth, height, width)"
