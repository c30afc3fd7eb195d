"""The compiled training loop of one perceptron."""

import numpy as np
from numba.core import types

from . import layout as at
from .compile import entry, inner
from .noise import GAUSSIAN, add_normals, draw, perturb_inputs
from .passes import add_gradient, backward, forward, loss_of_block
from .sparse import clear_sparse_gradient
from .team import wait_for_all
from .updates import apply_max_norm, end_step, fill
from .views import matrix, vector


@inner(types.void)
def gather(X, rows, out):
    """Dense rows of the data, one after another.

    Parameters
    ----------
    X : array
    rows : int64 array of shape (n_rows,)
    out : array of shape (n_rows, n_features)
    """
    n_rows, n_features = out.shape
    for i in range(n_rows):
        row = vector(X, rows[i] * n_features, n_features)
        for k in range(n_features):
            out[i, k] = row[k]


@inner(types.void)
def turn(params, layers, work):
    """Copy the weights that derivatives pass through, transposed, to `work`."""
    for i in range(1, layers.shape[0]):
        n_in, n_out = layers[i, at.N_IN], layers[i, at.N_OUT]
        w = matrix(params, layers[i, at.WEIGHTS], n_in, n_out)
        copy = matrix(work, layers[i, at.TURNED], n_out, n_in)
        if n_out > 1:
            for first in range(0, n_in, 16):
                for o in range(n_out):
                    for k in range(first, min(first + 16, n_in)):
                        copy[o, k] = w[k, o]


@inner(types.void)
def drop_inputs(counts, settings, groups, x, of_inputs, of_groups):
    """Dropout of single inputs and of groups of inputs.

    Parameters
    ----------
    groups : int64 array of shape (n_features,)
        Group of each input.
    x : array of shape (n_rows, n_features)
    of_inputs, of_groups : int16 arrays of shape (n_rows, n_features) and (n_rows, n_groups)
        Random numbers.
    """
    n_rows, n_features = x.shape
    n_numbers = n_rows * n_features
    zero = x.dtype.type(0)
    scale = x.dtype.type(settings[at.SCALE_INPUT])
    lowest, lowest_group = np.int16(counts[at.LOWEST_INPUT]), np.int16(counts[at.LOWEST_GROUPS])
    if counts[at.DROPS_INPUT]:
        inputs, lanes = vector(x, 0, n_numbers), vector(of_inputs, 0, n_numbers)
        for q in range(n_numbers):
            inputs[q] = inputs[q] * scale if lanes[q] >= lowest else zero
        scale = x.dtype.type(1)
    if counts[at.DROPS_GROUPS]:
        for i in range(n_rows):
            for k in range(n_features):
                x[i, k] = x[i, k] * scale if of_groups[i, groups[k]] >= lowest_group else zero


@inner(types.float64)
def weight_of_batch(is_weighted, weight, order):
    """Sum of the weights of the rows of a batch."""
    if not is_weighted:
        return float(order.size)
    total = 0.0
    for i in range(order.size):
        total += weight[order[i]]
    return total


@inner(types.void)
def follow_plan(counts, layers, settings, row):
    """Set the learning rate and the dropout rates of an epoch.

    Parameters
    ----------
    row : float64 array of shape (n_columns,)
        Of the plan.
    """
    settings[at.LEARNING_RATE] = row[at.PLAN_RATE]
    settings[at.SCALE_INPUT] = row[at.PLAN_SCALE_INPUT]
    settings[at.SCALE_GROUPS] = row[at.PLAN_SCALE_GROUPS]
    counts[at.WORDS_INPUT] = int(row[at.PLAN_WORDS_INPUT])
    counts[at.WORDS_GROUPS] = int(row[at.PLAN_WORDS_GROUPS])
    counts[at.WORDS_HIDDEN] = int(row[at.PLAN_WORDS_HIDDEN])
    counts[at.DROPS_INPUT] = counts[at.WORDS_INPUT] > 0
    counts[at.DROPS_GROUPS] = counts[at.WORDS_GROUPS] > 0
    counts[at.LOWEST_INPUT] = int(row[at.PLAN_LOWEST_INPUT])
    counts[at.LOWEST_GROUPS] = int(row[at.PLAN_LOWEST_GROUPS])
    n_hidden = layers.shape[0] - 1
    for i in range(n_hidden):
        layers[i, at.LOWEST] = int(row[at.PLAN_HIDDEN + i])
        settings[at.SCALE_HIDDEN + i] = row[at.PLAN_HIDDEN + n_hidden + i]
        settings[at.SCALE_HIDDEN + n_hidden + i] = row[at.PLAN_HIDDEN + 2 * n_hidden + i]


