"""Losses of the compiled loop: value and derivative by the outputs before the output function."""

import math

from numba.core import types

from .compile import inner
from .functions import exp, tanh
from .views import vector

LOG_LOSS, BINARY_LOG_LOSS, SQUARED_ERROR, ABSOLUTE_ERROR, HUBER, POISSON = range(6)
WEIGHTED_BINARY_LOG_LOSS, GAUSSIAN, QUANTILE = range(6, 9)
LOSSES = {
    "log_loss": LOG_LOSS,
    "binary_log_loss": BINARY_LOG_LOSS,
    "squared_error": SQUARED_ERROR,
    "absolute_error": ABSOLUTE_ERROR,
    "huber": HUBER,
    "poisson": POISSON,
    "weighted_binary_log_loss": WEIGHTED_BINARY_LOG_LOSS,
    "gaussian": GAUSSIAN,
    "quantile": QUANTILE,
}
# As in `nn.losses`.
_LARGEST_LOG_VARIANCE = 12.0
_LARGEST_PRODUCT = 1e200


@inner(types.float64)
def _softmax_rows(z, y, d, weight):
    """Cross-entropy of softmax outputs; see `loss_rows`."""
    n_rows, n_outputs = z.shape
    real = z.dtype.type
    total, product, unit = 0.0, 1.0, weight[0]
    for i in range(n_rows):
        top = z[i, 0]
        for o in range(1, n_outputs):
            # The exponential function below propagates NaN.
            top = z[i, o] if z[i, o] > top else top
        right = real(0)
        for o in range(n_outputs):
            d[i, o] = z[i, o] - top
            right += y[i, o] * d[i, o]
        total -= weight[i] * float(right)
    numbers = vector(d, 0, n_rows * n_outputs)
    for q in range(numbers.size):
        numbers[q] = exp(numbers[q])
    for i in range(n_rows):
        masses, mass = real(0), real(0)
        for o in range(n_outputs):
            masses += d[i, o]
            mass += y[i, o]
        # Logarithms are slow: with equal weights, one of the product is enough.
        if weight[i] * mass != unit or product > _LARGEST_PRODUCT:
            total += unit * math.log(product)
            product, unit = 1.0, weight[i] * mass
        product *= float(masses)
        share = real(1) / masses
        for o in range(n_outputs):
            d[i, o] = d[i, o] * share - y[i, o]
    return total + unit * math.log(product)


@inner(types.float64)
def _logistic_rows(z, y, d, weight):
    """Cross-entropy of logistic outputs; see `loss_rows`."""
    n_rows, n_outputs = z.shape
    n = n_rows * n_outputs
    z, y, d = vector(z, 0, n), vector(y, 0, n), vector(d, 0, n)
    zero, one = z.dtype.type(0), z.dtype.type(1)
    total, product, unit = 0.0, 1.0, weight[0]
    for q in range(n):
        d[q] = exp(-abs(z[q]))
    for i in range(n_rows):
        if weight[i] != unit:  # one logarithm of a product, as above
            total += unit * math.log(product)
            product, unit = 1.0, weight[i]
        for q in range(i * n_outputs, (i + 1) * n_outputs):
            if product > _LARGEST_PRODUCT:
                total += unit * math.log(product)
                product = 1.0
            total += weight[i] * float((z[q] if z[q] > zero else zero) - z[q] * y[q])
            product *= 1.0 + float(d[q])
    for q in range(n):
        share = one / (one + d[q])
        d[q] = (share if not z[q] < zero else d[q] * share) - y[q]
    return total + unit * math.log(product)


@inner(types.float64)
def _error_rows(kind, z, y, d, weight, quantile):
    """Losses that are sums over the outputs; see `loss_rows`."""
    n_rows, n_outputs = z.shape
    real = z.dtype.type
    zero, one, half = real(0), real(1), real(0.5)
    total = 0.0
    for i in range(n_rows):
        value = zero
        for o in range(n_outputs):
            error = z[i, o] - y[i, o]
            far = abs(error)
            if kind == SQUARED_ERROR:
                value += half * error * error
            elif kind == ABSOLUTE_ERROR:
                value += far
                error = one if error > zero else (-one if error < zero else error)
            elif kind == HUBER:
                value += far - half if far > one else half * error * error
                error = one if error > one else (-one if error < -one else error)
            elif kind == QUANTILE:
                above = real(quantile)
                value += -above * error if error < zero else (one - above) * error
                error = -above if error < zero else (one - above if error > zero else error)
            elif kind == WEIGHTED_BINARY_LOG_LOSS:  # of the size of the target, by its sign
                q = -z[i, o] if y[i, o] > zero else z[i, o]
                tail = exp(-abs(q))
                value += abs(y[i, o]) * ((q if q > zero else zero) + real(math.log1p(tail)))
                missing = (tail if q < zero else one) / (one + tail)
                error = -y[i, o] * missing
            else:
                mean = real(math.exp(z[i, o]))
                entropy = y[i, o] * real(math.log(y[i, o])) if y[i, o] > zero else zero
                value += entropy - y[i, o] * z[i, o] - y[i, o] + mean
                error = mean - y[i, o]
            d[i, o] = error
        total += weight[i] * float(value)
    return total


@inner(types.float64)
def _gaussian_rows(z, y, d, weight):
    """Negative log-likelihood of means and log-variances; see `loss_rows`."""
    n_rows, n_outputs = z.shape
    real = z.dtype.type
    one, half, largest = real(1), real(0.5), real(_LARGEST_LOG_VARIANCE)
    n, total = n_outputs // 2, 0.0
    for i in range(n_rows):
        value = real(0)
        for o in range(n):
            share = tanh(z[i, n + o] / largest)
            log = largest * share
            precision = exp(-log)
            error = z[i, o] - y[i, o]
            square = error * error * precision
            value += half * (log + square)
            d[i, o] = error * precision
            d[i, n + o] = half * (one - square) * (one - share * share)
        total += weight[i] * float(value)
    return total


@inner(types.float64)
def loss_rows(kind, z, y, d, weight, quantile):
    """Loss of some rows and its derivative.

    Parameters
    ----------
    kind : int
    z, y : arrays of shape (n_rows, n_outputs)
        Outputs before the output function, and targets.
    d : array like `z`
        Receives the derivatives of the loss of each row.
    weight : float64 array of shape (n_rows,)
    quantile : float
        Of the pinball loss.

    Returns
    -------
    total : float
        Weighted sum.
    """
    if kind == LOG_LOSS:
        return _softmax_rows(z, y, d, weight)
    if kind == BINARY_LOG_LOSS:
        return _logistic_rows(z, y, d, weight)
    if kind == GAUSSIAN:
        return _gaussian_rows(z, y, d, weight)
    return _error_rows(kind, z, y, d, weight, quantile)


@inner(types.void)
def add_noise(kind, z, y, weight, sums):
    """Add the weighted squares of (mean - target), and the means, to `sums` of shape (2, ...)."""
    n_rows, n_outputs = z.shape[0], sums.shape[1]
    for i in range(n_rows):
        for o in range(n_outputs):
            mean = math.exp(float(z[i, o])) if kind == POISSON else float(z[i, o])
            error = mean - float(y[i, o])
            sums[0, o] += weight[i] * error * error
            sums[1, o] += weight[i] * mean
