"""Recurrent layers with dropout of recurrent connections, for sequences of different lengths.

They have the parameters of PyTorch's layers, and other arguments and results: see
`RecurrentLayer`. Padding is at the end of sequences, where its states do not affect others.
"""

import torch
from torch import nn

from ..layers import VariationalDropout
from .recurrence import Loop, join_biases, run_loop
from .sequences import final_states, reverse

# PyTorch's names of the parameters of a direction.
_PARAMETERS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def is_traced():
    """Whether operations are being recorded, so that control flow must not depend on values."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


class RecurrentLayer:
    """Base of the recurrent layers of all cells.

    Attributes
    ----------
    recurrent_dropout : Dropout, VariationalDropout or None
        Dropout of the hidden states as they enter the gates of the next step (Gal & Ghahramani
        2016, eq. 7), of both directions at once.
    """

    def _begin(self, cell, activation, dropout):
        self.recurrent_dropout = dropout
        self._loop = Loop(cell, activation)

    @property
    def suffixes(self):
        """Suffixes of the names of each direction's parameters."""
        return ("", "_reverse")[: 1 + self.bidirectional]

    def parameters_of(self, suffix):
        """Parameters of a direction: weights of inputs and of states, and the biases of each."""
        return [getattr(self, name + suffix) for name in _PARAMETERS]

    def one_bias(self, suffix):
        """The biases of a direction in one tensor: a GRU has two, other cells their sum."""
        *_, bias_ih, bias_hh = self.parameters_of(suffix)
        return join_biases(self._loop.name, bias_ih, bias_hh)

    def forward(self, x, lengths=None, all_steps=True):
        """Hidden states.

        Parameters
        ----------
        x : tensor of shape (n_samples, n_steps, n_in)
        lengths : int64 tensor of shape (n_samples,), default=None
            Steps of each sequence, without padding; None if there is no padding.
        all_steps : bool, default=True
            Whether to return the states of all steps, rather than the last of each direction.

        Returns
        -------
        states : tensor of shape (n_samples, n_steps, n_directions * n_units)
            Without `all_steps`, of shape (n_samples, n_directions * n_units).
        """
        if self._loops(x):
            return self._by_steps(x, lengths, all_steps)
        return self._by_kernel(x, lengths, all_steps)

    def _loops(self, x):
        """Whether to compute step by step, rather than by a kernel of PyTorch.

        On a CPU PyTorch has a fused kernel for the LSTM alone; its GRU takes three times as long as
        the loop.
        """
        if self.recurrent_dropout is not None and self.recurrent_dropout.active:
            return True
        if is_traced():
            return False
        if x.device.type != "cpu":
            return isinstance(self, SimpleRNN)
        return not isinstance(self, nn.LSTM)

    def _by_steps(self, x, lengths, all_steps):
        steps = x.transpose(0, 1)
        directions = steps.unsqueeze(1)
        if self.bidirectional:
            directions = torch.stack([steps, reverse(steps, lengths)], 1)
        parameters = [p for suffix in self.suffixes for p in self.parameters_of(suffix)]
        masks = self._recurrent_masks(x)
        hidden = run_loop(self._loop, directions, masks, lengths, all_steps, parameters)
        if not all_steps:
            return hidden.transpose(0, 1).flatten(1)
        hidden = list(hidden.unbind(1))
        if self.bidirectional:
            hidden[1] = reverse(hidden[1], lengths)
        return (torch.cat(hidden, -1) if self.bidirectional else hidden[0]).transpose(0, 1)

    def _recurrent_masks(self, x):
        """For each step a factor of shape (n_directions, n_samples, n_units), or None."""
        dropout, n_steps = self.recurrent_dropout, x.shape[1]
        if dropout is None or not dropout.active:
            return None
        once = isinstance(dropout, VariationalDropout)
        n_directions = len(self.suffixes)
        n_units = self.weight_hh_l0.shape[1]
        shape = (x.shape[0], 1 if once else n_steps, n_directions * n_units)
        factor = dropout._mask(shape, x).unflatten(-1, (n_directions, n_units))
        factor = factor.permute(1, 2, 0, 3).contiguous()
        return [factor[0]] * n_steps if once else list(factor)

    def _by_kernel(self, x, lengths, all_steps):
        """Both directions; the second one reverses each sequence within its length.

        Unlike packed sequences this can be exported.
        """
        if lengths is None and not isinstance(self, SimpleRNN):
            outputs, last = super().forward(x)
            if all_steps:
                return outputs
            last = last[0] if isinstance(last, tuple) else last
            return last.transpose(0, 1).flatten(1)
        steps, outputs = x.transpose(0, 1), []
        for suffix in self.suffixes:
            turned = reverse(steps, lengths) if suffix else steps
            outputs.append(self._one_way(suffix, turned.transpose(0, 1)).transpose(0, 1))
        if not all_steps:
            return final_states(torch.stack(outputs, 1), lengths).transpose(0, 1).flatten(1)
        if self.bidirectional:
            outputs[1] = reverse(outputs[1], lengths)
        return torch.cat(outputs, -1).transpose(0, 1)

    def _one_way(self, suffix, x):
        """Hidden states of one direction, over the steps in the given order."""
        state = x.new_zeros(1, x.shape[0], self.hidden_size)
        state = (state, state) if isinstance(self, nn.LSTM) else state
        kernel = getattr(torch._VF, self.mode.lower())
        options = True, 1, 0.0, self.training, False, True
        return kernel(x, state, self.parameters_of(suffix), *options)[0]


