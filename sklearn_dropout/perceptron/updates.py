"""Updates of the compiled loop: penalty, Adam, SGD, max-norm."""

import math

from numba.core import types

from .compile import inner
from .views import vector

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
