"""Random words of a stream, in compiled functions."""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .compile import inner, python_where_not_compiled


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
