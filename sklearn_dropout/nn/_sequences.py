"""Shapes of a recurrent network, and batches of the sequences that it reads."""

from dataclasses import dataclass

import torch

from ._cells import CELLS


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
        Tokens there are, where the inputs are tokens.
    mask_zero : bool
        Whether token 0 is no step of the sequence.
    """

    cell: str
    hidden: tuple
    n_channels: int
    n_outputs: int
    bidirectional: bool = False
    activation: str = "tanh"
    n_tokens: int | None = None
    mask_zero: bool = True

    @property
    def n_directions(self):
        """2 where a second direction reads the sequence from its end."""
        return 2 if self.bidirectional else 1

    @property
    def widths(self):
        """What enters each layer, and the output layer."""
        return (self.n_channels, *(self.n_directions * n for n in self.hidden))

    @property
    def weight_shapes(self):
        """Of the embedding, then each layer and direction's two, then the output layer."""
        n_gates, shapes = self._cell.n_gates, []
        if self.n_tokens is not None:
            shapes.append((self.n_tokens, self.n_channels))
        for n_in, n_units in zip(self.widths, self.hidden):
            shapes += [(n_gates * n_units, n_in), (n_gates * n_units, n_units)] * self.n_directions
        return [*shapes, (self.widths[-1], self.n_outputs)]

    @property
    def bias_shapes(self):
        """Of each layer and direction, then the output layer."""
        shapes = []
        for n_units in self.hidden:
            shapes += [(self._cell.n_bias_blocks * n_units,)] * self.n_directions
        return [*shapes, (self.n_outputs,)]

    @property
    def incoming_axes(self):
        """Axes for max-norm: kernels are bounded row by row, embedding and output layer are not."""
        embedding = [] if self.n_tokens is None else [None]
        return embedding + [1, 1] * (self.n_directions * len(self.hidden))

    @property
    def _cell(self):
        return CELLS[self.cell]

    def split(self, weights, biases):
        """Parameters by what they are for.

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


class Sequences:
    """A batch of sequences, one step after the other.

    Parameters
    ----------
    x : tensor of shape (n_rows, n_features)
        Steps of `n_channels` numbers one after the other; or tokens, those of padding at the end.
    architecture : Architecture

    Attributes
    ----------
    steps : tensor of shape (n_steps, n_rows, n_channels), or tokens of shape (n_steps, n_rows)
    last : int64 tensor of shape (n_rows,), or None
        Last step of each row; None where all have the same length.
    """

    def __init__(self, x, architecture):
        self.last = None
        if architecture.n_tokens is None:
            self.steps = x.unflatten(1, (-1, architecture.n_channels)).transpose(0, 1)
            return
        tokens = x.to(torch.int64).t()
        if architecture.mask_zero:
            lengths = tokens.ne(0).sum(0)
            tokens = tokens[: int(lengths.max())]
            self.last = None if bool((lengths == len(tokens)).all()) else lengths - 1
        self.steps = tokens

    def __len__(self):
        return len(self.steps)

    def reverse(self, x):
        """Steps in the opposite order, from each row's last one; padding stays where it is."""
        if self.last is None:
            return x.flip(0)
        steps = torch.arange(len(x), device=x.device).unsqueeze(1)
        source = torch.where(steps <= self.last, self.last - steps, steps)
        return x.gather(0, source.unsqueeze(-1).expand_as(x))

    def both_ways(self, x, bidirectional):
        """(n_steps, n_rows, n) to (n_steps, n_directions, n_rows, n), each in its own order."""
        return torch.stack([x, self.reverse(x)], 1) if bidirectional else x.unsqueeze(1)

    def side_by_side(self, hidden):
        """(n_steps, n_directions, n_rows, n) to (n_steps, n_rows, n_directions * n)."""
        if hidden.shape[1] == 1:
            return hidden[:, 0]
        return torch.cat([hidden[:, 0], self.reverse(hidden[:, 1])], -1)

    def apart(self, d, n_directions):
        """What `side_by_side` does, undone."""
        if n_directions == 1:
            return d.unsqueeze(1)
        forward, backward = d.chunk(2, -1)
        return torch.stack([forward, self.reverse(backward)], 1)

    def final(self, hidden):
        """Last state of each direction: (n_rows, n_directions * n_units)."""
        if self.last is None:
            return hidden[-1].transpose(0, 1).flatten(1)
        return hidden[self.last, :, torch.arange(len(self.last), device=hidden.device)].flatten(1)

    def spread_final(self, d, n_directions):
        """What `final` does, from its derivative to those of the steps, None where there is none.

        Returns
        -------
        d_hidden : list of tensors of shape (n_directions, n_rows, n_units) or None
        """
        d = d.unflatten(1, (n_directions, -1)).transpose(0, 1)
        steps = [None] * len(self)
        if self.last is None:
            steps[-1] = d
            return steps
        for step in self.last.unique().tolist():
            steps[step] = d * (self.last == step).unsqueeze(-1)
        return steps
