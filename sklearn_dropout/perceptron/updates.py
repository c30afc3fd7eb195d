"""Updates of the compiled loop: penalty, Adam, SGD, max-norm."""

import math

from numba.core import types

from . import layout as at
from .compile import inner
from .views import matrix, vector

ADAM, ADAMW, SGD = range(3)
SOLVERS = {"adam": ADAM, "adamw": ADAMW, "sgd": SGD}
_STRETCH = 2048  # numbers that are summed in single precision at a time


@inner(types.float64)
def squared_norm(p):
    """Sum of squares, in float64."""
    total = 0.0
    for start in range(0, p.size, _STRETCH):
        stretch = vector(p, start, min(_STRETCH, p.size - start))
        part = p.dtype.type(0)
        for q in range(stretch.size):
            part += stretch[q] * stretch[q]
        total += float(part)
    return total


@inner(types.void)
def fill(numbers, value):
    """Set all numbers to one value."""
    for q in range(numbers.size):
        numbers[q] = value


@inner(types.void)
def add_multiple(factor, numbers, total):
    """Add `factor` times an array to `total`."""
    for q in range(total.size):
        total[q] += factor * numbers[q]


@inner(types.void)
def adam(p, g, first, second, decay, shrink, beta_1, rest_1, beta_2, rest_2, step, factor, epsilon):
    """One step of Adam.

    Parameters
    ----------
    p, g, first, second : arrays of shape (n_numbers,)
        Parameters, gradient, moments.
    decay : number
        Factor of the parameters that is added to the gradient.
    shrink : number
        Factor of the parameters before the step (AdamW).
    beta_1, rest_1, beta_2, rest_2 : number
        Of the moments, with ``1 - beta``.
    step, factor : number
        Learning rate and square root of the second moment, corrected for their start at zero.
    epsilon : number

    References
    ----------
    Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
    """
    for q in range(p.size):
        gradient = g[q] + decay * p[q]
        m = beta_1 * first[q] + rest_1 * gradient
        v = beta_2 * second[q] + rest_2 * gradient * gradient
        first[q] = m
        second[q] = v
        p[q] = shrink * p[q] - step * m / (math.sqrt(v) * factor + epsilon)


@inner(types.void)
def sgd(p, g, velocity, decay, momentum, nesterov, rate):
    """One step of gradient descent, with the learning rate within the velocity."""
    for q in range(p.size):
        gradient = g[q] + decay * p[q]
        v = momentum * velocity[q] - rate * gradient
        velocity[q] = v
        p[q] += momentum * v - rate * gradient if nesterov else v


@inner(types.void)
def clip_norms(w, bound, squares):
    """Bound the norm of each unit's incoming weights, the columns of `w`.

    References
    ----------
    Srivastava et al. 2014, section 5.1: dropout with max-norm regularisation.
    """
    n_in, n_out = w.shape
    one, zero = w.dtype.type(1), w.dtype.type(0)
    for o in range(n_out):
        squares[o] = zero
    for k in range(n_in):
        for o in range(n_out):
            squares[o] += w[k, o] * w[k, o]
    for o in range(n_out):
        factor = bound / math.sqrt(squares[o])
        squares[o] = one if factor > one else factor
    for k in range(n_in):
        for o in range(n_out):
            w[k, o] *= squares[o]


@inner(types.void, inline=True)
def update(counts, settings, params, g, first, second, total_weight, start):
    """Update parameters from `start` on, weights or biases, by their gradient `g`."""
    real = params.dtype.type
    solver, is_weights = counts[at.SOLVER], start < counts[at.N_WEIGHTS]
    rate, alpha = settings[at.LEARNING_RATE], settings[at.ALPHA]
    decay = real(alpha / total_weight if is_weights and solver != ADAMW else 0.0)
    p, m = vector(params, start, g.size), vector(first, start, g.size)
    if solver == SGD:
        nesterov = counts[at.NESTEROV] != 0
        sgd(p, g, m, decay, real(settings[at.MOMENTUM]), nesterov, real(rate))
        return
    shrink = 1.0 - rate * alpha if is_weights and solver == ADAMW else 1.0
    beta_1, beta_2 = settings[at.BETA_1], settings[at.BETA_2]
    count = float(counts[at.STEPS_DONE])
    adam(
        p, g, m, vector(second, start, g.size), decay, real(shrink),
        real(beta_1), real(1.0 - beta_1), real(beta_2), real(1.0 - beta_2),
        real(rate / (1.0 - beta_1**count)), real(1.0 / math.sqrt(1.0 - beta_2**count)),
        real(settings[at.EPSILON]),
    )  # fmt: skip


@inner(types.float64, inline=True)
def end_step(
    counts, settings, params, gradients, first, second, total_weight, part
):  # fmt: skip
    """Update a part of the parameters.

    Parameters
    ----------
    gradients : array of shape (n_parts * n_numbers,)
        One for the rows of each part; their sum replaces the first one.

    Returns
    -------
    penalty : float
        L2 penalty of these parameters in the loss, times the weight of the batch.
    """
    n_weights, n_parameters, n_parts = (
        counts[at.N_WEIGHTS], counts[at.N_PARAMETERS], counts[at.N_PARTS]
    )  # fmt: skip
    squares, one = 0.0, params.dtype.type(1)
    for start, n in ((0, n_weights), (n_weights, n_parameters - n_weights)):
        begin, end = start + n * part // n_parts, start + n * (part + 1) // n_parts
        if begin == end:
            continue
        if start == 0 and settings[at.ALPHA] != 0.0 and counts[at.SOLVER] != ADAMW:
            squares += squared_norm(vector(params, begin, end - begin))
        total = vector(gradients, begin, end - begin)
        for other in range(1, n_parts):
            part_of_other = other * (gradients.size // n_parts) + begin
            add_multiple(one, vector(gradients, part_of_other, total.size), total)
        update(counts, settings, params, total, first, second, total_weight, begin)
    return 0.5 * settings[at.ALPHA] * squares


@inner(types.void)
def apply_max_norm(layers, settings, params, work, squares):
    """Apply max-norm to all hidden layers."""
    for i in range(layers.shape[0] - 1):
        w = matrix(params, layers[i, at.WEIGHTS], layers[i, at.N_IN], layers[i, at.N_OUT])
        clip_norms(w, params.dtype.type(settings[at.MAX_NORM]), vector(work, squares, w.shape[1]))
