"""A recurrent layer computed step by step, with the gradient of `cells`.

Unlike PyTorch's kernels it can drop recurrent connections. It takes the sequences of each direction
in the order in which that direction reads them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from .cells import CELLS
from .sequences import final_states, spread_final
from .tape import Tape


class Run(NamedTuple):
    """The results of a forward pass that its gradient needs."""

    tape: Tape
    weight: torch.Tensor
    masks: Sequence
    n_steps: int


class Loop:
    """A layer computed step by step.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn"}
    activation : str
        Of ``cell="rnn"``.
    """

    def __init__(self, cell, activation):
        self.name, self._activation = cell, activation
        self.cell = CELLS[cell](activation)
        self._tapes = {}

    def __reduce__(self):
        return Loop, (self.name, self._activation)

    def forward(self, x, parameters, masks=None, keep=False):
        """Hidden states of all steps.

        Parameters
        ----------
        x : tensor of shape (n_steps, n_directions, n_rows, n_in)
        parameters : list of tuples (weight_ih, weight_hh, bias), one for each direction
        masks : sequence of tensors of shape (n_directions, n_rows, n_units), default=None
            Factors of the hidden state that enters each step.
        keep : bool, default=False
            Whether `backward` will be called.

        Returns
        -------
        hidden : tensor of shape (n_steps, n_directions, n_rows, n_units)
            With `keep`, the first call after `backward` overwrites it.
        run : Run
            For `backward`.
        """
        n_steps, n_directions, n_rows, n_in = x.shape
        n_units = parameters[0][1].shape[1]
        tape = self._tape(n_steps, (n_directions, n_rows, n_in, n_units), x, masks, keep)
        weight = x.new_empty(n_directions, n_in + 1 + n_units, self.cell.n_blocks * n_units)
        for direction, weights in enumerate(parameters):
            self.cell.pack(*weights, weight[direction])
        tape.inputs[:n_steps, ..., :n_in] = x
        self.cell.forward(tape, weight, masks, n_steps)
        return tape.hidden[1 : n_steps + 1], Run(tape, weight, masks, n_steps)

    def _tape(self, n_steps, sizes, like, masks, keep):
        """Memory of an earlier pass whose gradient has been computed, or new memory."""
        key = (*sizes, masks is not None, like.dtype, like.device)
        tape = self._tapes.pop(key, None) if keep else None
        if tape is None or tape.n_steps < n_steps:
            options = {"dtype": like.dtype, "device": like.device}
            tape = Tape(self.cell.n_blocks, n_steps, *sizes, options, masks is not None, keep)
            self.cell.prepare(tape)
            tape.key = key
        return tape

    def backward(self, run, d_hidden, gradients, d_x=None):
        """Gradients of a call of `forward`, once.

        Parameters
        ----------
        run : Run
        d_hidden : sequence of tensors of shape (n_directions, n_rows, n_units), or None for each
            Derivatives of the loss with respect to the hidden states; None stands for zeros.
        gradients : like `parameters` of `forward`
            Written to.
        d_x : tensor like the inputs, default=None
            Receives the derivative with respect to them.
        """
        tape, weight, masks, n_steps = run
        n_in = tape.n_in
        weight_hh = weight[:, n_in + 1 :].transpose(1, 2).contiguous()
        self.cell.backward(tape, weight_hh, masks, d_hidden, n_steps)
        d_sums, inputs = tape.sums[:n_steps], tape.inputs[:n_steps]
        for direction, gradient in enumerate(gradients):
            u, d = inputs[:, direction].flatten(0, 1), d_sums[:, direction].flatten(0, 1)
            self.cell.unpack(u.t() @ d, *gradient)
        if d_x is not None:
            torch.matmul(d_sums, weight[:, :n_in].transpose(1, 2), out=d_x)
        self._tapes[tape.key] = tape


def run_loop(loop, x, masks, lengths, all_steps, parameters):
    """Hidden states of all steps or of the last ones, under autograd.

    Parameters
    ----------
    loop : Loop
    x, masks : as in `Loop.forward`
    lengths : int64 tensor of shape (n_rows,), or None
        Steps of each sequence, if there is padding.
    all_steps : bool
        Whether to return all states.
    parameters : list of tensors
        Four for each direction: weight_ih, weight_hh, bias_ih and bias_hh.

    Returns
    -------
    hidden : tensor of shape (n_steps, n_directions, n_rows, n_units)
        Without `all_steps`, of shape (n_directions, n_rows, n_units).
    """
    if torch.is_grad_enabled() and any(p.requires_grad for p in (x, *parameters)):
        return _Run.apply(loop, x, masks, lengths, all_steps, *parameters)
    hidden, _ = loop.forward(x, _by_direction(loop, parameters), masks)
    return hidden if all_steps else final_states(hidden, lengths)


def join_biases(cell, bias_ih, bias_hh):
    """Combine the two biases of PyTorch into that of our cells."""
    return torch.cat([bias_ih, bias_hh]) if CELLS[cell].two_biases else bias_ih + bias_hh


def _by_direction(loop, parameters):
    """Tuples (weight_ih, weight_hh, bias) of each direction."""
    return [
        (*parameters[k : k + 2], join_biases(loop.name, *parameters[k + 2 : k + 4]))
        for k in range(0, len(parameters), 4)
    ]


class _Run(torch.autograd.Function):
    """A pass of a `Loop` and its gradient; see `run_loop`.

    The arithmetic is done in inference mode, where views cost less; tensors for autograd are
    created outside that mode.
    """

    @staticmethod
    def forward(ctx, loop, x, masks, lengths, all_steps, *parameters):
        with torch.inference_mode():
            by_direction = _by_direction(loop, parameters)
            hidden, run = loop.forward(x, by_direction, masks, keep=True)
        ctx.loop, ctx.run, ctx.lengths, ctx.all_steps = loop, run, lengths, all_steps
        ctx.shapes = [part.shape for direction in by_direction for part in direction]
        ctx.shape = x.shape
        # The memory of the tape is reused, so the results are copied.
        return (hidden if all_steps else final_states(hidden, lengths)).clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, d):
        if ctx.run is None:
            raise RuntimeError(
                "The gradient of a recurrent layer can be computed once after each forward pass: "
                "it overwrites the results of that pass."
            )
        run, ctx.run = ctx.run, None
        gradients = [d.new_empty(shape) for shape in ctx.shapes]
        by_direction = list(zip(gradients[::3], gradients[1::3], gradients[2::3], strict=True))
        d_x = d.new_empty(ctx.shape) if ctx.needs_input_grad[1] else None
        with torch.inference_mode():
            d_hidden = d.unbind(0) if ctx.all_steps else spread_final(d, run.n_steps, ctx.lengths)
            ctx.loop.backward(run, d_hidden, by_direction, d_x)
        found, two = [], ctx.loop.cell.two_biases
        for weight_ih, weight_hh, bias in by_direction:
            found += [weight_ih, weight_hh, *(bias.chunk(2) if two else (bias, bias))]
        wanted = zip(found, ctx.needs_input_grad[5:], strict=True)
        return None, d_x, None, None, None, *(g if wants else None for g, wants in wanted)
