"""Shapes in the blocks of a convolutional network."""

from dataclasses import dataclass
from functools import cached_property
from math import prod


def looks_channels_last(shape):
    """Whether the last number of (channels, *positions) looks like the number of channels."""
    return shape[-1] in (1, 3, 4) and shape[0] > shape[-1]


@dataclass(frozen=True)
class ConvLayout:
    """Blocks of convolutions, each ended by max pooling.

    Parameters
    ----------
    input_shape : tuple (channels, *positions)
        Of one sample, with one, two or three axes of positions.
    filters : tuple of int
        Feature maps of each block.
    convs_per_block : int
    kernel_size, pool_size : tuples of int
        One number for each axis of positions.
    padding : {"same", "valid"}
        Whether convolutions pad samples with zeros to keep the number of positions.

    Raises
    ------
    ValueError
        If a block leaves nothing of its input.
    """

    input_shape: tuple
    filters: tuple
    convs_per_block: int
    kernel_size: tuple
    pool_size: tuple
    padding: str

    def __post_init__(self):
        _ = self.output_shapes  # refuses samples that are too small

    @cached_property
    def output_shapes(self):
        """Shape (n_filters, *positions) that each block leaves."""
        positions, shapes = self.input_shape[1:], []
        for block, n_filters in enumerate(self.filters):
            positions = self._pooled(self._convolved(positions, block), block)
            shapes.append((n_filters, *positions))
        return shapes

    def _convolved(self, positions, block):
        """Positions after all convolutions of a block."""
        if self.padding == "same":
            return positions
        for _ in range(self.convs_per_block):
            positions = tuple(p - k + 1 for p, k in zip(positions, self.kernel_size))
            if min(positions) < 1:
                self._refuse(f"kernel_size={self.kernel_size} with padding='valid'", block)
        return positions

    def _pooled(self, positions, block):
        pooled = tuple(p // size for p, size in zip(positions, self.pool_size))
        if min(pooled) < 1:
            self._refuse(f"pool_size={self.pool_size}", block)
        return pooled

    def _refuse(self, what, block):
        n_features = prod(self.input_shape)
        elsewhere = ""
        if len(self.input_shape) > 2 and looks_channels_last(self.input_shape):
            elsewhere = (
                f" If these are images with the channels last, of which there are "
                f"{self.input_shape[-1]}, pass data_format='channels_last', and input_shape, if "
                "any, with the channels first."
            )
        raise ValueError(
            f"Samples of shape {self.input_shape} (n_features = {n_features}) are too small: "
            f"{what} leaves nothing of them in block {block + 1} of {len(self.filters)}. Use fewer "
            "conv_layer_sizes, a smaller kernel_size or pool_size (1 pools nothing), or "
            f"padding='same'.{elsewhere}"
        )

    @property
    def conv_shapes(self):
        """Weight shape (n_out, n_in, *kernel) of each convolution, block after block."""
        shapes, n_in = [], self.input_shape[0]
        for n_filters in self.filters:
            for _ in range(self.convs_per_block):
                shapes.append((n_filters, n_in, *self.kernel_size))
                n_in = n_filters
        return shapes

    @property
    def n_outputs(self):
        """Values that the last block leaves of one sample."""
        return prod(self.output_shapes[-1])

    @property
    def n_multiplications(self):
        """Of one sample, in all convolutions."""
        weights = iter(self.conv_shapes)
        below, total = self.input_shape[1:], 0
        for shape in self.output_shapes:
            for _ in range(self.convs_per_block):
                total += prod(next(weights)) * prod(below)  # an upper bound for padding="valid"
            below = shape[1:]
        return total

    @property
    def widest(self):
        """Largest number of values of one sample in any layer, before pooling."""
        below, widest = self.input_shape[1:], prod(self.input_shape)
        for shape in self.output_shapes:
            widest = max(widest, shape[0] * prod(below))
            below = shape[1:]
        return widest
