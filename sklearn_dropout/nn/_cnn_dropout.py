"""Where a convolutional network drops: inputs, feature maps, what pooling leaves, dense units."""

from dataclasses import dataclass

import numpy as np
import torch

from ._conv import as_image
from ._mlp_dropout import Scale, StepMasks


@dataclass(slots=True)
class CNNStepMasks:
    """Masks of one training step, int16 tensors of zeros and ones.

    Attributes
    ----------
    inputs : tensor of shape (n_rows, channels, *positions), or None
    maps : list of tensors of shape (n_rows, n_filters, 1, 1[, 1]), or None for each block
    elements : list of tensors of shape (n_rows, n_filters, *positions), or None for each block
    scales : list of float
        What is kept of the inputs and after each block is multiplied by.
    dense : StepMasks
        Of the dense layers, whose input is dropped by the last block.
    """

    inputs: torch.Tensor | None
    maps: list
    elements: list
    scales: list
    dense: StepMasks

    def first(self, n_rows):
        """The masks of the first rows, for a smaller batch."""

        def cut(mask):
            return None if mask is None else mask[:n_rows]

        return CNNStepMasks(
            cut(self.inputs),
            list(map(cut, self.maps)),
            list(map(cut, self.elements)),
            self.scales,
            self.dense.first(n_rows),
        )

    def drop_inputs(self, x):
        """Zero the inputs that are dropped, in place."""
        if self.inputs is not None:
            x.mul_(self.inputs)

    def drop_maps(self, h, block):
        """Zero what is dropped after a block, in place."""
        if self.maps[block] is not None:
            h.mul_(self.maps[block])
        if self.elements[block] is not None:
            h.mul_(self.elements[block])

    def factors(self, dtype):
        """What each place is multiplied by: inputs, blocks, hidden dense layers.

        Returns
        -------
        factors : list of tensors of `dtype`, or None where nothing is dropped
        """
        blocks = [
            _product([mask for mask in pair if mask is not None], dtype)
            for pair in zip(self.maps, self.elements)
        ]
        masks = [None if self.inputs is None else self.inputs.to(dtype), *blocks]
        masks += [None if mask is None else mask[0].to(dtype) for mask in self.dense.layers[1:]]
        scales = [*self.scales, *(scale.number for scale in self.dense.scales[1:])]
        return [None if mask is None else mask * scale for mask, scale in zip(masks, scales)]


def _product(masks, dtype):
    """One mask of several; None of none."""
    if not masks:
        return None
    product = masks[0].to(dtype)
    for mask in masks[1:]:
        product = product * mask
    return product


class CNNDropout:
    """The dropout of a convolutional network.

    Parameters
    ----------
    inputs, maps, elements, hidden : MaskSource
        Masks of single inputs, of the feature maps of each block (its `SpatialDropout`), of single
        elements of what each block leaves, and of hidden dense units.
    layout : ConvLayout
    dtype, device
        Of the network.
    """

    def __init__(self, inputs, maps, elements, hidden, layout, dtype=torch.float32, device="cpu"):
        self.inputs = inputs
        self.maps = maps
        self.elements = elements
        self.hidden = hidden
        after_blocks = (maps.scales * elements.scales)[:, 0]
        self.scales = [float(inputs.scales[0, 0]), *map(float, after_blocks)]
        dense = [np.ones(1), *hidden.scales]
        self._dense_scales = [Scale(values, dtype, device) for values in dense]
        self._input_shape = _with_height(layout.input_shape)
        self._output_shapes = [_with_height(shape) for shape in layout.output_shapes]

    def draw(self, n_steps):
        """Masks of the next steps.

        Returns
        -------
        masks : list of CNNStepMasks, length n_steps
        """
        (inputs,) = self.inputs.draw(n_steps)
        inputs = _places(inputs, self._input_shape)
        maps = [
            _places(mask, (shape[0], *[1] * (len(shape) - 1)))
            for mask, shape in zip(self.maps.draw(n_steps), self._output_shapes)
        ]
        elements = [
            _places(mask, shape)
            for mask, shape in zip(self.elements.draw(n_steps), self._output_shapes)
        ]
        hidden = self.hidden.draw(n_steps)
        return [
            CNNStepMasks(
                _of_step(inputs, step),
                [_of_step(mask, step) for mask in maps],
                [_of_step(mask, step) for mask in elements],
                self.scales,
                StepMasks([None, *(_of_step(mask, step) for mask in hidden)], self._dense_scales),
            )
            for step in range(n_steps)
        ]


def _with_height(shape):
    return (shape[0], *as_image(shape[1:]))


def _of_step(masks, step):
    return None if masks is None else masks[step]


def _places(masks, shape):
    """Masks (n_steps, 1, n_rows, n_values) of places of a shape, in memory as the places are.

    Returns
    -------
    masks : tensor of shape (n_steps, n_rows, *shape), its channels innermost in memory
    """
    if masks is None:
        return None
    n_steps, _, n_rows, _ = masks.shape
    return masks.view(n_steps, n_rows, *shape[1:], shape[0]).movedim(-1, 2)
