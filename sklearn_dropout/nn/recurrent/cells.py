"""Recurrent cells: one step forward, and the gradient through all steps, written out.

All gates of a step come from one matrix product with the row ``[x_t, 1, m * h_{t-1}]``: the input,
a one for the biases, and the previous hidden state. So a step costs one product, and the gradient
of the input weights, biases and recurrent weights is one product over all steps.

The gradient of a step is linear in the gradient of the step after it. The factors of this linear
map depend on the forward pass alone; they are computed for many steps at once, which leaves a few
products of small arrays for the loop.

Arrays have the shape (n_steps, n_directions, n_rows, n_units); `m` is the mask of recurrent
dropout, Gal & Ghahramani 2016, eq. 7: one for all gates, on the hidden state as it enters the
gates. The state itself is carried over without dropout.

References
----------
Hochreiter, S., Schmidhuber, J. (1997). "Long short-term memory." Neural Computation 9.
Cho, K. et al. (2014). "Learning phrase representations using RNN encoder-decoder." EMNLP; here in
the form of PyTorch and cuDNN, where the reset gate acts after the product.
Gal, Y., Ghahramani, Z. (2016). "A theoretically grounded application of dropout in recurrent
neural networks." NIPS, section 4.1.
"""

import torch

from ..activations import ACTIVATIONS


def _one_minus_square_(x):
    """Derivative of tanh in terms of its value: 1 - x ** 2, in place."""
    return x.mul_(x).neg_().add_(1)


def _logistic_slope(x):
    """Derivative of the logistic function in terms of its value: x - x ** 2."""
    return torch.addcmul(x, x, x, value=-1)


class LSTM:
    """``c = f * c + i * g``, ``h = o * tanh(c)``; the sums are in the order o, i, f, g.

    PyTorch has i, f, g, o. With o first, the logistic gates are adjacent, and so are the gates
    that determine the cell state.
    """

    n_gates = n_blocks = n_bias_blocks = 4
    two_biases = False

    def __init__(self, activation=None):
        pass

    @staticmethod
    def pack(weight_ih, weight_hh, bias, out):
        """Write one direction's weights into a matrix (n_in + 1 + n_units, n_blocks * n_units)."""
        joined = torch.cat([weight_ih, bias.unsqueeze(1), weight_hh], 1)
        out.copy_(joined.roll(weight_hh.shape[1], 0).t())

    @staticmethod
    def unpack(gradient, weight_ih, weight_hh, bias):
        """Split the gradient of a packed matrix."""
        n_in = weight_ih.shape[1]
        joined = gradient.roll(-weight_hh.shape[1], 1).t()
        weight_ih.copy_(joined[:, :n_in])
        bias.copy_(joined[:, n_in])
        weight_hh.copy_(joined[:, n_in + 1 :])

    @staticmethod
    def prepare(tape):
        """Allocate the memory of this cell on the tape, and its views."""
        n = tape.n_units
        tape.cells, tape.tanh_cells = tape.states(), tape.per_step()
        tape.forget = tape.per_step() if tape.keep else None
        sums = tape.sums
        views = [sums[..., : 3 * n], sums[..., 3 * n :]]
        views += [sums[..., k * n : (k + 1) * n] for k in range(3)]
        views += [tape.cells[:-1], tape.cells[1:], tape.tanh_cells]
        tape.forward_views = list(zip(*(view.unbind(0) for view in views)))
        if tape.keep:
            by_block = sums.unflatten(-1, (4, n))
            views = [by_block[..., 0, :], by_block[..., 1:, :], tape.forget, tape.tanh_cells]
            tape.backward_views = list(zip(*(view.unbind(0) for view in views)))

    @staticmethod
    def forward(tape, weight, masks, n_steps):
        """Run all steps, from `tape.inputs` to `tape.hidden`."""
        for t in range(n_steps):
            logistic, g, o, i, f, before, cell, tanh_cell = tape.forward_views[t]
            torch.bmm(tape.rows[t], weight, out=tape.sum_rows[t])
            torch.sigmoid(logistic, out=logistic)
            torch.tanh(g, out=g)
            torch.mul(f, before, out=cell).addcmul_(i, g)
            torch.tanh(cell, out=tanh_cell)
            torch.mul(o, tanh_cell, out=tape.hidden_rows[t + 1])
            if masks is not None:
                tape.enter(t + 1, masks)

    @staticmethod
    def _factors(tape, start, stop):
        """Turn activations into factors of the derivatives of h (o) and of c (i, f, g)."""
        n = tape.n_units
        sums, tanh_cell = tape.sums[start:stop], tape.tanh_cells[start:stop]
        o, i, f, g = sums.split(n, -1)
        tape.forget[start:stop].copy_(f)
        slopes = _logistic_slope(sums[..., : 3 * n])
        slope_o, slope_i, slope_f = slopes.split(n, -1)
        slope_o.mul_(tanh_cell)
        slope_i.mul_(g)
        slope_f.mul_(tape.cells[start:stop])
        _one_minus_square_(g).mul_(i)
        _one_minus_square_(tanh_cell).mul_(o)
        sums[..., : 3 * n] = slopes

    @classmethod
    def backward(cls, tape, weight_hh, masks, d_hidden, n_steps):
        """Run backwards; writes the derivatives of the sums of all steps to ``tape.sums``."""
        d = torch.zeros_like(tape.hidden_rows[0])
        d_cell = torch.zeros_like(d)
        d_cell_of_block = d_cell.unsqueeze(-2)
        for start, stop in tape.chunks(n_steps):
            cls._factors(tape, start, stop)
            for t in range(stop - 1, start - 1, -1):
                if d_hidden[t] is not None:
                    d.add_(d_hidden[t])
                o, others, forget, of_cell = tape.backward_views[t]
                d_cell.addcmul_(d, of_cell)
                torch.mul(d, o, out=o)
                torch.mul(d_cell_of_block, others, out=others)
                if t == 0:  # no step before
                    return
                d_cell.mul_(forget)
                torch.bmm(tape.sum_rows[t], weight_hh, out=d)
                if masks is not None:
                    d.mul_(masks[t])


