"""Positions of the numbers of a network and of its step in flat arrays.

The compiled functions take few arrays, each of one type: integers are in `layers` and `counts`,
real numbers in `settings` and `plan`.
"""

from itertools import pairwise

import numpy as np

from .tiles import LANES

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
    N_FULL,
    BLOCK,
    SPARSE,
    WEIGHTED,
    N_WEIGHTS,
    N_PARAMETERS,
    STEPS_DONE,
    DROPS_INPUT,
    DROPS_GROUPS,
    DROPS_HIDDEN,
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
) = range(32)

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

# Phases of a step.
DRAW, PASS, UPDATE, BOUND = 1, 2, 4, 8
WHOLE = DRAW | PASS | UPDATE | BOUND

_CACHED = 40_000  # numbers of one block of rows, which should stay in the second-level cache
_SMALL = 20_000  # weights; larger networks should be read as rarely as possible


def rows_of_block(sizes, batch_size):
    """Number of rows that pass through all layers as one block.

    Parameters
    ----------
    sizes : list of int
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
    sizes : list of int
        Features, hidden units, outputs.

    Returns
    -------
    layers : int64 ndarray of shape (n_layers, N_COLUMNS)
    """
    layers = np.zeros((len(sizes) - 1, N_COLUMNS), dtype=np.int64)
    layers[:, N_IN], layers[:, N_OUT] = sizes[:-1], sizes[1:]
    products = layers[:, N_IN] * layers[:, N_OUT]
    layers[:, WEIGHTS] = np.cumsum(products) - products
    layers[:, BIASES] = products.sum() + np.cumsum(layers[:, N_OUT]) - layers[:, N_OUT]
    return layers


def work_layout(layers, counts):
    """Set the positions of the intermediate results of a block of rows.

    Returns
    -------
    n_numbers : int
        Size of the work space.
    """
    block, at = int(counts[BLOCK]), 0

    def take(n_numbers):
        nonlocal at
        first = at
        at += -(-n_numbers // 16) * 16
        return first

    n_features, n_outputs = int(layers[0, N_IN]), int(layers[-1, N_OUT])
    counts[N_ZEROS] = layers[:, :2].max() + LANES
    counts[ZEROS] = take(int(counts[N_ZEROS]))
    counts[SQUARES] = take(int(layers[:, N_OUT].max()))
    counts[INPUTS] = take(0 if counts[SPARSE] else block * n_features)
    counts[TARGETS] = take(block * n_outputs)
    for layer in layers:
        for place in (SUMS, SLOPES, DELTAS):
            layer[place] = take(block * int(layer[N_OUT]))
    for layer in layers[1:]:
        layer[TURNED] = take(int(layer[N_IN] * layer[N_OUT]))
    return at + 2 * LANES


def part_of_block(layers, counts, first):
    """The positions for a thread whose rows begin with row `first` of the block."""
    layers, counts = layers.copy(), counts.copy()
    counts[INPUTS] += first * layers[0, N_IN]
    counts[TARGETS] += first * layers[-1, N_OUT]
    layers[:, [SUMS, SLOPES, DELTAS]] += first * layers[:, [N_OUT]]
    return layers, counts
