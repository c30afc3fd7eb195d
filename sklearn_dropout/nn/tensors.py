"""NumPy arrays and sparse matrices as tensors."""

import torch
from scipy import sparse


def as_tensor(array):
    """Tensor on the memory of an array, or on a copy if the array is read-only."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def rows_as_tensor(X, start, stop):
    """Rows of an array or CSR matrix as a dense tensor."""
    rows = X[start:stop]
    return torch.from_numpy(rows.toarray()) if sparse.issparse(rows) else as_tensor(rows)
