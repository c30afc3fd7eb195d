"""Where a perceptron drops: on its inputs, on groups of its inputs, and in its hidden layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(slots=True)
class StepMasks:
    """Masks of one training step.

    Attributes
    ----------
    layers : sequence of int16 tensors of shape (n_networks, n_rows, n_units), or None for each
        Zeros and ones for the input of each layer: the inputs, then the hidden units.
    scales : list of Scale
        What is kept is multiplied by, for each of `layers`.
    """

    layers: Sequence
    scales: list

    def first(self, n_rows):
        """The masks of the first rows, for a smaller batch."""
        return StepMasks(
            [None if mask is None else mask[:, :n_rows] for mask in self.layers], self.scales
        )


class Scale:
    """Inverse of the kept fraction in one place of each network.

    Attributes
    ----------
    vector : tensor of shape (n_networks, 1, 1)
    number : float
        Of the first network, for stacks of one.
    """

    def __init__(self, values, dtype, device):
        self.vector = torch.from_numpy(values).to(device, dtype)[:, None, None]
        self.number = float(values[0])


class MLPDropout:
    """The dropout of a stack of perceptrons.

    Parameters
    ----------
    elements, groups, hidden : MaskSource
        Masks of single inputs, of groups of inputs (`group_of_column` says which), and of hidden
        layers.
    group_of_column : int64 tensor of shape (n_features,)
    dtype : torch dtype, default=torch.float32
        Of the networks.
    """

    def __init__(self, elements, groups, hidden, group_of_column, dtype=torch.float32):
        self.elements = elements
        self.groups = groups
        self.hidden = hidden
        self.group_of_column = group_of_column
        scales = [elements.scales[0] * groups.scales[0], *hidden.scales]
        self.scales = [Scale(values, dtype, group_of_column.device) for values in scales]

    def draw(self, n_steps):
        """Masks of the next steps.

        Returns
        -------
        masks : list of StepMasks, length n_steps
        """
        nothing = [None] * n_steps
        layers = [nothing if m is None else m.unbind(0) for m in self.draw_layers(n_steps)]
        return [StepMasks(step, self.scales) for step in zip(*layers)]

    def draw_layers(self, n_steps):
        """Masks of the next steps, layer by layer.

        Returns
        -------
        layers : list of int16 tensors of shape (n_steps, n_networks, n_rows, n_units), or None
            Zeros and ones for the input of each layer.
        """
        return [self._draw_inputs(n_steps), *self.hidden.draw(n_steps)]

    def _draw_inputs(self, n_steps):
        (elements,) = self.elements.draw(n_steps)
        (groups,) = self.groups.draw(n_steps)
        if groups is None:
            return elements
        groups = groups.index_select(3, self.group_of_column)
        return groups if elements is None else elements.mul_(groups)