class LSTM(RecurrentLayer, nn.LSTM):
    """``nn.LSTM`` of one layer: see `RecurrentLayer`."""

    def __init__(self, n_in, n_units, activation=None, bidirectional=False, dropout=None):
        super().__init__(
            n_in, n_units, batch_first=True, bidirectional=bidirectional, device="meta"
        )
        self._begin("lstm", activation, dropout)


class GRU(RecurrentLayer, nn.GRU):
    """``nn.GRU`` of one layer: see `RecurrentLayer`."""

    def __init__(self, n_in, n_units, activation=None, bidirectional=False, dropout=None):
        super().__init__(
            n_in, n_units, batch_first=True, bidirectional=bidirectional, device="meta"
        )
        self._begin("gru", activation, dropout)


class RNN(RecurrentLayer, nn.RNN):
    """``nn.RNN`` of one layer, for its own activations: see `RecurrentLayer`."""

    def __init__(self, n_in, n_units, activation="tanh", bidirectional=False, dropout=None):
        super().__init__(
            n_in,
            n_units,
            nonlinearity=activation,
            batch_first=True,
            bidirectional=bidirectional,
            device="meta",
        )
        self._begin("rnn", activation, dropout)


class SimpleRNN(RecurrentLayer, nn.Module):
    """``nn.RNN`` of one layer, for any activation: see `RecurrentLayer`.

    Parameters
    ----------
    n_in, n_units : int
    activation : str
    function : nn.Module
        The activation as a layer.
    bidirectional : bool, default=False
    dropout : Dropout or VariationalDropout, default=None
    """

    def __init__(self, n_in, n_units, activation, function, bidirectional=False, dropout=None):
        super().__init__()
        self.activation = function
        self.bidirectional = bidirectional
        self._begin("rnn", activation, dropout)
        shapes = (n_units, n_in), (n_units, n_units), (n_units,), (n_units,)
        for suffix in self.suffixes:
            for name, shape in zip(_PARAMETERS, shapes, strict=True):
                parameter = nn.Parameter(torch.empty(shape, device="meta"))
                self.register_parameter(name + suffix, parameter)

    def _one_way(self, suffix, x):
        weight_ih, weight_hh, bias_ih, bias_hh = self.parameters_of(suffix)
        state, states = x.new_zeros(x.shape[0], weight_hh.shape[1]), []
        for step in x.unbind(1):
            sums = nn.functional.linear(step, weight_ih, bias_ih)
            state = self.activation(sums + nn.functional.linear(state, weight_hh, bias_hh))
            states.append(state)
        return torch.stack(states, 1)
