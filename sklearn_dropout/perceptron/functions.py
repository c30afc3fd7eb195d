"""Elementwise functions of the compiled loop: activations with their derivatives.

Calls of the C library are not vectorised. In single precision exp is therefore a polynomial, and
the other functions are based on it; double precision, which only tests use, calls the library.
"""

import math

import numpy as np
from numba.core import types

from .compile import first_type, inner

IDENTITY, LOGISTIC, TANH, RELU, ELU, SELU, GELU, SILU = range(8)
ACTIVATIONS = {
    "identity": IDENTITY,
    "logistic": LOGISTIC,
    "tanh": TANH,
    "relu": RELU,
    "elu": ELU,
    "selu": SELU,
    "gelu": GELU,
    "silu": SILU,
}
# Klambauer et al. 2017, eq. 14: the fixed point of self-normalising networks.
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


@inner(first_type)
def exp(x):
    """E to the power of x."""
    return math.exp(x)


def _exp_single(x):
    # Cephes: x = n log(2) + r, and a polynomial for exp(r); the error is 1 unit in the last place.
    x = np.float32(88.72) if x > np.float32(88.72) else x
    x = np.float32(-87.33) if x < np.float32(-87.33) else x
    n = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    r = x - n * np.float32(0.693359375)
    r = r + n * np.float32(2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * r + np.float32(1.3981999507e-3)
    y = y * r + np.float32(8.3334519073e-3)
    y = y * r + np.float32(4.1665795894e-2)
    y = y * r + np.float32(1.6666665459e-1)
    y = y * r + np.float32(5.0000001201e-1)
    y = y * (r * r) + r + np.float32(1)
    power = np.int32(np.int32(np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return y * power


exp.implementations = {types.float32: _exp_single}


@inner(first_type)
def tanh(x):
    """Hyperbolic tangent."""
    return math.tanh(x)


def _tanh_single(x):
    square = x * x
    # Cephes: near 0, where the other formula would lose digits.
    y = np.float32(-5.70498872745e-3)
    y = y * square + np.float32(2.06390887954e-2)
    y = y * square + np.float32(-5.37397155531e-2)
    y = y * square + np.float32(1.33314422036e-1)
    y = y * square + np.float32(-3.33332819422e-1)
    near = y * square * x + x
    far = np.float32(1) - np.float32(2) / (exp(x + x) + np.float32(1))
    return near if square < np.float32(0.390625) else far


tanh.implementations = {types.float32: _tanh_single}


@inner(first_type)
def normal_cdf(x, bell):
    """Cumulative distribution of the normal distribution; `bell` is ``exp(-x * x / 2)``."""
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


def _normal_cdf_single(x, bell):
    # Abramowitz & Stegun 7.1.26, for the complement of erf at |x| / sqrt(2); error 8e-8.
    far = np.float32(0.7071067811865476) * abs(x)
    t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * far)
    y = np.float32(1.061405429)
    y = y * t + np.float32(-1.453152027)
    y = y * t + np.float32(1.421413741)
    y = y * t + np.float32(-0.284496736)
    y = y * t + np.float32(0.254829592)
    tail = np.float32(0.5) * y * t * bell
    return tail if x < np.float32(0) else np.float32(1) - tail


normal_cdf.implementations = {types.float32: _normal_cdf_single}


@inner(types.void)
def relu(h, lanes, drops, lowest, scale):
    """Relu with dropout, in place; arguments as for `drop`, or nothing is dropped."""
    zero = h.dtype.type(0)
    if drops:
        for i in range(h.size):
            h[i] = h[i] * scale if lanes[i] >= lowest and not h[i] <= zero else zero
    else:
        for i in range(h.size):
            h[i] = h[i] if not h[i] <= zero else zero


@inner(types.void)
def activate(kind, h, slope):
    """Activation in place, and its derivative.

    Parameters
    ----------
    kind : int
    h, slope : arrays of shape (n_numbers,)
        Sums, which become activations; receives the derivatives.
    """
    real = h.dtype.type
    one, half, zero = real(1), real(0.5), real(0)
    n = h.size
    if kind == IDENTITY:
        for i in range(n):
            slope[i] = one
    elif kind == RELU:  # with noise the sign of the result does not tell the slope
        for i in range(n):
            slope[i] = zero if h[i] <= zero else one
            h[i] = h[i] if not h[i] <= zero else zero
    elif kind == LOGISTIC:
        for i in range(n):
            a = one / (one + exp(-h[i]))
            h[i] = a
            slope[i] = a * (one - a)
    elif kind == TANH:
        for i in range(n):
            a = tanh(h[i])
            h[i] = a
            slope[i] = one - a * a
    elif kind in (ELU, SELU):
        factor = one if kind == ELU else real(_SELU_SCALE)
        low = one if kind == ELU else real(_SELU_SCALE * _SELU_ALPHA)
        for i in range(n):
            z = h[i]
            e = low * exp(z if z < zero else zero)
            h[i] = e - low if z < zero else factor * z
            slope[i] = factor if z > zero else e
    elif kind == GELU:
        density = real(0.3989422804014327)
        for i in range(n):
            z = h[i]
            bell = exp(-half * z * z)
            share = normal_cdf(z, bell)
            h[i] = z * share
            slope[i] = share + z * density * bell
    else:  # SILU
        for i in range(n):
            z = h[i]
            share = one / (one + exp(-z))
            h[i] = z * share
            slope[i] = share * (one + z * (one - share))


@inner(types.void)
def drop(h, slope, lanes, lowest, scale):
    """Dropout of hidden units and of their derivatives.

    Parameters
    ----------
    h, slope : arrays of shape (n_numbers,)
    lanes : int16 array of shape (n_numbers,)
        Random numbers; units with a number below `lowest` are dropped.
    lowest : int16
    scale : number
        Factor of kept units.
    """
    zero = h.dtype.type(0)
    for i in range(h.size):
        factor = scale if lanes[i] >= lowest else zero
        h[i] *= factor
        slope[i] *= factor


@inner(types.void)
def slopes(kind, d, h, slope, scale):
    """Multiply `d` in place by the derivatives that `relu`, or `activate` and `drop`, left."""
    zero = d.dtype.type(0)
    if kind == RELU:
        for i in range(d.size):
            d[i] = d[i] * scale if h[i] > zero else zero
    else:
        for i in range(d.size):
            d[i] *= slope[i]
