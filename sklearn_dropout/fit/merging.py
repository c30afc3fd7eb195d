"""Merging of equal rows of a training set that fits into one batch."""

import numpy as np
from scipy import sparse

# Values processed at a time: their 64-bit words should stay in a core's cache.
_CHUNK_VALUES = 1 << 16
# Odd numbers with well mixed bits, of splitmix64 (Steele et al., 2014, "Fast splittable
# pseudorandom number generators").
_STEP, _MIX, _MIX_AGAIN = (
    np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def sort_by_content(X, y, rows, weight):
    """Sort rows into an order that depends on their contents alone.

    Equal rows are adjacent, whatever the sign of their zeros.

    Parameters
    ----------
    X : float32 ndarray or CSR matrix of shape (n_total, n_features)
    y : ndarray of numbers, of shape (n_total,) or (n_total, n_outputs)
    rows : int64 ndarray of shape (n_rows,)
        Rows to sort.
    weight : float64 ndarray of shape (n_rows,), or None

    Returns
    -------
    rows, weight : as given, in the new order
    """
    order = _content_order(X, y, rows, weight)[0]
    return rows[order], None if weight is None else weight[order]


def merge_equal_rows(X, y, rows, weight):
    """Merge rows that are equal in `X` and `y` and add their weights.

    Parameters
    ----------
    X, y, rows, weight : as in `sort_by_content`

    Returns
    -------
    rows : int64 ndarray
        One of each kind, in the order of `sort_by_content`.
    weight : float64 ndarray, or None if no row was merged and none had a weight
    """
    order, first = _content_order(X, y, rows, weight)
    starts = np.flatnonzero(first)
    merged = rows[order[starts]]
    if weight is None and len(merged) == len(rows):
        return merged, None
    if weight is None:
        return merged, np.diff(starts, append=len(rows)).astype(np.float64)
    # Equal rows are sorted by weight, so the sum does not depend on the order of the data.
    return merged, np.add.reduceat(weight[order], starts)


def _content_order(X, y, rows, weight):
    """Sort by inputs, then targets, then weights.

    Inputs are sorted by their hashes, which cost a few operations for each nonzero value; rows
    with equal hashes are then compared.

    Returns
    -------
    order : int64 ndarray of shape (n_rows,)
    first : bool ndarray of shape (n_rows,)
        Whether the row at this position of the order differs from the one before it.
    """
    key = _hashes(X, rows)
    y = y[rows].reshape(len(rows), -1)
    order = _sorted_ties(key, y, weight)
    same_x = _same_as_before(X, rows, key, order)
    if (same_x != (np.diff(key[order]) == 0)).any():  # different inputs with one hash
        key = _exact_keys(X, rows, key)
        order = _sorted_ties(key, y, weight)
        same_x = np.diff(key[order]) == 0
    return order, np.append(True, ~(same_x & (y[order[1:]] == y[order[:-1]]).all(axis=1)))


def _sorted_ties(key, y, weight):
    """Order by key, then by targets, then by weight."""
    order = np.argsort(key, kind="stable")
    equal = np.diff(key[order]) == 0
    tied = np.append(equal, False) | np.append(False, equal)
    positions = order[tied]
    minor = ([] if weight is None else [weight[positions]]) + list(y[positions].T[::-1])
    order[tied] = positions[np.lexsort([*minor, key[positions]])]
    return order


def _hashes(X, rows):
    """Hash of each row: uint64 ndarray of shape (n_rows,).

    Sum over the columns of a hash of value and column, 0 for zeros, so that sparse and dense rows
    have equal hashes.
    """
    columns = np.arange(1, X.shape[1] + 1, dtype=np.uint64) * _STEP
    columns = (columns ^ (columns >> np.uint64(30))) * _MIX | np.uint64(1)
    key = np.empty(len(rows), dtype=np.uint64)
    step = _rows_at_once(X)
    for start in range(0, len(rows), step):
        part = X[rows[start : start + step]]
        if not sparse.issparse(part):
            key[start : start + step] = (_mixed(part) * columns).sum(axis=1)
            continue
        part.sum_duplicates()
        words = np.append(_mixed(part.data) * columns[part.indices], np.uint64(0))
        # reduceat gives an empty row the word at its start.
        key[start : start + step] = np.where(
            np.diff(part.indptr), np.add.reduceat(words, part.indptr[:-1]), np.uint64(0)
        )
    return key


def _rows_at_once(X):
    """Number of rows to process at a time, from the (average) number of values in a row."""
    per_row = X.nnz // X.shape[0] if sparse.issparse(X) else X.shape[1]
    return max(1, _CHUNK_VALUES // max(1, per_row))


def _mixed(values):
    """Bits of float32 numbers spread over 64: uint64 ndarray of their shape, 0 for zeros."""
    words = (values + np.float32(0)).view(np.uint32).astype(np.uint64)  # no negative zeros
    words *= _MIX_AGAIN
    words ^= words >> np.uint64(32)
    return words


def _same_as_before(X, rows, key, order):
    """Whether each row but the first has the inputs of the one before it in the order."""
    same = np.diff(key[order]) == 0
    positions = np.flatnonzero(same)
    step = _rows_at_once(X)
    for start in range(0, len(positions), step):
        part = positions[start : start + step]
        one, other = X[rows[order[part]]], X[rows[order[part + 1]]]
        if sparse.issparse(X):
            same[part] = (one != other).sum(axis=1).ravel() == 0
        else:
            same[part] = ((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=1)
    return same


def _exact_keys(X, rows, key):
    """Numbers of rows, equal for equal inputs; their order depends on the contents alone."""
    contents = []
    for row, word in zip(rows, key.tolist()):
        x = X[row : row + 1]
        x = x.toarray() if sparse.issparse(x) else x
        contents.append((word, (x + np.float32(0)).tobytes()))
    number = {content: index for index, content in enumerate(sorted(set(contents)))}
    return np.array([number[content] for content in contents])
