"""Rows, targets and weights of the networks of a stack, and the batches made of them."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

# Data of different folds are put into one matrix below this many values.
_POOLED_VALUES = 8_000_000
# Inputs, targets and masks of a block of steps should stay in a core's cache together.
_BLOCK_VALUES = 128_000
# Large stacks exceed that, up to so many times, for fewer blocks of more than a step.
_LARGE_BLOCKS = 8


@dataclass
class Sample:
    """Rows that one network is trained or validated on.

    Attributes
    ----------
    X : float32 ndarray or CSR matrix of shape (n_total, n_features)
        Held as it came; networks of a stack may share it.
    rows : int64 ndarray of shape (n_rows,)
        Which rows of `X` belong to the sample.
    targets : float32 ndarray of shape (n_codes, n_outputs)
        The different target rows there are.
    codes : int64 ndarray of shape (n_rows,)
        Which row of `targets` belongs to each row of the sample.
    weight : float64 ndarray of shape (n_rows,), or None
        Sample weights, all positive.
    n_given : int
        Rows before equal ones were merged.
    counts : bool
        Whether the weights only say how many equal rows there were.
    """

    X: object
    rows: np.ndarray
    targets: np.ndarray
    codes: np.ndarray
    weight: np.ndarray | None = None
    n_given: int = 0
    counts: bool = False

    @property
    def total_weight(self):
        """Sum of the weights; the number of rows where there are none."""
        return float(len(self.rows)) if self.weight is None else float(self.weight.sum())


@dataclass
class Block:
    """The batches of a few steps, all of one size.

    Attributes
    ----------
    x : tensor of shape (n_steps, n_networks, n_rows, n_features)
    y : tensor of shape (n_steps, n_networks, n_rows, n_outputs)
    weight : tensor of shape (n_steps, n_networks, n_rows, 1)
        Weights of the rows, with a sum of one in each batch; may be broadcast.
    total_weight : ndarray of shape (n_steps, n_networks) or (n_steps, 1)
        What they summed to before.
    """

    x: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor
    total_weight: np.ndarray

    def steps(self):
        """One tuple (x, y, weight, total_weight) for each step."""
        tensors = (t.unbind(0) for t in (self.x, self.y, self.weight))
        return list(zip(*tensors, self.total_weight))

    def repeat(self, n_steps):
        """The same batch in each of several steps, for a block of one."""
        x, y, weight = (t.expand(n_steps, -1, -1, -1) for t in (self.x, self.y, self.weight))
        return Block(x, y, weight, self.total_weight.repeat(n_steps, axis=0))


@dataclass
class Order:
    """Rows of each network in the order of training.

    Attributes
    ----------
    rows, codes : int64 ndarrays of shape (n_networks, n_rows)
    weight : float64 ndarray of shape (n_networks, n_rows), or None
    """

    rows: np.ndarray
    codes: np.ndarray
    weight: np.ndarray | None

    def part(self, start, stop):
        """The rows from `start` to `stop`."""
        weight = None if self.weight is None else self.weight[:, start:stop]
        return Order(self.rows[:, start:stop], self.codes[:, start:stop], weight)

    @staticmethod
    def join(orders):
        """One order after the other."""
        if len(orders) == 1:
            return orders[0]
        weighted = orders[0].weight is not None
        return Order(
            np.concatenate([order.rows for order in orders], axis=1),
            np.concatenate([order.codes for order in orders], axis=1),
            np.concatenate([order.weight for order in orders], axis=1) if weighted else None,
        )


class StackedSample:
    """The samples of all networks of a stack, gathered by position.

    Parameters
    ----------
    samples : list of Sample
        All with the same number of rows, features and outputs.
    dtype, device
        Of the tensors handed out.
    """

    def __init__(self, samples, *, dtype=torch.float32, device="cpu"):
        self.device = device
        self.dtype = dtype
        self.n_networks = len(samples)
        self.n_rows = len(samples[0].rows)
        self.n_features = samples[0].X.shape[1]
        self.rows = np.stack([s.rows for s in samples])
        self._pools = self._pool([s.X for s in samples])
        tables, offsets, n_codes = {}, [], 0
        for s in samples:
            if id(s.targets) not in tables:
                tables[id(s.targets)] = (n_codes, s.targets)
                n_codes += len(s.targets)
            offsets.append(tables[id(s.targets)][0])
        self.targets = self._tensor(np.concatenate([table for _, table in tables.values()]))
        self.codes = np.stack([s.codes + offset for s, offset in zip(samples, offsets)])
        self.total_weight = np.array([s.total_weight for s in samples])
        self.weight = None
        if any(s.weight is not None for s in samples):
            ones = np.ones(self.n_rows)
            self.weight = np.stack([ones if s.weight is None else s.weight for s in samples])

    def _tensor(self, array):
        return torch.as_tensor(array).to(self.device, self.dtype)

    def _pool(self, matrices):
        """Inputs of the networks: pairs (matrix, networks that read it).

        Small matrices are put into one, and `rows` moved accordingly.
        """
        distinct, networks = {id(X): X for X in matrices}, {}
        for network, X in enumerate(matrices):
            networks.setdefault(id(X), []).append(network)
        small = sum(X.shape[0] * X.shape[1] for X in distinct.values()) < _POOLED_VALUES
        if len(distinct) > 1 and small and not any(map(sparse.issparse, matrices)):
            start = 0
            for key, X in distinct.items():
                self.rows[networks[key]] += start
                start += X.shape[0]
            return [(np.concatenate(list(distinct.values())), range(len(matrices)))]
        return [(X, networks[key]) for key, X in distinct.items()]

    def _gather(self, rows):
        """Inputs of each network: (n_networks, m) row numbers to (n_networks, m, n_features)."""
        x = np.empty((*rows.shape, self.n_features), dtype=np.float32)
        for X, networks in self._pools:
            if sparse.issparse(X):
                for network in networks:
                    X[rows[network]].toarray(out=x[network])
            elif len(networks) == self.n_networks:
                np.take(X, rows, axis=0, out=x, mode="clip")
            else:
                x[networks] = X[rows[networks]]
        return self._tensor(torch.from_numpy(x))

    def order(self, positions=None):
        """Rows, codes and weights in a given order.

        Parameters
        ----------
        positions : int64 ndarray of shape (n_networks, n_rows), default=None
            For each network; ``None`` leaves the rows as they are.
        """
        arrays = (self.rows, self.codes, self.weight)
        if positions is None:
            return Order(*arrays)
        return Order(
            *(None if a is None else np.take_along_axis(a, positions, axis=1) for a in arrays)
        )

    def block(self, order, n_steps):
        """Batches of `n_steps` steps from rows in the order of training.

        Parameters
        ----------
        order : Order
            As many rows as go evenly into the steps.
        n_steps : int
        """
        n_rows = order.rows.shape[1] // n_steps
        shape = (self.n_networks, n_steps, n_rows)
        x = self._gather(order.rows)
        y = self.targets[torch.from_numpy(order.codes).to(self.device)]
        x, y = (t.view(*shape, t.shape[-1]).transpose(0, 1).contiguous() for t in (x, y))
        if order.weight is None:
            share = torch.full((1, 1, 1, 1), 1.0 / n_rows, dtype=self.dtype, device=self.device)
            return Block(x, y, share.expand(n_steps, 1, 1, 1), np.full((n_steps, 1), float(n_rows)))
        weight = order.weight.reshape(shape).swapaxes(0, 1)
        total = weight.sum(2, keepdims=True)
        return Block(x, y, self._tensor(weight / total)[..., None], total[..., 0])

    def chunks(self, max_values):
        """All rows in their own order, as blocks of one step.

        Parameters
        ----------
        max_values : int
            Inputs in one block at the most.
        """
        order = self.order()
        n_rows = max(1, max_values // (self.n_networks * self.n_features))
        for start in range(0, self.n_rows, n_rows):
            yield self.block(order.part(start, start + n_rows), 1)


class Batches:
    """Shuffled batches of a stack, in segments of a few steps that are gathered at once.

    Networks with the same stream see their rows in the same order. A training set that fits into
    one batch is gathered once and never shuffled.

    Parameters
    ----------
    sample : StackedSample
    batch_size : int
    generators : list of numpy.random.Generator, or None
        One for each stream; ``None`` leaves the rows in order.
    stream_of_network : list of int, length n_networks
        The stream each network reads.
    values_per_row : int
        Inputs, targets and masks of one row of one network.
    """

    def __init__(self, sample, batch_size, generators, stream_of_network, values_per_row):
        self.sample = sample
        self.batch_size = min(batch_size, sample.n_rows)
        self.generators = generators
        self.stream_of_network = stream_of_network
        per_step = self.batch_size * sample.n_networks * values_per_row
        several = min(_LARGE_BLOCKS, _LARGE_BLOCKS * _BLOCK_VALUES // per_step)
        self._max_steps = max(1, several, _BLOCK_VALUES // per_step)
        self._in_order = sample.order()
        self._whole = None
        if self.n_steps == 1:
            self._whole = sample.block(self._in_order, 1)

    @property
    def n_steps(self):
        """Steps in an epoch."""
        return -(-self.sample.n_rows // self.batch_size)

    @property
    def max_epochs(self):
        """Epochs that a segment can hold."""
        return max(1, self._max_steps // self.n_steps)

    def segments(self, n_epochs):
        """Yield what to train on in the next epochs.

        Parameters
        ----------
        n_epochs : int
            At most `max_epochs`.

        Yields
        ------
        segment : list of Block
            Blocks whose steps alternate: in each epoch the steps of the first, then of the next.
        """
        if self._whole is not None:
            yield [self._whole.repeat(n_epochs)]
            return
        n_full, rest = divmod(self.sample.n_rows, self.batch_size)
        n_full_rows = n_full * self.batch_size
        orders = [self._next_order() for _ in range(n_epochs)]
        if self.n_steps <= self._max_steps:
            full = Order.join([order.part(0, n_full_rows) for order in orders])
            last = Order.join([order.part(n_full_rows, None) for order in orders])
            segment = [self.sample.block(full, n_epochs * n_full)]
            yield segment + ([self.sample.block(last, n_epochs)] if rest else [])
            return
        (order,) = orders
        for first in range(0, n_full, self._max_steps):
            n_steps = min(self._max_steps, n_full - first)
            start = first * self.batch_size
            rows = order.part(start, start + n_steps * self.batch_size)
            yield [self.sample.block(rows, n_steps)]
        if rest:
            yield [self.sample.block(order.part(n_full_rows, None), 1)]

    def _next_order(self):
        if self.generators is None:
            return self._in_order
        positions = np.stack([g.permutation(self.sample.n_rows) for g in self.generators])
        return self.sample.order(positions[self.stream_of_network])
