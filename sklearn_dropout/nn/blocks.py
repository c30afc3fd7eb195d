"""DropBlock: dropout of contiguous parts of feature maps."""

from math import prod

from torch import nn

from ..dropout.levels import LEVELS, dropped_levels
from .layers import Dropout

_DOC = """

    Neighbouring positions carry the same information, so dropping single ones takes little away,
    and dropping a feature map takes all of it. Blocks lie between the two.

    Parameters
    ----------
    rate : float, default=0.5
        Fraction of the positions to be dropped, in [0, 1). Blocks overlap, so that somewhat fewer
        are.
    block_size : int, default=7
        Positions along each side of a block; at most those that a map has.
    generator : torch.Generator, default=None
        Source of randomness, on the device of the inputs; ``None`` is PyTorch's global one.

    Notes
    -----
    Inputs and outputs have shape {shape}. The corners of blocks are drawn where a block fits into
    the map, for each map on its own. What is kept is multiplied by the number of positions over the
    number of those that are kept, in all maps of the batch. In evaluation mode nothing happens.

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


class _DropBlock(Dropout):
    """Drops contiguous blocks of maps of one rank."""

    _rank: int
    _shape: str

    def __init_subclass__(cls):
        super().__init_subclass__()
        if cls.__doc__ is not None:  # python -OO
            n = cls._rank - 2
            sides = ", ".join(["9"] * n)
            cls.__doc__ += _DOC.format(n=n, shape=cls._shape, sides=sides)

    def __init__(self, rate=0.5, block_size=7, generator=None):
        super().__init__(rate, generator)
        if not block_size >= 1:
            raise ValueError(f"block_size={block_size!r} must be at least 1.")
        self.block_size = block_size

    def extra_repr(self):
        """Arguments shown in the representation."""
        return f"{super().extra_repr()}, block_size={self.block_size}"

    def forward(self, x):
        """Drop blocks of feature maps; those of each sample on their own."""
        if x.dim() != self._rank:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: {type(self).__name__} takes {self._rank} axes, "
                f"{self._shape}. Use DropBlock1d, 2d or 3d by the kinds of positions."
            )
        return super().forward(x)

    def _noise(self, shape, like):
        sizes = shape[2:]
        block = [min(self.block_size, size) for size in sizes]
        corners = [size - side + 1 for size, side in zip(sizes, block)]
        # So many corners that blocks which never overlapped would cover `rate` of the positions.
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


def block_dropout(rate, block_size, n_positions):
    """The layer for maps with so many axes of positions."""
    return {1: DropBlock1d, 2: DropBlock2d, 3: DropBlock3d}[n_positions](rate, block_size)
