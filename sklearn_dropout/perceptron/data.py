"""Conversion of arrays to the types that the compiled functions take."""

import ctypes

import numpy as np
from scipy import sparse


def plain(array, dtype):
    """A flat, writable view of an array, or a copy if it is not contiguous.

    Read-only arrays have a different type in Numba, and would need another compilation. Nothing
    is written through the view; it does not keep the array alive.

    Returns
    -------
    view : ndarray of shape (n_numbers,)
    owner : ndarray
        Must be kept alive while the view is used.
    """
    owner = np.asarray(np.ascontiguousarray(array, dtype=dtype)).reshape(-1)
    if not owner.flags.aligned:
        owner = owner.copy()
    if owner.flags.writeable or not owner.size:
        return (owner if owner.size else np.zeros(1, dtype)), owner
    memory = (ctypes.c_byte * owner.nbytes).from_address(owner.ctypes.data)
    return np.frombuffer(memory, dtype=owner.dtype), owner


class Rows:
    """Rows of features, dense or CSR.

    Parameters
    ----------
    X : array-like or CSR matrix of shape (n_rows, n_features)
    dtype : dtype

    Attributes
    ----------
    arrays : tuple of ndarrays
        Data, row pointers and columns of a CSR matrix; for dense rows only the first is used.
    is_sparse : bool
    n_rows : int
    """

    def __init__(self, X, dtype):
        self.is_sparse = sparse.issparse(X)
        self.n_rows = X.shape[0]
        if self.is_sparse:
            parts = (X.data, dtype), (X.indptr, np.int64), (X.indices, np.int32)
        else:
            nothing = np.zeros(1, dtype=np.int64)
            parts = (X, dtype), (nothing, np.int64), (nothing, np.int32)
        pairs = [plain(part, kind) for part, kind in parts]
        self.arrays = tuple(view for view, _ in pairs)
        self._owners = [owner for _, owner in pairs]

    def density(self, rows, n_features):
        """Fraction of the numbers of some rows that are stored; 1 for dense rows."""
        if not self.is_sparse or not len(rows):
            return 1.0
        _, starts, _ = self.arrays
        return float((starts[rows + 1] - starts[rows]).mean() / n_features)


class TrainingRows:
    """The rows that networks train on, as arrays for the loop.

    Parameters
    ----------
    sample : Sample
    dtype : dtype, default=np.float32

    Attributes
    ----------
    X : Rows
    n_rows : int
    is_weighted : bool
    total_weight : float
    density : float
        Fraction of the features that are stored.
    arrays : list of ndarrays
        Rows of `X`, targets, codes and weights.
    """

    def __init__(self, sample, dtype=np.float32):
        self.dtype, self.X = np.dtype(dtype), Rows(sample.X, dtype)
        self.n_rows, self.is_weighted = sample.n_rows, sample.weight is not None
        self.total_weight = sample.total_weight
        self.density = self.X.density(sample.rows, sample.X.shape[1])
        arrays = (
            (sample.rows, np.int64),
            (sample.targets, dtype),
            (sample.codes, np.int64),
            (sample.weight if self.is_weighted else np.ones(1), np.float64),
        )
        pairs = [plain(array, kind) for array, kind in arrays]
        self.arrays = [view for view, _ in pairs]
        self.arrays[1] = self.arrays[1].reshape(-1, sample.targets.shape[1])
        self._owners = [owner for _, owner in pairs]
