"""One recurrent network, with the gradient written out."""

from itertools import pairwise

import torch

from ._losses import LOSSES
from ._recurrence import Fused, Loop, has_kernel
from ._sequences import Sequences
from ._stack import Stack

# Values of the widest layer, over all steps, that are computed at once in an evaluation.
_CHUNK_VALUES = 1 << 22
# Steps from which on PyTorch's LSTM trains faster than the loop.
_MANY_STEPS = 16


class Recurrent:
    """The arithmetic of a recurrent network, for parameters given with each call.

    Parameters
    ----------
    architecture : Architecture
    drops : sequence of bool
        Whether each layer's recurrent connections are dropped.
    device : torch device, default="cpu"
    n_steps : int, default=None
        Of sequences to train on; None for predictions.

    Attributes
    ----------
    uses_autograd : bool
        Whether any layer is left to PyTorch.
    """

    def __init__(self, architecture, drops, device="cpu", n_steps=None):
        self.architecture = architecture
        cell, activation = architecture.cell, architecture.activation
        # On a CPU PyTorch has a fused kernel for the LSTM alone (its GRU takes three times as long
        # as the loop here), and the gradient of that is slow to start.
        long = n_steps is None or n_steps >= _MANY_STEPS
        fast = torch.device(device).type != "cpu" or (cell == "lstm" and long)
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
        self._training = Recurrent(architecture, drops, device, n_steps)
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