@inner(types.void, inline=True)
def begin_step(counts, layers, params, work, states, words):
    """Draw the masks of a step, and copy the weights for the backward pass."""
    w_groups = counts[at.WORDS_INPUT]
    w_hidden = w_groups + counts[at.WORDS_GROUPS]
    draw(vector(states, 0, 4), vector(words, 0, w_groups))
    draw(vector(states, 4, 4), vector(words, w_groups, counts[at.WORDS_GROUPS]))
    w_noise = w_hidden + counts[at.WORDS_HIDDEN]
    draw(vector(states, 8, 4), vector(words, w_hidden, counts[at.WORDS_HIDDEN]))
    draw(vector(states, 12, 4), vector(words, w_noise, counts[at.WORDS_NOISE]))
    turn(params, layers, work)


@inner(types.void, inline=True)
def read_block(
    counts, layers, settings, X, groups, targets, codes, weight, order, here, work, lanes,
    row_weight, r0,
):  # fmt: skip
    """Read the targets and weights of a block of rows, and its inputs if they are dense.

    Parameters
    ----------
    here : int64 array of shape (n_rows,)
        Positions of these rows in the data.
    r0 : int
        Position of the first one in the batch.
    """
    n, n_groups, w_groups = here.size, counts[at.N_GROUPS], counts[at.WORDS_INPUT]
    n_features, n_outputs = layers[0, at.N_IN], layers[layers.shape[0] - 1, at.N_OUT]
    y = matrix(work, counts[at.TARGETS], n, n_outputs)
    for i in range(n):
        position = order[r0 + i]
        if counts[at.WEIGHTED]:
            row_weight[i] = weight[position]
        for o in range(n_outputs):
            y[i, o] = targets[codes[position], o]
    if counts[at.SPARSE]:
        return
    x = matrix(work, counts[at.INPUTS], n, n_features)
    gather(X, here, x)
    of_inputs = matrix(lanes, r0 * n_features, n, n_features)
    of_groups = matrix(lanes, 4 * w_groups + r0 * n_groups, n, n_groups)
    if counts[at.ADDS_NOISE]:
        first = w_groups + counts[at.WORDS_GROUPS] + counts[at.WORDS_HIDDEN]
        n_numbers = n * n_features
        noise = vector(lanes, 4 * first + r0 * n_features, n_numbers)
        inputs = vector(work, counts[at.INPUTS], n_numbers)
        add_normals(inputs, noise, work.dtype.type(settings[at.INPUT_NOISE]))
    if counts[at.KIND] == GAUSSIAN:
        perturb_inputs(counts, settings, groups, x, of_inputs, of_groups)
    else:
        drop_inputs(counts, settings, groups, x, of_inputs, of_groups)


@inner(types.float64, inline=True)
def pass_rows(
    counts, layers, settings, X, starts, indices, groups, rows, targets, codes, weight, order,
    params, gradient, work, lanes, places, row_weight, sums, total_weight, last, part,
):  # fmt: skip
    """Loss of the rows of one part of a batch, and its gradient.

    Parameters
    ----------
    counts, layers
        Those of the part.
    order : int64 array of shape (n_batch,)
        Positions of the rows of the batch among the training rows.
    gradient : array of shape (n_parameters,)
        Overwritten by that of these rows.
    places : int64 array of shape (batch_size,)
        Receives the positions of the rows of the batch in the data, and has those of the batch
        before.
    total_weight : float
        Of the batch.
    last : bool
        Whether this is the last epoch.

    Returns
    -------
    loss : float
        Weighted sum over these rows.
    """
    loss = 0.0
    begin = order.size * part // counts[at.N_PARTS]
    end = order.size * (part + 1) // counts[at.N_PARTS]
    if begin == end:
        fill(gradient, 0.0)
    if counts[at.SPARSE]:
        g = matrix(gradient, layers[0, at.WEIGHTS], layers[0, at.N_IN], layers[0, at.N_OUT])
        clear_sparse_gradient(starts, indices, places, g)
    for i in range(order.size):
        places[i] = rows[order[i]]
    for r0 in range(begin, end, counts[at.BLOCK]):
        n = min(counts[at.BLOCK], end - r0)
        here = vector(places, r0, n)
        read_block(
            counts, layers, settings, X, groups, targets, codes, weight, order, here, work, lanes,
            row_weight, r0,
        )  # fmt: skip
        forward(
            counts, layers, settings, X, starts, indices, groups, here, params, work, lanes, n, r0,
            True,
        )  # fmt: skip
        loss += loss_of_block(
            counts, layers, settings, work, row_weight, 1.0 / total_weight, n, sums, last
        )
        backward(counts, layers, settings, params, gradient, work, n, r0 == begin)
        add_gradient(
            counts, layers, settings, X, starts, indices, groups, here, gradient, work, lanes, n,
            r0, r0 == begin,
        )  # fmt: skip
    return loss


