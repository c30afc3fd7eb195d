"""Memory of a recurrent layer that is computed step by step."""

import torch

# Values of the gates for which factors are computed at once: they should stay in a core's cache.
_CHUNK_VALUES = 1 << 17


class Tape:
    """Results of the steps of one layer for its gradient, in memory that is reused for every batch.

    Parameters
    ----------
    n_blocks : int
        Number of sums that a cell needs for each unit.
    n_steps, n_directions, n_rows, n_in, n_units : int
    options : dict
        dtype and device.
    masked : bool
        Whether units are dropped as they enter a step.
    keep : bool
        Whether the gradient will be computed; otherwise steps share memory if possible.

    Attributes
    ----------
    inputs : tensor of shape (n_steps + 1, n_directions, n_rows, n_in + 1 + n_units)
        ``[x_t, 1, m * h_{t-1}]`` for each step.
    sums : tensor of shape (n_steps, n_directions, n_rows, n_blocks * n_units)
        Of the gates; then their activations, and in the backward pass the derivatives.
    hidden : tensor of shape (n_steps + 1, n_directions, n_rows, n_units)
        ``h_{t-1}`` for each step.
    """

    def __init__(
        self, n_blocks, n_steps, n_directions, n_rows, n_in, n_units, options, masked, keep
    ):
        self.n_steps, self.n_in, self.n_units, self.keep = n_steps, n_in, n_units, keep
        self._shape, self._options = (n_directions, n_rows), options
        self.inputs = torch.empty(
            (n_steps + 1, n_directions, n_rows, n_in + 1 + n_units), **options
        )
        self.inputs[..., n_in] = 1
        self.inputs[0, ..., n_in + 1 :] = 0
        entering = self.inputs[..., n_in + 1 :]
        self.sums = self.per_step(n_blocks)
        self.hidden = entering
        if masked:
            self.hidden = torch.empty((n_steps + 1, n_directions, n_rows, n_units), **options)
            self.hidden[0] = 0
        # Views made once: making one costs as much as the arithmetic on it.
        self.rows = self.inputs.unbind(0)
        self.entering_rows = entering.unbind(0)
        self.sum_rows = self.sums.unbind(0)
        self.hidden_rows = self.hidden.unbind(0)

    def per_step(self, n_blocks=1):
        """Memory for a tensor of each step."""
        n_kept = self.n_steps if self.keep else 1
        memory = torch.empty((n_kept, *self._shape, n_blocks * self.n_units), **self._options)
        return memory.expand(self.n_steps, -1, -1, -1)

    def states(self):
        """Memory for a state before and after each step, zero before the first."""
        n_kept = self.n_steps + 1 if self.keep else 1
        states = torch.zeros((n_kept, *self._shape, self.n_units), **self._options)
        return states.expand(self.n_steps + 1, -1, -1, -1)

    def enter(self, t, masks):
        """Write the hidden state before step `t`, after dropout, to the inputs of that step."""
        if t < len(masks):
            torch.mul(self.hidden_rows[t], masks[t], out=self.entering_rows[t])

    def chunks(self, n_steps):
        """Pairs (start, stop) of steps, from the last to the first."""
        size = max(1, _CHUNK_VALUES // self.sums[0].numel())
        for stop in range(n_steps, 0, -size):
            yield max(0, stop - size), stop
