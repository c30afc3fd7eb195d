"""A recurrent layer from its inputs to its hidden states and back, in one of two ways.

`Loop` goes step by step with the cells' own gradient and can drop recurrent connections. `Fused`
leaves all steps to PyTorch's kernels, which cannot. Both see the sequence of each direction in
that direction's own order.
"""

import torch

from ._cells import CELLS
from ._tape import Tape

_KERNELS = {
    "lstm": torch._VF.lstm,
    "gru": torch._VF.gru,
    "rnn": {"tanh": torch._VF.rnn_tanh, "relu": torch._VF.rnn_relu},
}


class Loop:
    """A layer computed step by step.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn"}
    activation : str
        Of ``cell="rnn"``.
    """

    def __init__(self, cell, activation):
        self.cell = CELLS[cell](activation)
        self._tapes = {}

    def forward(self, x, parameters, masks=None, keep=False):
        """Hidden states of all steps.

        Parameters
        ----------
        x : tensor of shape (n_steps, n_directions, n_rows, n_in)
        parameters : list of tuples (weight_ih, weight_hh, bias), one for each direction
        masks : sequence of tensors of shape (n_directions, n_rows, n_units), default=None
            What the hidden state that enters each step is multiplied by.
        keep : bool, default=False
            Whether `backward` is to follow.

        Returns
        -------
        hidden : tensor of shape (n_steps, n_directions, n_rows, n_units)
            Overwritten by the next call for as many rows, where `keep` is true.
        """
        n_steps, n_directions, n_rows, n_in = x.shape
        n_units = parameters[0][1].shape[1]
        tape = self._tape(n_steps, (n_directions, n_rows, n_in, n_units), x, masks, keep)
        weight = x.new_empty(n_directions, n_in + 1 + n_units, self.cell.n_blocks * n_units)
        for direction, weights in enumerate(parameters):
            self.cell.pack(*weights, weight[direction])
        tape.inputs[:n_steps, ..., :n_in] = x
        self.cell.forward(tape, weight, masks, n_steps)
        self._run = tape, weight, masks, n_steps
        return tape.hidden[1 : n_steps + 1]

    def _tape(self, n_steps, sizes, like, masks, keep):
        masked = masks is not None
        tape = self._tapes.get((*sizes, masked)) if keep else None
        if tape is None or tape.n_steps < n_steps:
            options = {"dtype": like.dtype, "device": like.device}
            tape = Tape(self.cell.n_blocks, n_steps, *sizes, options, masked, keep)
            self.cell.prepare(tape)
            if keep:
                self._tapes[(*sizes, masked)] = tape
        return tape

    def backward(self, d_hidden, gradients, with_inputs=True):
        """Gradients of the last `forward`.

        Parameters
        ----------
        d_hidden : sequence of tensors of shape (n_directions, n_rows, n_units), or None for each
            Derivatives of the loss by the hidden states, `None` where there are none.
        gradients : like `parameters` of `forward`
            Written to.
        with_inputs : bool, default=True

        Returns
        -------
        d_x : tensor like the inputs, or None
        """
        tape, weight, masks, n_steps = self._run
        n_in = tape.n_in
        weight_hh = weight[:, n_in + 1 :].transpose(1, 2).contiguous()
        self.cell.backward(tape, weight_hh, masks, d_hidden, n_steps)
        d_sums, inputs = tape.sums[:n_steps], tape.inputs[:n_steps]
        for direction, gradient in enumerate(gradients):
            u, d = inputs[:, direction].flatten(0, 1), d_sums[:, direction].flatten(0, 1)
            self.cell.unpack(u.t() @ d, *gradient)
        if not with_inputs:
            return None
        return torch.matmul(d_sums, weight[:, :n_in].transpose(1, 2))


class Fused:
    """A layer computed by the kernels behind ``torch.nn.LSTM``, ``GRU`` and ``RNN``.

    Arguments are those of `Loop`; there are no masks.
    """

    def __init__(self, cell, activation):
        self.cell = cell
        kernels = _KERNELS[cell]
        self.kernel = kernels[activation] if cell == "rnn" else kernels

    def forward(self, x, parameters, masks=None, keep=False):
        """Hidden states of all steps; see `Loop.forward`."""
        self._run = [
            self._direction(x[:, direction], weights, keep)
            for direction, weights in enumerate(parameters)
        ]
        hidden = [output for output, _ in self._run]
        with torch.no_grad():
            return hidden[0].unsqueeze(1) if len(hidden) == 1 else torch.stack(hidden, 1)

    def _direction(self, x, weights, keep):
        leaves = [x, *weights]
        if keep:
            leaves = [leaf.detach().requires_grad_() for leaf in leaves]
        x, weight_ih, weight_hh, bias = leaves
        state = x.new_zeros(1, x.shape[1], weight_hh.shape[1])
        with torch.set_grad_enabled(keep):
            if self.cell == "gru":
                biases = bias.chunk(2)
                output, *_ = self.kernel(x, state, [weight_ih, weight_hh, *biases], *_options(keep))
                return output, leaves
            biases = bias, torch.zeros_like(bias)
            state = (state, state) if self.cell == "lstm" else state
            output, *_ = self.kernel(x, state, [weight_ih, weight_hh, *biases], *_options(keep))
        return output, leaves

    def backward(self, d_hidden, gradients, with_inputs=True):
        """Gradients of the last `forward`; see `Loop.backward`."""
        d_x = []
        for direction, (output, leaves) in enumerate(self._run):
            d = torch.zeros_like(output)
            for t, d_step in enumerate(d_hidden):
                if d_step is not None:
                    d[t] = d_step[direction]
            wanted = leaves if with_inputs else leaves[1:]
            found = torch.autograd.grad(output, wanted, d)
            for ours, theirs in zip(gradients[direction], found[-3:], strict=True):
                ours.copy_(theirs)
            d_x.append(found[0])
        return torch.stack(d_x, 1) if with_inputs else None


def _options(train):
    """has_biases, num_layers, dropout, train, bidirectional, batch_first."""
    return True, 1, 0.0, train, False, False


def has_kernel(cell, activation):
    """Whether PyTorch has a kernel for a cell."""
    return cell != "rnn" or activation in _KERNELS["rnn"]