class GRU:
    """``n = tanh(a + r * b)``, ``h = n + z * (h - n)``; the sums are r, z, a and b.

    `a` is the sum of the new gate over the inputs and `b` that over the hidden state, each with its
    own bias. The biases are those of PyTorch: of the inputs, then of the hidden state.
    """

    n_gates, n_blocks, n_bias_blocks = 3, 4, 6
    two_biases = True

    def __init__(self, activation=None):
        pass

    @staticmethod
    def pack(weight_ih, weight_hh, bias, out):
        """Write one direction's weights into a matrix (n_in + 1 + n_units, n_blocks * n_units)."""
        n_in, n = weight_ih.shape[1], weight_hh.shape[1]
        out[:n_in, : 3 * n] = weight_ih.t()
        out[:n_in, 3 * n :] = 0
        out[n_in, : 3 * n] = bias[: 3 * n]
        out[n_in, : 2 * n] += bias[3 * n : 5 * n]
        out[n_in, 3 * n :] = bias[5 * n :]
        hidden = out[n_in + 1 :]
        hidden[:, : 2 * n] = weight_hh[: 2 * n].t()
        hidden[:, 2 * n : 3 * n] = 0
        hidden[:, 3 * n :] = weight_hh[2 * n :].t()

    @staticmethod
    def unpack(gradient, weight_ih, weight_hh, bias):
        """Split the gradient of a packed matrix."""
        n_in, n = weight_ih.shape[1], weight_hh.shape[1]
        weight_ih.copy_(gradient[:n_in, : 3 * n].t())
        bias[: 3 * n] = gradient[n_in, : 3 * n]
        bias[3 * n : 5 * n] = gradient[n_in, : 2 * n]
        bias[5 * n :] = gradient[n_in, 3 * n :]
        hidden = gradient[n_in + 1 :]
        weight_hh[: 2 * n] = hidden[:, : 2 * n].t()
        weight_hh[2 * n :] = hidden[:, 3 * n :].t()

    @staticmethod
    def prepare(tape):
        """Allocate the memory of this cell on the tape, and its views."""
        n = tape.n_units
        tape.update = tape.per_step() if tape.keep else None
        sums = tape.sums
        views = [sums[..., : 2 * n], *(sums[..., k * n : (k + 1) * n] for k in range(4))]
        tape.forward_views = list(zip(*(view.unbind(0) for view in views)))
        if tape.keep:
            views = [sums.unflatten(-1, (4, n)), tape.update]
            tape.backward_views = list(zip(*(view.unbind(0) for view in views)))

    @staticmethod
    def forward(tape, weight, masks, n_steps):
        """Run all steps, from `tape.inputs` to `tape.hidden`."""
        for t in range(n_steps):
            gates, r, z, new, from_hidden = tape.forward_views[t]
            torch.bmm(tape.rows[t], weight, out=tape.sum_rows[t])
            torch.sigmoid(gates, out=gates)
            new.addcmul_(r, from_hidden)
            torch.tanh(new, out=new)
            before, hidden = tape.hidden_rows[t], tape.hidden_rows[t + 1]
            torch.sub(before, new, out=hidden).mul_(z).add_(new)
            if masks is not None:
                tape.enter(t + 1, masks)

    @staticmethod
    def _factors(tape, start, stop):
        """Turn activations into factors of the derivative of h."""
        r, z, new, from_hidden = tape.sums[start:stop].split(tape.n_units, -1)
        before = tape.hidden[start:stop]
        tape.update[start:stop].copy_(z)
        of_z = torch.sub(before, new).mul_(_logistic_slope(z))
        _one_minus_square_(new)
        new.addcmul_(new, z, value=-1)  # (1 - z) (1 - n ** 2)
        z.copy_(of_z)
        of_r = _logistic_slope(r).mul_(from_hidden).mul_(new)
        torch.mul(new, r, out=from_hidden)
        r.copy_(of_r)

    @classmethod
    def backward(cls, tape, weight_hh, masks, d_hidden, n_steps):
        """Run backwards; writes the derivatives of the sums of all steps to ``tape.sums``."""
        d = torch.zeros_like(tape.hidden_rows[0])
        d_of_block, through_gates = d.unsqueeze(-2), torch.empty_like(d)
        for start, stop in tape.chunks(n_steps):
            cls._factors(tape, start, stop)
            for t in range(stop - 1, start - 1, -1):
                if d_hidden[t] is not None:
                    d.add_(d_hidden[t])
                blocks, update = tape.backward_views[t]
                torch.mul(d_of_block, blocks, out=blocks)
                if t == 0:  # no step before
                    return
                torch.bmm(tape.sum_rows[t], weight_hh, out=through_gates)
                d.mul_(update)
                if masks is None:
                    d.add_(through_gates)
                else:
                    d.addcmul_(through_gates, masks[t])


