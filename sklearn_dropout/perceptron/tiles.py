"""Matrix products as tiles that stay in registers.

A tile is a few rows and a few vectors of columns of the result. Its sums are kept in registers
while the inner index runs, so each step costs a few loads for many multiplications. Compilers do
not find this shape in a loop over arrays, so the vector instructions are written out, for vectors
of eight numbers, which LLVM maps to the registers of the processor.

There is no packing and no call into a BLAS: the matrices of a perceptron's batch are small.
"""

from functools import partial

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .compile import inner, python_where_not_compiled
from .views import vector

LANES = 8
MAX_VECTORS = 3
# Rows of a tile of 0, 1, 2, 3 vectors: at least eight sums, so that additions need not wait for
# each other.
ROWS = 0, 8, 4, 4
CHUNK = 256  # of the inner index: a strip of B, 24 columns wide, then fits into the L1 cache

_CONTRACT = ("contract",)
_INT32 = ir.IntType(32)


class TileCode:
    """Writes the instructions of a product of some rows and `n_vectors` vectors of LANES columns.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    number : llvmlite type
        Of the numbers.
    index : llvmlite type
        Of positions in arrays.
    n_vectors : int
    """

    def __init__(self, builder, number, index, n_vectors):
        self.builder, self.index = builder, index
        self.vector = ir.VectorType(number, LANES)
        self.n_bytes = 4 if isinstance(number, ir.FloatType) else 8
        self.shifts = [self.constant(v * LANES) for v in range(n_vectors)]
        self.n_rows = ROWS[n_vectors]

    def constant(self, value):
        """A position."""
        return ir.Constant(self.index, value)

    def rows(self, n_rows):
        """Indices of the rows; those past the end repeat the last row, which is stored again."""
        last = self.builder.sub(n_rows, self.constant(1))
        rows = [self.constant(r) for r in range(self.n_rows)]
        return [
            self.builder.select(self.builder.icmp_signed("<", row, last), row, last) for row in rows
        ]

    def starts(self, begin, rows, stride):
        """Positions of the rows in an array whose rows are `stride` apart."""
        return [self.builder.add(begin, self.builder.mul(row, stride)) for row in rows]

    def _pointer(self, base, at, shift):
        place = self.builder.gep(base, [self.builder.add(at, shift)])
        return self.builder.bitcast(place, self.vector.as_pointer())

    def strip(self, base, at):
        """The vectors of one row, loaded."""
        pointers = [self._pointer(base, at, shift) for shift in self.shifts]
        return [self.builder.load(pointer, align=self.n_bytes) for pointer in pointers]

    def splat(self, scalar):
        """A vector of the same number in each lane."""
        kind = ir.VectorType(scalar.type, LANES)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(_INT32, 0))
        zeros = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def add_products(self, sums, a, a_starts, a_step, b, b_start, b_step, n_inner):
        """Add the products of rows of A and columns of B, in a loop over the inner index.

        Parameters
        ----------
        sums : list of strips
            One for each row.
        a, b : pointers
        a_starts : list of positions
            The first number of A for each row.
        b_start : position
            The first number of B.
        a_step, b_step : int values
            From one number of the inner index to the next.
        n_inner : int value

        Returns
        -------
        sums : list of strips
        """
        builder = self.builder
        zero, one = self.constant(0), self.constant(1)
        before = builder.block
        loop = builder.append_basic_block("inner")
        after = builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed(">", n_inner, zero), loop, after)

        builder.position_at_end(loop)
        j, a_shift, b_here = (builder.phi(self.index) for _ in range(3))
        inside = [[builder.phi(self.vector) for _ in strip] for strip in sums]
        new = self._step(inside, a, [builder.add(at, a_shift) for at in a_starts], b, b_here)
        j_next = builder.add(j, one)
        a_next, b_next = builder.add(a_shift, a_step), builder.add(b_here, b_step)
        builder.cbranch(builder.icmp_signed("<", j_next, n_inner), loop, after)
        for phi, first, following in (
            (j, zero, j_next),
            (a_shift, zero, a_next),
            (b_here, b_start, b_next),
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(following, loop)

        builder.position_at_end(after)
        done = [[builder.phi(self.vector) for _ in strip] for strip in sums]
        for phis in (inside, done):
            for row, at_start, at_next in zip(phis, sums, new):
                for phi, first, following in zip(row, at_start, at_next):
                    phi.add_incoming(first, before)
                    phi.add_incoming(following, loop)
        return done

    def _step(self, sums, a, a_positions, b, b_position):
        """Sums after one more number of the inner index."""
        builder = self.builder
        strip, new = self.strip(b, b_position), []
        for row, position in zip(sums, a_positions):
            factor = self.splat(builder.load(builder.gep(a, [position])))
            new.append([self.add_product(s, factor, values) for s, values in zip(row, strip)])
        return new

    def add_product(self, total, a, b):
        """``total + a * b``, in one instruction."""
        product = self.builder.fmul(a, b, flags=_CONTRACT)
        return self.builder.fadd(total, product, flags=_CONTRACT)

    def store(self, sums, c, c_starts, n_last):
        """Store the sums of all rows.

        Only the first `n_last` numbers of the last vector belong to the row. The numbers after them
        are not touched: they belong to the next row, or to another thread.
        """
        is_full = self.builder.icmp_signed("==", n_last, self.constant(LANES))
        lanes = [self.constant(lane) for lane in range(LANES)]
        lanes = ir.Constant(ir.VectorType(self.index, LANES), lanes)
        inside = self.builder.icmp_signed("<", lanes, self.splat(n_last))
        for strip, at in zip(sums, c_starts):
            pointers = [self._pointer(c, at, shift) for shift in self.shifts]
            for values, pointer in zip(strip[:-1], pointers):
                self.builder.store(values, pointer, align=self.n_bytes)
            with self.builder.if_else(is_full) as (full, partial):
                with full:
                    self.builder.store(strip[-1], pointers[-1], align=self.n_bytes)
                with partial:
                    self._store_some(strip[-1], pointers[-1], inside)

    def _store_some(self, values, pointer, which):
        """Store the lanes of a vector that a mask selects."""
        kinds = [values.type, pointer.type, _INT32, which.type]
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(ir.VoidType(), kinds),
            f"llvm.masked.store.v{LANES}f{8 * self.n_bytes}.p0",
        )
        self.builder.call(function, [values, pointer, ir.Constant(_INT32, self.n_bytes), which])