@entry
def train(
    counts, layers, settings, plan, X, starts, indices, groups, rows, targets, codes, weight,
    order, params, gradients, first, second, work, states, words, lanes, places, row_weight, losses,
    sums, begin, end, first_part, last_part, arrivals,
):  # fmt: skip
    """Train for the steps from `begin` to `end`, counted over all epochs of `order`.

    The rows of a batch and the parameters are split into parts, and each thread that shares the
    steps does one of them, or a single thread all of them.

    Parameters
    ----------
    counts : int64 array of shape (n_parts, N_COUNTS)
    layers : int64 array of shape (n_parts, n_layers, N_COLUMNS)
    plan : float64 array of shape (n_epochs, n_columns), or (1, n_columns)
        Rates of each epoch, or of all epochs; see `layout.py`.
    gradients : array of shape (n_parts * n_numbers,)
    places : int64 array of shape (n_parts, batch_size)
    row_weight : float64 array of shape (n_parts, n_block)
    losses : float64 array of shape (n_parts, n_epochs)
        Sums over the rows of each part, each times its weight; added to.
    sums : float64 array of shape (n_parts, n_sums)
        Of the last epoch, see `add_noise`.
    first_part, last_part : int
        The parts of this thread.
    arrivals : int64 array
        For `wait_for_all`; if another thread fails, this one stops there.
    """
    n_parts, n_layers, n_columns = layers.shape
    n_rows, batch, n_numbers = counts[0, at.N_ROWS], counts[0, at.BATCH], gradients.size // n_parts
    n_steps, n_epochs = (n_rows + batch - 1) // batch, losses.shape[1]
    counts_0, layers_0 = vector(counts, 0, at.N_COUNTS), matrix(layers, 0, n_layers, n_columns)
    for step in range(begin, end):
        epoch = step // n_steps
        start = epoch * n_rows + step % n_steps * batch
        n_batch = min(batch, (epoch + 1) * n_rows - start)
        here = vector(order, start, n_batch)
        total_weight = weight_of_batch(counts[0, at.WEIGHTED] != 0, weight, here)
        for part in range(first_part, last_part + 1):
            counts[part, at.STEPS_DONE] += 1
            if step == begin or step % n_steps == 0:
                follow_plan(
                    vector(counts, part * at.N_COUNTS, at.N_COUNTS),
                    matrix(layers, part * n_layers * n_columns, n_layers, n_columns),
                    settings,
                    vector(plan, min(epoch, plan.shape[0] - 1) * plan.shape[1], plan.shape[1]),
                )
        if first_part == 0:
            begin_step(counts_0, layers_0, params, work, states, words)
        if not wait_for_all(arrivals, first_part):
            return
        for part in range(first_part, last_part + 1):
            losses[part, epoch] += pass_rows(
                vector(counts, part * at.N_COUNTS, at.N_COUNTS),
                matrix(layers, part * n_layers * n_columns, n_layers, n_columns),
                settings, X, starts, indices, groups, rows, targets, codes, weight, here, params,
                vector(gradients, part * n_numbers, n_numbers), work, lanes,
                vector(places, part * batch, batch),
                vector(row_weight, part * row_weight.shape[1], row_weight.shape[1]),
                matrix(sums, part * sums.shape[1], 2, sums.shape[1] // 2),
                total_weight, epoch == n_epochs - 1, part,
            )  # fmt: skip
        if not wait_for_all(arrivals, first_part):
            return
        for part in range(first_part, last_part + 1):
            losses[part, epoch] += end_step(
                vector(counts, part * at.N_COUNTS, at.N_COUNTS), settings, params, gradients,
                first, second, total_weight, part,
            )  # fmt: skip
        if not wait_for_all(arrivals, first_part):
            return
        if first_part == 0 and settings[at.MAX_NORM] < np.inf:
            apply_max_norm(layers_0, settings, params, work, counts_0[at.SQUARES])


@entry
def predict(counts, layers, settings, X, starts, indices, groups, rows, params, work, lanes, out):
    """Outputs before the output function with dropout off, of shape (n_rows, n_outputs)."""
    n_features, z = layers[0, at.N_IN], layers[layers.shape[0] - 1, at.SUMS]
    n_outputs = out.shape[1]
    for r0 in range(0, rows.size, counts[at.BLOCK]):
        n = min(counts[at.BLOCK], rows.size - r0)
        here = vector(rows, r0, n)
        if not counts[at.SPARSE]:
            gather(X, here, matrix(work, counts[at.INPUTS], n, n_features))
        forward(
            counts, layers, settings, X, starts, indices, groups, here, params, work, lanes, n, 0,
            False,
        )  # fmt: skip
        block = matrix(work, z, n, n_outputs)
        for i in range(n):
            for o in range(n_outputs):
                out[r0 + i, o] = block[i, o]
