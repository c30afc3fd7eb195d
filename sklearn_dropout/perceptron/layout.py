"""Positions of the numbers of a network and of its step in flat arrays.

The compiled functions take few arrays, each of one type: integers are in `layers` and `counts`,
real numbers in `settings` and `plan`.
"""

from functools import lru_cache
from itertools import accumulate, pairwise

import numpy as np

from .tiles import LANES

_LINE = 64  # bytes of a cache line
_NUMBERS = _LINE // 4  # in single precision

# Columns of `layers`, one row for each layer of weights.
N_IN, N_OUT, WEIGHTS, BIASES, SUMS, SLOPES, DELTAS, TURNED, LANES_AT, LOWEST = range(10)
N_COLUMNS = 10

# Places in `counts`.
(
    ACTIVATION,
    LOSS,
    SOLVER,
    NESTEROV,
    BATCH,
    N_ROWS,
    BLOCK,
    SPARSE,
    WEIGHTED,
    N_WEIGHTS,
    N_PARAMETERS,
    STEPS_DONE,
    DROPS_INPUT,
    DROPS_GROUPS,
    ADDS_NOISE,
    N_GROUPS,
    LOWEST_INPUT,
    LOWEST_GROUPS,
    WORDS_INPUT,
    WORDS_GROUPS,
    WORDS_HIDDEN,
    WORDS_NOISE,
    KIND,
    INPUTS,
    TARGETS,
    ZEROS,
    N_ZEROS,
    SQUARES,
    N_PARTS,
    N_COUNTS,
) = range(30)

# Places in `settings`, in float64; after the last come numbers of each hidden layer.
(
    LEARNING_RATE,
    ALPHA,
    BETA_1,
    BETA_2,
    EPSILON,
    MOMENTUM,
    MAX_NORM,
    INPUT_NOISE,
    QUANTILE,
    SCALE_INPUT,
    SCALE_GROUPS,
    SCALE_HIDDEN,
) = range(12)

# Columns of `plan`, one row for each epoch; after the last come `LOWEST` of all hidden layers, and
# the factors of what they keep.
(
    PLAN_RATE,
    PLAN_SCALE_INPUT,
    PLAN_SCALE_GROUPS,
    PLAN_WORDS_INPUT,
    PLAN_WORDS_GROUPS,
    PLAN_WORDS_HIDDEN,
    PLAN_LOWEST_INPUT,
    PLAN_LOWEST_GROUPS,
    PLAN_HIDDEN,
) = range(9)

_CACHED = 40_000  # numbers of one block of rows, which should stay in the second-level cache
_SMALL = 20_000  # weights; larger networks should be read as rarely as possible


