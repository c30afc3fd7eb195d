"""The passes of a block of rows through the layers of a perceptron, forward and backward."""

import numpy as np
from numba.core import types

from . import layout as at
from .compile import inner
from .functions import IDENTITY, RELU, activate, drop, relu, slopes
from .losses import add_noise, loss_rows
from .noise import BERNOULLI, perturb
from .single import backward_of_one
from .sparse import add_sparse_gradient, sparse_sums
from .tiles import multiply
from .views import matrix, vector


@inner(types.void, inline=True)
def forward(
    counts, layers, settings, X, starts, indices, groups, places, params, work, lanes, n_rows, r0,
    training,
):  # fmt: skip
    """Pass a block of rows forward through all layers; dense rows are in `work`.

    Parameters
    ----------
    X, starts, indices, groups, places : arrays
        For sparse rows, see `sparse_sums`.
    lanes : int16 array
        Random numbers of a step, for all rows of the batch.
    n_rows, r0 : int
        Rows of the block, and its first one.
    training : bool
        Whether dropout is on.
    """
    n_layers = layers.shape[0]
    of_hidden = 4 * (counts[at.WORDS_INPUT] + counts[at.WORDS_GROUPS])
    source = counts[at.INPUTS]
    for i in range(n_layers):
        n_in, n_out = layers[i, at.N_IN], layers[i, at.N_OUT]
        x = matrix(work, source, n_rows, n_in)
        b = vector(params, layers[i, at.BIASES], n_out)
        source = layers[i, at.SUMS]
        if i == 0 and counts[at.SPARSE]:
            sparse_sums(
                counts, settings, X, starts, indices, groups, lanes, places, r0,
                matrix(params, layers[i, at.WEIGHTS], n_in, n_out), b,
                matrix(work, source, n_rows, n_out),
            )  # fmt: skip
        elif n_out == 1:
            w = vector(params, layers[i, at.WEIGHTS], n_in)
            one_output(x, w, b[0], vector(work, source, n_rows))
        else:
            w = matrix(params, layers[i, at.WEIGHTS], n_in, n_out)
            multiply(matrix(work, source, n_rows, n_out), b, 0, x, False, w)
        if i < n_layers - 1:
            n = n_rows * n_out
            h, slope = vector(work, source, n), vector(work, layers[i, at.SLOPES], n)
            here = vector(lanes, of_hidden + layers[i, at.LANES_AT] + r0 * n_out, n)
            lowest = np.int16(layers[i, at.LOWEST])
            scale = work.dtype.type(settings[at.SCALE_HIDDEN + i])
            drops = training and layers[i, at.LOWEST] > -32768
            if counts[at.KIND] != BERNOULLI:
                activate(counts[at.ACTIVATION], h, slope)
                if drops:
                    shift = work.dtype.type(settings[at.SCALE_HIDDEN + n_layers - 1 + i])
                    perturb(counts[at.KIND], h, slope, here, lowest, scale, shift)
            elif counts[at.ACTIVATION] == RELU:
                relu(h, here, drops, lowest, scale)
            else:
                activate(counts[at.ACTIVATION], h, slope)
                if drops:
                    drop(h, slope, here, lowest, scale)


@inner(types.void)
def one_output(x, w, bias, z):
    """Sums of a layer with one unit, four rows at a time.

    Parameters
    ----------
    x : array of shape (n_rows, n_in)
    w : array of shape (n_in,)
    bias : number
    z : array of shape (n_rows,)
    """
    n_rows, n_in = x.shape
    zero = x.dtype.type(0)
    for i in range(0, n_rows, 4):
        # Rows past the end repeat the last one.
        j_1, j_2, j_3 = min(i + 1, n_rows - 1), min(i + 2, n_rows - 1), min(i + 3, n_rows - 1)
        x_0, x_1 = vector(x, i * n_in, n_in), vector(x, j_1 * n_in, n_in)
        x_2, x_3 = vector(x, j_2 * n_in, n_in), vector(x, j_3 * n_in, n_in)
        s_0, s_1, s_2, s_3 = zero, zero, zero, zero
        for k in range(n_in):
            s_0 += w[k] * x_0[k]
            s_1 += w[k] * x_1[k]
            s_2 += w[k] * x_2[k]
            s_3 += w[k] * x_3[k]
        z[i] = s_0 + bias
        z[j_1] = s_1 + bias
        z[j_2] = s_2 + bias
        z[j_3] = s_3 + bias


@inner(types.void)
def weighted_rows(x, d, weighted, g, overwrite):
    """Sum of the rows of `x`, each times its number in `d`, four rows at a time.

    Parameters
    ----------
    x : array of shape (n_rows, n)
    d : array of shape (n_rows,)
    weighted : bool
        Whether to multiply by `d`.
    g : array of shape (n,)
        Receives the sums.
    overwrite : bool
        Whether to replace `g` rather than add to it.
    """
    n_rows, n = x.shape
    one, zero = x.dtype.type(1), x.dtype.type(0)
    if overwrite:
        for k in range(n):
            g[k] = zero
    for i in range(0, n_rows, 4):
        # Rows past the end repeat the last one, times zero.
        j_1, j_2, j_3 = min(i + 1, n_rows - 1), min(i + 2, n_rows - 1), min(i + 3, n_rows - 1)
        x_0, x_1 = vector(x, i * n, n), vector(x, j_1 * n, n)
        x_2, x_3 = vector(x, j_2 * n, n), vector(x, j_3 * n, n)
        d_0, d_1, d_2, d_3 = one, one, one, one
        if weighted:
            d_0, d_1, d_2, d_3 = d[i], d[j_1], d[j_2], d[j_3]
        d_1 = d_1 if j_1 > i else zero
        d_2 = d_2 if j_2 > j_1 else zero
        d_3 = d_3 if j_3 > j_2 else zero
        for k in range(n):
            g[k] += (d_0 * x_0[k] + d_1 * x_1[k]) + (d_2 * x_2[k] + d_3 * x_3[k])


