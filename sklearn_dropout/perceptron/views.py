"""Views of parts of a flat array, in compiled functions.

They cost nothing: no reference counts, no checks of bounds. Indices are never negative, so the
compiler can use vector instructions.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np import arrayobj

from .compile import python_where_not_compiled


def _view(context, builder, array_type, view_type, array, at, shape):
    """An array structure that borrows the memory of `array`."""
    outer = context.make_array(array_type)(context, builder, array)
    view = context.make_array(view_type)(context, builder)
    size = context.get_constant(
        types.intp, context.get_abi_sizeof(context.get_data_type(array_type.dtype))
    )
    strides = [size]
    for extent in shape[:0:-1]:
        strides.insert(0, builder.mul(strides[0], extent))
    arrayobj.populate_array(
        view,
        data=builder.gep(outer.data, [at]),
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, strides),
        itemsize=size,
        meminfo=ir.Constant(view.meminfo.type, None),
    )
    return view._getvalue()


def _vector_in_python(flat, at, n):
    return flat.reshape(-1)[at : at + n]


def _matrix_in_python(flat, at, n, m):
    part = flat.reshape(-1)[at : at + n * m]
    # The array is shorter if nothing is dropped: return zeros of the right shape.
    return part.reshape(n, m) if part.size == n * m else np.zeros((n, m), flat.dtype)


@python_where_not_compiled(_vector_in_python)
@intrinsic
def vector(typingctx, flat, at, n):
    """The `n` numbers from `at` on."""
    view_type = types.Array(flat.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        array, at, n = args
        return _view(context, builder, flat, view_type, array, at, [n])

    return view_type(flat, types.intp, types.intp), codegen


@python_where_not_compiled(_matrix_in_python)
@intrinsic
def matrix(typingctx, flat, at, n, m):
    """The `n * m` numbers from `at` on, as rows of `m`."""
    view_type = types.Array(flat.dtype, 2, "C")

    def codegen(context, builder, signature, args):
        array, at, n, m = args
        return _view(context, builder, flat, view_type, array, at, [n, m])

    return view_type(flat, types.intp, types.intp, types.intp), codegen
