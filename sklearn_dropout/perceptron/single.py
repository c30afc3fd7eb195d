"""The backward pass through a layer with one unit: all that reads its inputs, in one pass."""

from functools import partial

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .compile import inner, python_where_not_compiled
from .tiles import LANES, TileCode, vectors_of_strip


def _columns_in_python(
    below, h, slope, d, w, g_w, g_b, scale, overwrite, n_units, first, n_last, *, n_vectors, is_relu
):
    columns = slice(first, first + (n_vectors - 1) * LANES + n_last)
    h, slope, below = (numbers.reshape(-1, n_units)[:, columns] for numbers in (h, slope, below))
    slope = scale * (h > 0) if is_relu else slope
    below[:] = d[:, None] * w[columns] * slope
    for g, sums in ((g_w, d @ h), (g_b, below.sum(axis=0))):
        g[columns] = sums if overwrite else g[columns] + sums


def _over_rows(code, n_rows, first, n_units, sums, write_row):
    """Write a loop over the rows of a matrix, which keeps sums in registers.

    Parameters
    ----------
    code : TileCode
    n_rows, n_units : int values
    first : int value
        Position of the first number of the first row.
    sums : list of vectors
        Before the first row.
    write_row : callable (i, at, sums) -> sums after it
        Writes the instructions of row `i`, whose first number is at `at`.

    Returns
    -------
    sums : list of vectors
    """
    builder = code.builder
    before, loop = builder.block, builder.append_basic_block("rows")
    after = builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    i, at = builder.phi(code.index), builder.phi(code.index)
    inside = [builder.phi(code.vector) for _ in sums]
    new = write_row(i, at, inside)
    i_next, at_next = builder.add(i, code.constant(1)), builder.add(at, n_units)
    phis = (i, code.constant(0), i_next), (at, first, at_next), *zip(inside, sums, new)
    for phi, start, following in phis:
        phi.add_incoming(start, before)
        phi.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", i_next, n_rows), loop, after)
    builder.position_at_end(after)
    return new


def _make_columns(n_vectors, is_relu):
    """A function that does the pass for `n_vectors` vectors of LANES units."""

    @python_where_not_compiled(partial(_columns_in_python, n_vectors=n_vectors, is_relu=is_relu))
    @intrinsic
    def columns(
        typingctx, below, h, slope, d, w, g_w, g_b, scale, overwrite, n_units, first, n_last
    ):
        arrays = below, h, slope, d, w, g_w, g_b
        signature = types.void(*arrays, scale, types.boolean, *[types.intp] * 3)

        def codegen(context, builder, sig, args):
            structures = [context.make_array(k)(context, builder, a) for k, a in zip(arrays, args)]
            below, h, slope, d, w, g_w, g_b = (structure.data for structure in structures)
            (n_rows,) = cgutils.unpack_tuple(builder, structures[3].shape)
            scale, overwrite, n_units, first, n_last = args[7:]
            number = context.get_value_type(sig.args[0].dtype)
            code = TileCode(builder, number, n_units.type, n_vectors)
            zero = ir.Constant(code.vector, [0.0] * LANES)
            weights = code.strip(w, first)
            if is_relu:
                weights = [builder.fmul(values, code.splat(scale)) for values in weights]

            def write_row(i, at, sums):
                factor, inputs = code.splat(builder.load(builder.gep(d, [i]))), code.strip(h, at)
                derivatives = [builder.fmul(factor, values) for values in weights]
                if is_relu:
                    above = [builder.fcmp_ordered(">", x, zero) for x in inputs]
                    derivatives = [builder.select(*p, zero) for p in zip(above, derivatives)]
                else:
                    derivatives = [
                        builder.fmul(*p) for p in zip(derivatives, code.strip(slope, at))
                    ]
                code.store([derivatives], below, [at], n_last)
                return [
                    *(code.add_product(*p, factor) for p in zip(sums, inputs)),
                    *(builder.fadd(*p) for p in zip(sums[n_vectors:], derivatives)),
                ]

            sums = code.strip(g_w, first) + code.strip(g_b, first)
            sums = [builder.select(overwrite, zero, values) for values in sums]
            sums = _over_rows(code, n_rows, first, n_units, sums, write_row)
            code.store([sums[:n_vectors]], g_w, [first], n_last)
            code.store([sums[n_vectors:]], g_b, [first], n_last)
            return context.get_dummy_value()

        return signature, codegen

    return columns


_relu_1, _relu_2, _relu_3 = (_make_columns(n, is_relu=True) for n in (1, 2, 3))
_other_1, _other_2, _other_3 = (_make_columns(n, is_relu=False) for n in (1, 2, 3))


@inner(types.void)
def backward_of_one(is_relu, d, w, h, slope, scale, below, g_w, g_b, overwrite):
    """Derivatives of the inputs of a layer with one unit, and all that is summed over them.

    The seven numbers after the end of `w`, `h`, `slope`, `g_w` and `g_b` are read, so they must
    exist.

    Parameters
    ----------
    is_relu : bool
        Whether the inputs that are above zero have the slope `scale`, and the others zero, rather
        than those in `slope`.
    d : array of shape (n_rows,)
        Derivatives of the loss with respect to the sums of the layer.
    w : array of shape (n_units,)
        Its weights.
    h, slope, below : arrays of shape (n_rows * n_units,)
        Its inputs, their derivatives with respect to the sums of the layer before, and receives the
        derivatives of the loss with respect to these sums.
    g_w, g_b : arrays of shape (n_units,)
        Receive the gradient of the weights and of the biases of the layer before.
    overwrite : bool
        Whether to replace the gradient rather than add to it.
    """
    n_units = w.size
    n_vectors = (n_units + LANES - 1) // LANES
    v = 0
    while v < n_vectors:
        here = vectors_of_strip(n_vectors - v)
        n_last = min(LANES, n_units - (v + here - 1) * LANES)
        args = below, h, slope, d, w, g_w, g_b, scale, overwrite, n_units, v * LANES, n_last
        if is_relu:
            if here == 3:
                _relu_3(*args)
            elif here == 2:
                _relu_2(*args)
            else:
                _relu_1(*args)
        elif here == 3:
            _other_3(*args)
        elif here == 2:
            _other_2(*args)
        else:
            _other_1(*args)
        v += here
