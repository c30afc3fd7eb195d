"""The first layer of a perceptron on sparse rows: loops over the nonzero values.

Rows are never made dense. Each value adds a multiple of one row of the weights to the sums, or a
multiple of the derivatives to one row of the gradient.
"""

from numba.core import types

from . import layout as at
from .compile import inner
from .noise import GAUSSIAN, normal
from .updates import add_multiple
from .views import vector


@inner(lambda X, *others: X.dtype)
def after_dropout(X, q, column, counts, settings, groups, lanes, row):
    """An input after dropout; the bits are those of `drop_inputs`.

    Parameters
    ----------
    X : array
        Data of a CSR matrix.
    q, column : int
        Position of the input in `X`, and its column.
    groups : int64 array of shape (n_features,)
    lanes : int16 array
        Random numbers of a step, for all rows of the batch.
    row : int
        Of the batch.
    """
    real = X.dtype.type
    zero, x, scale = real(0), X[q], real(settings[at.SCALE_INPUT])
    if counts[at.KIND] == GAUSSIAN:
        if counts[at.DROPS_INPUT]:
            x *= real(1) + scale * real(normal(lanes[row * groups.size + column]))
        if counts[at.DROPS_GROUPS]:
            first = 4 * counts[at.WORDS_INPUT] + row * counts[at.N_GROUPS]
            std = real(settings[at.SCALE_GROUPS])
            x *= real(1) + std * real(normal(lanes[first + groups[column]]))
        return x
    if counts[at.DROPS_INPUT]:
        if lanes[row * groups.size + column] < counts[at.LOWEST_INPUT]:
            return zero
        x *= scale
    if counts[at.DROPS_GROUPS]:
        first = 4 * counts[at.WORDS_INPUT] + row * counts[at.N_GROUPS]
        if lanes[first + groups[column]] < counts[at.LOWEST_GROUPS]:
            return zero
        if not counts[at.DROPS_INPUT]:
            x *= scale
    return x


@inner(types.void)
def sparse_sums(
    counts, settings, X, starts, indices, groups, lanes, positions, r0, w, b, z
):  # fmt: skip
    """Sums of the first layer.

    Parameters
    ----------
    X, starts, indices : arrays
        Data, row pointers and columns of a CSR matrix.
    positions : int64 array of shape (n_rows,)
        Rows of the matrix.
    r0 : int
        Position of the first one in the batch.
    w : array of shape (n_features, n_units)
    b : array of shape (n_units,)
    z : array of shape (n_rows, n_units)
        Receives the sums.
    """
    n_rows, n_units = z.shape
    for i in range(n_rows):
        sums = vector(z, i * n_units, n_units)
        for o in range(n_units):
            sums[o] = b[o]
        for q in range(starts[positions[i]], starts[positions[i] + 1]):
            k = indices[q]
            x = after_dropout(X, q, k, counts, settings, groups, lanes, r0 + i)
            if x != 0:
                add_multiple(x, vector(w, k * n_units, n_units), sums)


@inner(types.void)
def add_sparse_gradient(
    counts, settings, X, starts, indices, groups, lanes, positions, r0, d, g
):  # fmt: skip
    """Add the gradient of the first layer's weights; arguments as for `sparse_sums`.

    Parameters
    ----------
    d : array of shape (n_rows, n_units)
        Derivatives with respect to the sums.
    g : array of shape (n_features, n_units)
        Zeros, or the gradient of other rows of the batch.
    """
    n_rows, n_units = d.shape
    for i in range(n_rows):
        row = vector(d, i * n_units, n_units)
        for q in range(starts[positions[i]], starts[positions[i] + 1]):
            k = indices[q]
            x = after_dropout(X, q, k, counts, settings, groups, lanes, r0 + i)
            if x != 0:
                add_multiple(x, row, vector(g, k * n_units, n_units))


@inner(types.void)
def clear_sparse_gradient(starts, indices, positions, g):
    """Set the rows that `add_sparse_gradient` may have changed to zero again."""
    n_units = g.shape[1]
    zero = g.dtype.type(0)
    for i in range(positions.size):
        for q in range(starts[positions[i]], starts[positions[i] + 1]):
            row = vector(g, indices[q] * n_units, n_units)
            for o in range(n_units):
                row[o] = zero