def _tile_in_python(
    c, c_at, s, s_at, s_row, a, a_at, a_row, a_col, b, b_at, n_rows, n_inner, n_last, n_vectors
):
    n = (n_vectors - 1) * LANES + n_last
    c_flat, a_flat, b_flat = c.reshape(-1), a.reshape(-1), b.reshape(-1)
    for i in range(n_rows):
        sums = s[s_at + i * s_row :][:n].copy()
        for j in range(n_inner):
            sums += a_flat[a_at + i * a_row + j * a_col] * b_flat[b_at + j * b.shape[1] :][:n]
        c_flat[c_at + i * c.shape[1] :][:n] = sums


def _make_tile(n_vectors):
    """A function that computes ROWS[n_vectors] x (n_vectors * LANES) numbers of a product."""

    @python_where_not_compiled(partial(_tile_in_python, n_vectors=n_vectors))
    @intrinsic
    def tile(
        typingctx, c, c_at, s, s_at, s_row, a, a_at, a_row, a_col, b, b_at, n_rows, n_inner, n_last
    ):
        at = [types.intp] * 11
        signature = types.void(c, at[0], s, *at[1:3], a, *at[3:6], b, *at[6:10])

        def codegen(context, builder, sig, args):
            (
                C, c_at, S, s_at, s_row, A, a_at, a_row, a_col, B, b_at, n_rows, n_inner, n_last
            ) = args  # fmt: skip
            C, S, A, B = (
                context.make_array(kind)(context, builder, value)
                for kind, value in ((c, C), (s, S), (a, A), (b, B))
            )
            c_row, b_row = (cgutils.unpack_tuple(builder, x.shape)[1] for x in (C, B))
            code = TileCode(builder, context.get_value_type(c.dtype), c_at.type, n_vectors)
            rows = code.rows(n_rows)
            sums = [code.strip(S.data, start) for start in code.starts(s_at, rows, s_row)]
            a_starts = code.starts(a_at, rows, a_row)
            sums = code.add_products(sums, A.data, a_starts, a_col, B.data, b_at, b_row, n_inner)
            code.store(sums, C.data, code.starts(c_at, rows, c_row), n_last)
            return context.get_dummy_value()

        return signature, codegen

    return tile


_tile_1, _tile_2, _tile_3 = (_make_tile(n) for n in (1, 2, 3))


@inner(types.intp)
def vectors_of_strip(left):
    """How many of the vectors that are left are taken together: of four two, then two again."""
    return 2 if left == 4 else min(left, MAX_VECTORS)


@inner(types.void)
def multiply(c, s, s_row, a, turned, b):
    """C = S + A B, or C = S + A' B.

    The seven numbers after the end of S and of B are read, so they must exist.

    Parameters
    ----------
    c : array of shape (n, m)
    s : array of shape (n_numbers,)
        Row i begins at ``i * s_row``: one row for all with 0. It may be the numbers of C.
    s_row : int
    a : array of shape (n, k), or (k, n) if `turned`
    turned : bool
    b : array of shape (k, m)
    """
    n, m = c.shape
    k = b.shape[0]
    a_row, a_col = (1, a.shape[1]) if turned else (a.shape[1], 1)
    n_vectors = (m + LANES - 1) // LANES
    own = vector(c, 0, n * m)
    for j in range(0, max(k, 1), CHUNK):
        n_inner = min(CHUNK, k - j)
        if j > 0:
            s, s_row = own, m
        v = 0
        while v < n_vectors:
            here = vectors_of_strip(n_vectors - v)
            n_last = min(LANES, m - (v + here - 1) * LANES)
            o = v * LANES
            for i in range(0, n, ROWS[here]):
                n_rows = min(ROWS[here], n - i)
                c_at, s_at = i * m + o, i * s_row + o
                a_at, b_at = i * a_row + j * a_col, j * m + o
                args = (
                    c, c_at, s, s_at, s_row, a, a_at, a_row, a_col, b, b_at, n_rows, n_inner, n_last
                )  # fmt: skip
                if here == 3:
                    _tile_3(*args)
                elif here == 2:
                    _tile_2(*args)
                else:
                    _tile_1(*args)
            v += here