def rows_of_block(sizes, batch_size):
    """Number of rows that pass through all layers as one block.

    Parameters
    ----------
    sizes : tuple of int
        Features, zero for sparse rows; hidden units, outputs.
    batch_size : int
    """
    n_weights = sum(a * b for a, b in pairwise(sizes))
    if n_weights > _SMALL:
        return max(1, min(batch_size, 128))
    per_row = sizes[0] + 3 * sum(sizes[1:])
    return max(1, min(batch_size, max(8, _CACHED // per_row // 4 * 4)))


def network_layout(sizes):
    """Places of weights and biases.

    Parameters
    ----------
    sizes : tuple of int
        Features, hidden units, outputs.

    Returns
    -------
    layers : int64 ndarray of shape (n_layers, N_COLUMNS)
    """
    layers = np.zeros((len(sizes) - 1, N_COLUMNS), dtype=np.int64)
    layers[:, N_IN], layers[:, N_OUT] = sizes[:-1], sizes[1:]
    *weights, biases = accumulate((a * b for a, b in pairwise(sizes)), initial=0)
    layers[:, WEIGHTS] = weights
    layers[:, BIASES] = list(accumulate(sizes[1:-1], initial=biases))
    return layers


def step_layout(sizes, batch_size, n_parts, is_sparse):
    """The layout of a network and of its steps.

    Parameters
    ----------
    sizes : tuple of int
        Features, hidden units, outputs.
    batch_size : int
    n_parts : int
        Threads among which the rows of a batch are split.
    is_sparse : bool
        Whether the rows are sparse.

    Returns
    -------
    layers : int64 ndarray of shape (n_layers, N_COLUMNS)
    counts : int64 ndarray of shape (N_COUNTS,)
        Zeros where it is not the layout that determines them.
    n_numbers : int
        Size of the work space.
    """
    layers, counts, n_numbers = _step_layout(sizes, batch_size, n_parts, is_sparse)
    return layers.copy(), counts.copy(), n_numbers


@lru_cache(64)  # a search trains many networks of a few shapes
def _step_layout(sizes, batch_size, n_parts, is_sparse):
    layers, counts = network_layout(sizes), np.zeros(N_COUNTS, dtype=np.int64)
    *firsts, _ = accumulate(sizes[1:-1], initial=0)
    layers[:-1, LANES_AT] = [batch_size * first for first in firsts]
    counts[BATCH], counts[N_PARTS], counts[SPARSE] = batch_size, n_parts, is_sparse
    counts[N_WEIGHTS] = layers[0, BIASES]
    counts[N_PARAMETERS] = counts[N_WEIGHTS] + sum(sizes[1:])
    dense = (0 if is_sparse else sizes[0], *sizes[1:])
    counts[BLOCK] = rows_of_block(dense, -(-batch_size // n_parts))
    return layers, counts, work_layout(layers, counts)


def full_lines(n_numbers):
    """The number rounded up, so that what follows begins with a cache line too."""
    return -(-n_numbers // _NUMBERS) * _NUMBERS


def aligned_zeros(n_numbers, dtype):
    """Zeros that begin with a cache line.

    A load that crosses two lines takes twice as long; NumPy only aligns to a quarter of a line.
    """
    n_bytes = n_numbers * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + _LINE, dtype=np.uint8)
    first = -memory.__array_interface__["data"][0] % _LINE
    return memory[first : first + n_bytes].view(dtype)


def work_layout(layers, counts):
    """Set the positions of the intermediate results of a block of rows for each part.

    Returns
    -------
    n_numbers : int
        Size of the work space.
    """
    block, at = int(counts[BLOCK] * counts[N_PARTS]), 0

    def take(n_numbers):
        nonlocal at
        first = at
        at += full_lines(n_numbers)
        return first

    sizes = layers[:, :2].tolist()
    n_features, n_outputs = sizes[0][0], sizes[-1][1]
    counts[N_ZEROS] = n_zeros = max(map(max, sizes)) + LANES
    counts[ZEROS] = take(n_zeros)
    counts[SQUARES] = take(max(n_out for _, n_out in sizes))
    counts[INPUTS] = take(0 if counts[SPARSE] else block * n_features)
    counts[TARGETS] = take(block * n_outputs)
    layers[:, [SUMS, SLOPES, DELTAS]] = [
        [take(block * n_out) for _ in range(3)] for _, n_out in sizes
    ]
    layers[1:, TURNED] = [take(n_in * n_out) for n_in, n_out in sizes[1:]]
    return at + 2 * LANES


def of_parts(layers, counts):
    """The same for each of the threads that share steps, which have blocks of their own.

    Returns
    -------
    layers : int64 ndarray of shape (n_parts, n_layers, N_COLUMNS)
    counts : int64 ndarray of shape (n_parts, N_COUNTS)
    """
    n_parts, block = int(counts[N_PARTS]), counts[BLOCK]
    n_in, n_out = layers[0, N_IN], layers[:, [N_OUT]]
    layers, counts = layers[None].repeat(n_parts, axis=0), counts[None].repeat(n_parts, axis=0)
    for part in range(1, n_parts):
        counts[part, INPUTS] += part * block * n_in
        counts[part, TARGETS] += part * block * n_out[-1, 0]
        layers[part][:, [SUMS, SLOPES, DELTAS]] += part * block * n_out
    return layers, counts