class SimpleRNN:
    """``h = activation(a)``.

    Parameters
    ----------
    activation : str, default="tanh"
        A key of ``ACTIVATIONS``.
    """

    n_gates = n_blocks = n_bias_blocks = 1
    two_biases = False

    def __init__(self, activation="tanh"):
        self.activation = ACTIVATIONS[activation]

    @staticmethod
    def pack(weight_ih, weight_hh, bias, out):
        """Write one direction's weights into a matrix (n_in + 1 + n_units, n_blocks * n_units)."""
        n_in = weight_ih.shape[1]
        out[:n_in], out[n_in], out[n_in + 1 :] = weight_ih.t(), bias, weight_hh.t()

    @staticmethod
    def unpack(gradient, weight_ih, weight_hh, bias):
        """Split the gradient of a packed matrix."""
        n_in = weight_ih.shape[1]
        weight_ih.copy_(gradient[:n_in].t())
        bias.copy_(gradient[n_in])
        weight_hh.copy_(gradient[n_in + 1 :].t())

    @staticmethod
    def prepare(tape):
        """Do nothing: sums and hidden states are enough."""

    def forward(self, tape, weight, masks, n_steps):
        """Run all steps, from `tape.inputs` to `tape.hidden`."""
        for t in range(n_steps):
            sums = tape.sum_rows[t]
            torch.bmm(tape.rows[t], weight, out=sums)
            self.activation.forward(sums, tape.hidden_rows[t + 1])
            if masks is not None:
                tape.enter(t + 1, masks)

    def backward(self, tape, weight_hh, masks, d_hidden, n_steps):
        """Run backwards; writes the derivatives of the sums of all steps to ``tape.sums``."""
        d = torch.zeros_like(tape.hidden_rows[0])
        from_output = self.activation.from_output
        for t in range(n_steps - 1, -1, -1):
            if d_hidden[t] is not None:
                d.add_(d_hidden[t])
            sums = tape.sum_rows[t]
            self.activation.backward(d, tape.hidden_rows[t + 1] if from_output else sums)
            sums.copy_(d)
            if t == 0:  # no step before
                return
            torch.bmm(sums, weight_hh, out=d)
            if masks is not None:
                d.mul_(masks[t])


CELLS = {"lstm": LSTM, "gru": GRU, "rnn": SimpleRNN}
