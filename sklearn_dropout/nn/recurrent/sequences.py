"""Shapes of a recurrent network and of its sequences."""

from dataclasses import dataclass

import torch

from .cells import CELLS


@dataclass(frozen=True)
class Architecture:
    """Shapes of a recurrent network.

    Attributes
    ----------
    cell : {"lstm", "gru", "rnn"}
    hidden : tuple of int
        Units of each recurrent layer and direction.
    n_channels : int
        Numbers in each step; with `n_tokens` the length of a token's vector.
    n_outputs : int
    bidirectional : bool
    activation : str
        Of ``cell="rnn"``.
    n_tokens : int, default=None
        Number of different tokens, if the inputs are tokens.
    mask_zero : bool
        Whether token 0 is padding.
    mask_value : float, default=None
        Value of all channels of padded steps, if the inputs are numbers.
    """

    cell: str
    hidden: tuple
    n_channels: int
    n_outputs: int
    bidirectional: bool = False
    activation: str = "tanh"
    n_tokens: int | None = None
    mask_zero: bool = True
    mask_value: float | None = None

    @property
    def n_directions(self):
        """2 if a second direction reads the sequences backwards, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def widths(self):
        """Number of inputs of each layer and of the output layer."""
        return (self.n_channels, *(self.n_directions * n for n in self.hidden))

    @property
    def weight_shapes(self):
        """Shapes of weights: embedding, two of each layer and direction, output layer."""
        n_gates, shapes = self._cell.n_gates, []
        if self.n_tokens is not None:
            shapes.append((self.n_tokens, self.n_channels))
        for n_in, n_units in zip(self.widths, self.hidden):
            shapes += [(n_gates * n_units, n_in), (n_gates * n_units, n_units)] * self.n_directions
        return [*shapes, (self.widths[-1], self.n_outputs)]

    @property
    def bias_shapes(self):
        """Shapes of biases: each layer and direction, output layer."""
        shapes = []
        for n_units in self.hidden:
            shapes += [(self._cell.n_bias_blocks * n_units,)] * self.n_directions
        return [*shapes, (self.n_outputs,)]

    @property
    def _cell(self):
        return CELLS[self.cell]

    def split(self, weights, biases):
        """Group parameters by layer.

        Returns
        -------
        embedding : tensor or None
        layers : list of lists of tuples (weight_ih, weight_hh, bias), one for each direction
        output : tuple (weight, bias)
        """
        weights = list(weights)
        embedding = None if self.n_tokens is None else weights.pop(0)
        *weights, out_weight = weights
        *biases, out_bias = biases
        cells = list(zip(weights[::2], weights[1::2], biases))
        n = self.n_directions
        layers = [cells[start : start + n] for start in range(0, len(cells), n)]
        return embedding, layers, (out_weight, out_bias)


def reverse(x, lengths):
    """Reverse the steps of each sequence; padding stays at the end.

    Parameters
    ----------
    x : tensor of shape (n_steps, n_rows, n)
    lengths : int64 tensor of shape (n_rows,), or None
        Steps of each sequence, if there is padding.
    """
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    source = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.gather(0, source.unsqueeze(-1).expand(-1, -1, x.shape[2]))


def final_states(hidden, lengths):
    """Last state of each direction; zeros for a sequence without any step.

    Parameters
    ----------
    hidden : tensor of shape (n_steps, n_directions, n_rows, n_units)
    lengths : int64 tensor of shape (n_rows,), or None

    Returns
    -------
    last : tensor of shape (n_directions, n_rows, n_units)
    """
    if lengths is None:
        return hidden[-1]
    where = (lengths - 1).clamp(min=0)[:, None].expand(1, hidden.shape[1], -1, hidden.shape[3])
    return hidden.gather(0, where)[0].masked_fill((lengths == 0)[:, None], 0.0)


def spread_final(d, n_steps, lengths):
    """Gradient of `final_states`: from its derivative to those of the steps.

    Returns
    -------
    d_hidden : list of tensors like `d`, or None for zeros, of length `n_steps`
    """
    steps = [None] * n_steps
    if lengths is None:
        steps[-1] = d
        return steps
    for length in lengths.unique().tolist():
        if length:
            steps[length - 1] = d * (lengths == length).unsqueeze(-1)
    return steps