@inner(types.void, inline=True)
def backward(counts, layers, settings, params, gradient, work, n_rows, overwrite):
    """Derivatives with respect to the sums of all layers, from those of the outputs, in `work`.

    Layers with one unit leave the gradient of their weights and of the biases before, too.

    Parameters
    ----------
    gradient : array of shape (n_parameters,)
    overwrite : bool
        Whether to replace what it has rather than add to it.
    """
    # Only with relu and masks does the sign tell the slope.
    kind = counts[at.ACTIVATION] if counts[at.KIND] == BERNOULLI else IDENTITY
    zeros = vector(work, counts[at.ZEROS], counts[at.N_ZEROS])
    for i in range(layers.shape[0] - 1, 0, -1):
        n_in, n_out = layers[i, at.N_IN], layers[i, at.N_OUT]
        source, there, slope_at = (
            layers[i - 1, at.SUMS],
            layers[i - 1, at.DELTAS],
            layers[i - 1, at.SLOPES],
        )
        scale = work.dtype.type(settings[at.SCALE_HIDDEN + i - 1])
        n = n_rows * n_in
        h, slope, below = vector(work, source, n), vector(work, slope_at, n), vector(work, there, n)
        if n_out == 1:
            backward_of_one(
                kind == RELU,
                vector(work, layers[i, at.DELTAS], n_rows),
                vector(params, layers[i, at.WEIGHTS], n_in),
                h, slope, scale, below,
                vector(gradient, layers[i, at.WEIGHTS], n_in),
                vector(gradient, layers[i - 1, at.BIASES], n_in),
                overwrite,
            )  # fmt: skip
        else:
            d = matrix(work, layers[i, at.DELTAS], n_rows, n_out)
            turned = matrix(work, layers[i, at.TURNED], n_out, n_in)
            multiply(matrix(work, there, n_rows, n_in), zeros, 0, d, False, turned)
            slopes(kind, below, h, slope, scale)


@inner(types.void, inline=True)
def add_gradient(
    counts, layers, settings, X, starts, indices, groups, places, gradient, work, lanes, n_rows,
    r0, overwrite,
):  # fmt: skip
    """Compute the gradient of a block of rows from the results of its passes in `work`.

    It is the product of a layer's inputs and the derivatives with respect to its sums. `backward`
    has done some of it.

    Parameters
    ----------
    X, starts, indices, groups, places, lanes, r0
        For sparse rows, see `sparse_sums`.
    gradient : array of shape (n_parameters,)
    overwrite : bool
        Whether to replace what it has rather than add to it; with sparse rows the gradient of the
        first layer is always added.
    """
    zeros = vector(work, counts[at.ZEROS], counts[at.N_ZEROS])
    for i in range(layers.shape[0]):
        n_in, n_out = layers[i, at.N_IN], layers[i, at.N_OUT]
        x = matrix(work, counts[at.INPUTS] if i == 0 else layers[i - 1, at.SUMS], n_rows, n_in)
        d = matrix(work, layers[i, at.DELTAS], n_rows, n_out)
        column = vector(work, layers[i, at.DELTAS], n_rows)
        here = vector(gradient, layers[i, at.WEIGHTS], n_in * n_out)
        if i == 0 and counts[at.SPARSE]:
            add_sparse_gradient(
                counts, settings, X, starts, indices, groups, lanes, places, r0, d,
                matrix(here, 0, n_in, n_out),
            )  # fmt: skip
        elif n_out > 1:
            sums, n_row = (zeros, 0) if overwrite else (here, n_out)
            multiply(matrix(here, 0, n_in, n_out), sums, n_row, x, True, d)
        elif i == 0:
            weighted_rows(x, column, True, here, overwrite)
        if i == layers.shape[0] - 1 or layers[i + 1, at.N_OUT] > 1:
            b = vector(gradient, layers[i, at.BIASES], n_out)
            weighted_rows(d, column, False, b, overwrite)


@inner(types.float64, inline=True)
def loss_of_block(counts, layers, settings, work, weight, unit, n_rows, sums, last):
    """Loss of a block of rows after the forward pass, and its derivatives in `work`.

    Parameters
    ----------
    weight : float64 array of shape (n_rows,)
    unit : float
        Factor that scales the weights of the batch to a sum of one.
    sums : float64 array of shape (2, n_targets)
        Receives the sums of `add_noise`, if `last`.

    Returns
    -------
    loss : float
        Weighted sum over the rows.
    """
    output = layers.shape[0] - 1
    n_outputs = layers[output, at.N_OUT]
    z = matrix(work, layers[output, at.SUMS], n_rows, n_outputs)
    y = matrix(work, counts[at.TARGETS], n_rows, n_outputs)
    d = matrix(work, layers[output, at.DELTAS], n_rows, n_outputs)
    loss = loss_rows(counts[at.LOSS], z, y, d, weight, settings[at.QUANTILE])
    if last:
        add_noise(counts[at.LOSS], z, y, weight, sums)
    for i in range(n_rows):
        factor = work.dtype.type(weight[i] * unit)
        for o in range(n_outputs):
            d[i, o] *= factor
    return loss
