"""The limit of a perceptron's training: matrix products, random bits and Adam, nothing else.

The kernels are those of the compiled loop, on the shapes of a work and in blocks of as many rows.
The other work of a real step is left out: gathering rows, activations, masks, loss, transposed
copies, gradients of biases that do not come with those of weights. A faster kernel lowers the limit
too: it says what the rest of a step costs, not how good the kernels are. Importing this module
imports Numba.
"""

from itertools import pairwise

import numpy as np
from numba.core import types

from sklearn_dropout.perceptron.compile import entry, inner
from sklearn_dropout.perceptron.layout import aligned_zeros, full_lines, rows_of_block
from sklearn_dropout.perceptron.noise import draw
from sklearn_dropout.perceptron.passes import one_output, weighted_rows
from sklearn_dropout.perceptron.single import backward_of_one
from sklearn_dropout.perceptron.tiles import multiply
from sklearn_dropout.perceptron.updates import adam
from sklearn_dropout.perceptron.views import matrix, vector

from ._timing import seconds

# Columns of the table of layers: sizes, then places in the parameters and in the work space.
N_IN, N_OUT, WEIGHTS, OUTPUTS, DELTAS, TURNED, BIASES = range(7)
SPARE = 16  # numbers that the tiles may read past the end


@inner(types.void)
def multiply_block(layers, X, first_row, n_rows, params, gradient, work, overwrite):
    """The products of a block of rows, forward and backward."""
    n_layers = layers.shape[0]
    for layer in range(n_layers):
        n_in, n_out = layers[layer, N_IN], layers[layer, N_OUT]
        x = matrix(X, first_row * n_in, n_rows, n_in)
        if layer > 0:
            x = matrix(work, layers[layer - 1, OUTPUTS], n_rows, n_in)
        if n_out == 1:
            w = vector(params, layers[layer, WEIGHTS], n_in)
            one_output(x, w, w[0], vector(work, layers[layer, OUTPUTS], n_rows))
        else:
            w = matrix(params, layers[layer, WEIGHTS], n_in, n_out)
            out = matrix(work, layers[layer, OUTPUTS], n_rows, n_out)
            multiply(out, vector(work, 0, n_out), 0, x, False, w)
    for layer in range(n_layers - 1, -1, -1):
        n_in, n_out = layers[layer, N_IN], layers[layer, N_OUT]
        x = matrix(X, first_row * n_in, n_rows, n_in)
        if layer > 0:
            x = matrix(work, layers[layer - 1, OUTPUTS], n_rows, n_in)
        d = matrix(work, layers[layer, DELTAS], n_rows, n_out)
        column, g = vector(d, 0, n_rows), vector(gradient, layers[layer, WEIGHTS], n_in * n_out)
        if n_out == 1 and layer > 0:
            w, inputs = vector(params, layers[layer, WEIGHTS], n_in), vector(x, 0, n_rows * n_in)
            below = vector(work, layers[layer - 1, DELTAS], n_rows * n_in)
            bias = vector(work, layers[layer, BIASES], n_in)
            backward_of_one(True, column, w, inputs, inputs, w[0], below, g, bias, overwrite)
            continue
        if n_out == 1:
            weighted_rows(x, column, True, g, overwrite)
        else:
            sums = vector(work, 0, n_out) if overwrite else g
            multiply(matrix(g, 0, n_in, n_out), sums, 0 if overwrite else n_out, x, True, d)
        if layer > 0:
            below = matrix(work, layers[layer - 1, DELTAS], n_rows, n_in)
            turned = matrix(work, layers[layer, TURNED], n_out, n_in)
            multiply(below, vector(work, 0, n_in), 0, d, False, turned)


@entry
def epochs(n_epochs, layers, batch, block, X, params, gradient, first, second, work, state, words):
    """What `n_epochs` epochs cannot do without.

    Parameters
    ----------
    layers : int64 array of shape (n_layers, 7)
    X : array of shape (n_rows, n_features)
    params, gradient, first, second : arrays of shape (n_weights + SPARE,)
    work : array of shape (n_numbers,)
        Begins with zeros.
    state : uint64 array of shape (4,)
    words : uint64 array of shape (n_words,)
    """
    real = params.dtype.type
    n_rows, size = X.shape[0], params.size - SPARE
    p, g = vector(params, 0, size), vector(gradient, 0, size)
    m, v = vector(first, 0, size), vector(second, 0, size)
    for _ in range(n_epochs):
        for start in range(0, n_rows, batch):
            draw(state, words)
            n_batch = min(batch, n_rows - start)
            for r0 in range(0, n_batch, block):
                n = min(block, n_batch - r0)
                multiply_block(layers, X, start + r0, n, params, gradient, work, r0 == 0)
            # A learning rate of zero: the numbers stay those of a network.
            adam(
                p, g, m, v, real(0), real(1), real(0.9), real(0.1), real(0.999), real(0.001),
                real(0), real(1), real(1e-8),
            )  # fmt: skip


def limit(X, sizes, batch_size, n_epochs, drops):
    """Seconds of an epoch.

    Parameters
    ----------
    X : float32 ndarray of shape (n_rows, n_features)
    sizes : tuple of int
        Units of every layer, the features first.
    batch_size, n_epochs : int
    drops : bool
        Whether random bits are drawn, 16 for each hidden unit of each row of a batch.
    """
    batch = min(batch_size, len(X))
    block = rows_of_block(sizes, batch)
    layers, n_weights, n_work = layout(sizes, block)
    rng = np.random.default_rng(0)
    params, gradient, first, second = (
        aligned_zeros(n_weights + SPARE, np.float32) for _ in range(4)
    )
    work = aligned_zeros(n_work, np.float32)
    for numbers in (params, work[max(sizes) :]):
        numbers[:] = rng.standard_normal(numbers.size) / 10
    state = np.random.SFC64(0).state["state"]["state"].copy()
    words = np.zeros(-(-batch * sum(sizes[1:-1]) // 4) if drops else 0, dtype=np.uint64)
    arrays = X, params, gradient, first, second, work, state, words
    epochs(0, layers, batch, block, *arrays)  # compiles, or loads what has been compiled
    return seconds(lambda: epochs(n_epochs, layers, batch, block, *arrays)) / n_epochs


def layout(sizes, block):
    """Table of layers, number of weights and size of the work space."""
    layers = np.zeros((len(sizes) - 1, BIASES + 1), dtype=np.int64)
    n_weights, n_work = 0, full_lines(max(sizes) + SPARE)
    for row, (n_in, n_out) in zip(layers, pairwise(sizes), strict=True):
        row[[N_IN, N_OUT, WEIGHTS]] = n_in, n_out, n_weights
        n_weights += n_in * n_out
        for place, n_numbers in (
            (OUTPUTS, block * n_out),
            (DELTAS, block * n_out),
            (TURNED, n_in * n_out),
            (BIASES, n_in),
        ):
            row[place] = n_work
            n_work += full_lines(n_numbers)
    return layers, n_weights, n_work + SPARE
