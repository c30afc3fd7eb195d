"""NumPy arrays and sparse matrices as tensors."""

import torch
from scipy import sparse


def as_tensor(array):
    """Tensor on the memory of an array, or on a copy if the array is read-only."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def dense_rows(X, rows):
    """Rows of an array or CSR matrix, given by a slice or by indices, as a dense tensor."""
    x = X[rows]
    return torch.from_numpy(x.toarray()) if sparse.issparse(x) else as_tensor(x)
