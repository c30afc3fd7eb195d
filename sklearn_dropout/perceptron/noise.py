"""Random words, and the noise made of them: Gaussian and alpha dropout, noise of the inputs."""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..dropout.levels import LEVELS, NORMAL_BITS, SELU_FLOOR, normal_numbers
from . import layout as at
from .compile import inner, python_where_not_compiled

BERNOULLI, GAUSSIAN, ALPHA_DROPOUT = range(3)
KINDS = {"bernoulli": BERNOULLI, "gaussian": GAUSSIAN, "alpha": ALPHA_DROPOUT}
_NORMALS = normal_numbers()
_HALF, _SHIFT = LEVELS // 2, 16 - NORMAL_BITS


@python_where_not_compiled(lambda number: number)
@intrinsic
def _as_it_is(typingctx, number):
    """The number itself, of which LLVM must not know how it was computed."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        nothing = ir.InlineAsm(ir.FunctionType(kind, [kind]), "", "=r,0")
        return builder.call(nothing, args)

    return number(number), codegen


@inner(types.void)
def draw(state, words):
    """The next words of a stream, NumPy's SFC64.

    Each word needs the one before it, by a rotation and an addition. LLVM would regroup the
    additions of several words, which makes more of them, and take twice as long.

    Parameters
    ----------
    state : uint64 array of shape (4,)
        Updated.
    words : uint64 array of shape (n_words,)
        Receives them.
    """
    a, b, c, counter = state[0], state[1], state[2], state[3]
    for i in range(words.size):
        word = _as_it_is(a + counter) + b
        counter += np.uint64(1)
        a = b ^ (b >> np.uint64(11))
        b = _as_it_is(c + (c << np.uint64(3)))
        c = ((c << np.uint64(24)) | (c >> np.uint64(40))) + word
        words[i] = word
    state[0], state[1], state[2], state[3] = a, b, c, counter


@inner(types.float32)
def normal(lane):
    """The normal number of a lane."""
    return _NORMALS[(np.int32(lane) + np.int32(_HALF)) >> np.int32(_SHIFT)]


@inner(types.void)
def perturb(kind, h, slope, lanes, lowest, scale, shift):
    """Gaussian or alpha dropout of hidden units and of their derivatives.

    Parameters
    ----------
    kind : int
    h, slope : arrays of shape (n_numbers,)
    lanes : int16 array of shape (n_numbers,)
    lowest : int16
        Alpha dropout drops units with a lane below it.
    scale, shift : numbers
        The standard deviation of Gaussian dropout; `a` and `b` of `alpha_terms`.
    """
    real = h.dtype.type
    zero, one = real(0), real(1)
    if kind == GAUSSIAN:
        for i in range(h.size):
            factor = one + scale * real(normal(lanes[i]))
            h[i] *= factor
            slope[i] *= factor
    else:
        floor = real(SELU_FLOOR)
        for i in range(h.size):
            kept = lanes[i] >= lowest
            h[i] = scale * (h[i] if kept else floor) + shift
            slope[i] = scale * slope[i] if kept else zero


@inner(types.void)
def perturb_inputs(counts, settings, groups, x, of_inputs, of_groups):
    """Gaussian dropout of single inputs and of groups of inputs; arguments as for `drop_inputs`."""
    real = x.dtype.type
    one = real(1)
    std, std_of_groups = real(settings[at.SCALE_INPUT]), real(settings[at.SCALE_GROUPS])
    n_rows, n_features = x.shape
    for i in range(n_rows):
        for k in range(n_features):
            if counts[at.DROPS_INPUT]:
                x[i, k] *= one + std * real(normal(of_inputs[i, k]))
            if counts[at.DROPS_GROUPS]:
                x[i, k] *= one + std_of_groups * real(normal(of_groups[i, groups[k]]))


@inner(types.void)
def add_normals(x, lanes, std):
    """Add normal noise to inputs.

    Parameters
    ----------
    x : array of shape (n_numbers,)
    lanes : int16 array of shape (n_numbers,)
    std : number
    """
    real = x.dtype.type
    for i in range(x.size):
        x[i] += std * real(normal(lanes[i]))
