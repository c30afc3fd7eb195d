"""One recurrent network, with the gradient written out."""

from dataclasses import dataclass
from itertools import pairwise

import torch

from ._losses import LOSSES
from ._recurrence import Fused, Loop, has_kernel
from ._stack import Stack

# Values of the widest layer, over all steps, that are computed at once in an evaluation.
_CHUNK_VALUES = 1 << 22


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
        return Loop(self.cell, self.activation).cell

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


class Recurrent:
    """The arithmetic of a recurrent network, for parameters given with each call.

    Parameters
    ----------
    architecture : Architecture
    drops : sequence of bool
        Whether each layer's recurrent connections are dropped.
    device : torch device

    Attributes
    ----------
    uses_autograd : bool
        Whether any layer is left to PyTorch.
    """

    def __init__(self, architecture, drops, device="cpu"):
        self.architecture = architecture
        cell, activation = architecture.cell, architecture.activation
        # On a CPU PyTorch has a fused kernel for the LSTM alone: its GRU takes three times as long
        # as the loop here.
        fast = torch.device(device).type != "cpu" or cell == "lstm"
        kernel = fast and has_kernel(cell, activation)
        self.layers = [(Loop if drop or not kernel else Fused)(cell, activation) for drop in drops]
        self.uses_autograd = any(isinstance(layer, Fused) for layer in self.layers)

    def forward(self, x, weights, biases, masks=None, keep=False):
        """Outputs before the output function.

        Parameters
        ----------
        x : tensor of shape (n_rows, n_features)
        weights, biases : lists of tensors
        masks : SequenceMasks, default=None
            Without, nothing is dropped.
        keep : bool, default=False
            Whether `backward` is to follow.

        Returns
        -------
        z : tensor of shape (n_rows, n_outputs)
        """
        bidirectional = self.architecture.bidirectional
        embedding, layers, (out_weight, out_bias) = self.architecture.split(weights, biases)
        sequences = Sequences(x, self.architecture)
        n_steps, factors = len(sequences), []
        x = sequences.steps
        if embedding is not None:
            x = torch.nn.functional.embedding(x, embedding)
            factors.append(masks and masks.tokens(sequences.steps))
            x = _times(x, factors[0])
        factors.append(masks and masks.input(n_steps))
        x = _times(x, factors[-1])
        for place, (layer, parameters) in enumerate(zip(self.layers, layers)):
            x = sequences.both_ways(x, bidirectional)
            recurrent = masks and masks.recurrent(place, n_steps)
            hidden = layer.forward(x, parameters, recurrent, keep)
            factors.append(masks and masks.output(place, n_steps))
            if place < len(layers) - 1:
                x = _times(sequences.side_by_side(hidden), factors[-1])
        last = sequences.final(hidden)
        if factors[-1] is not None:
            last = last * factors[-1][0]
        self._run = (sequences, factors, last) if keep else None
        return torch.addmm(out_bias, last, out_weight)

    def backward(self, d, weights, weight_gradients, bias_gradients):
        """Gradients of the last `forward`, by the derivative of the loss by its outputs.

        Parameters
        ----------
        d : tensor of shape (n_rows, n_outputs)
        weights : list of tensors
        weight_gradients, bias_gradients : lists of tensors
            Written to.
        """
        n_directions = self.architecture.n_directions
        sequences, factors, last = self._run
        embedding, gradients, output = self.architecture.split(weight_gradients, bias_gradients)
        torch.mm(last.t(), d, out=output[0])
        torch.sum(d, 0, out=output[1])
        d = _times(torch.mm(d, weights[-1].t()), None if factors[-1] is None else factors[-1][0])
        d_hidden = sequences.spread_final(d, n_directions)
        for place in range(len(self.layers) - 1, -1, -1):
            with_inputs = place > 0 or embedding is not None
            d = self.layers[place].backward(d_hidden, gradients[place], with_inputs)
            if not with_inputs:
                return
            d = d[:, 0] if n_directions == 1 else d[:, 0] + sequences.reverse(d[:, 1])
            d = _times(d, factors[place + (embedding is not None)])
            if place:
                d_hidden = sequences.apart(d, n_directions)
        d = _times(d, factors[0])
        tokens = sequences.steps.flatten()
        embedding.zero_().index_add_(0, tokens, d.flatten(0, 1))


def _times(x, factor):
    return x if factor is None else x * factor


class StackedRNN(Stack):
    """A stack of one recurrent network.

    Parameters
    ----------
    architecture : Architecture
    drops : sequence of bool
        Whether each layer's recurrent connections are dropped in training.
    n_steps : int
        Of the longest sequence.
    loss : str, default="squared_error"
        A key of ``LOSSES``.
    dtype, device
        Of weights and arithmetic.
    """

    def __init__(
        self,
        architecture,
        drops,
        n_steps,
        *,
        loss="squared_error",
        dtype=torch.float32,
        device="cpu",
    ):
        super().__init__(
            architecture.weight_shapes,
            architecture.bias_shapes,
            architecture.incoming_axes,
            dtype=dtype,
            device=device,
        )
        self.architecture = architecture
        self.loss = LOSSES[loss]
        self.n_steps = n_steps
        self._training = Recurrent(architecture, drops, device)
        self._prediction = Recurrent(architecture, [False] * len(drops), device)
        self._of_network = [
            [parameter[0] for parameter in part]
            for part in (self.weights, self.biases, self.weight_gradients, self.bias_gradients)
        ]

    @property
    def uses_autograd(self):
        """Whether `step` records operations."""
        return self._training.uses_autograd

    @property
    def values_per_row(self):
        """Values that training on one row touches."""
        return self.n_steps * sum(self.architecture.widths)

    @property
    def multiplications_per_row(self):
        """Size of what is computed at once for one row: a step, or all of them."""
        architecture = self.architecture
        largest = max(w.numel() for w in self.weights[architecture.n_tokens is not None :])
        return largest * (self.n_steps if self.uses_autograd else 1)

    def forward(self, x):
        """Outputs without dropout, before the output function.

        Parameters
        ----------
        x : tensor of shape (1, n_rows, n_features)

        Returns
        -------
        z : tensor of shape (1, n_rows, n_outputs)
        """
        weights, biases, *_ = self._of_network
        n_rows = rows_at_once(self.architecture, self.n_steps)
        parts = [self._prediction.forward(part, weights, biases) for part in x[0].split(n_rows)]
        return torch.cat(parts).unsqueeze(0)

    def step(self, x, y, weight, masks, z):
        """Forward and backward pass of one batch; leaves the derivative in `gradient`.

        Parameters
        ----------
        x : tensor of shape (1, n_rows, n_features)
        y : tensor of shape (1, n_rows, n_outputs)
        weight : tensor of shape (1, n_rows, 1), or broadcast to it
            Weights of the rows.
        masks : SequenceMasks
        z : tensor of shape (1, n_rows, n_outputs)
            Receives the outputs before the output function, for the value of the loss.
        """
        weights, biases, *gradients = self._of_network
        z[0] = self._training.forward(x[0], weights, biases, masks, keep=True)
        d = torch.empty_like(z)
        self.loss.derivative(z, y, d)
        self._training.backward(d.mul_(weight)[0], weights, *gradients)


def rows_at_once(architecture, n_steps):
    """Rows whose evaluation fits comfortably into memory."""
    widest = max(n_in + 4 * n_out for n_in, n_out in pairwise((*architecture.widths, 1)))
    return max(1, _CHUNK_VALUES // (n_steps * architecture.n_directions * widest))
