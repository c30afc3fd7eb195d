"""Checks of sequences: from what a user calls X to a table with one row for each sequence."""

from math import prod
from numbers import Integral

import numpy as np
from scipy import sparse

from .validation import as_array

# Tokens are stored as float32 like all inputs, which is exact up to here.
MAX_TOKENS = 1 << 24


def check_mask_value(mask_value, n_tokens):
    """The value that marks padded steps of numbers, as a float, or None."""
    if mask_value is None:
        return None
    if n_tokens is not None:
        raise ValueError(
            f"mask_value={mask_value!r} is for sequences of numbers, but n_tokens={n_tokens!r}. "
            "The padding of tokens is 0: leave mask_value=None and use mask_zero."
        )
    return float(mask_value)


def check_sequence_shape(input_shape, n_tokens):
    """Steps and channels as a tuple of two int, or None."""
    if input_shape is None:
        return None
    if n_tokens is not None:
        raise ValueError(
            f"input_shape={input_shape!r} says how rows of numbers are cut into steps, but with "
            f"n_tokens={n_tokens!r} every column is a step. Pass one of the two."
        )
    shape = tuple(np.atleast_1d(np.asarray(input_shape, dtype=object)))
    if len(shape) != 2 or not all(isinstance(n, Integral) and n > 0 for n in shape):
        raise ValueError(
            f"input_shape={input_shape!r} must be (n_steps, n_channels), two whole numbers > 0."
        )
    return tuple(int(n) for n in shape)


def is_list(X):
    """Whether `X` is a list of sequences: a list, or an array or column of objects."""
    return isinstance(X, (list, tuple)) or _is_column(X)


def _is_column(X):
    return getattr(X, "ndim", None) == 1 and getattr(X, "dtype", None) == np.dtype(object)


def as_rectangle(X, padding, n_channels=None):
    """A list of sequences as one array.

    Parameters
    ----------
    X : list of arrays of shape (n_steps, n_channels) or (n_steps,); anything else stays as it is
    padding : float or None
        Fills up the shorter sequences at their end; None is NaN.
    n_channels : int, default=None
        Of the fitted sequences; needed if all sequences are empty lists.

    Returns
    -------
    X : ndarray of shape (n_samples, n_steps, n_channels), or (n_samples, n_steps) for sequences of
        one channel that have one length
    padded : bool
        Whether lengths differ.
    """
    if not is_list(X):
        return X, False
    sequences = [np.asarray(as_array(sequence)) for sequence in X]
    if not sequences:
        return np.empty((0, 0)), False
    for row, sequence in enumerate(sequences):
        if sequence.dtype.kind == "c":
            raise ValueError(f"Complex data not supported: X has {sequence.dtype} in row {row}.")
    if padding is None:
        _refuse_missing(sequences)
    if len({s.shape for s in sequences}) == 1 and sequences[0].size:
        return np.asarray(sequences), False
    return _padded(sequences, np.nan if padding is None else padding, n_channels or 1), True


def _padded(sequences, padding, n_channels):
    """Sequences of different lengths as an array (n_samples, n_steps, n_channels)."""
    filled = [s.reshape(-1, 1) if s.ndim == 1 else s for s in sequences if s.size]
    shapes = {s.shape[1:] for s in filled} or {(n_channels,)}
    if len(shapes) > 1 or len(next(iter(shapes))) != 1:
        raise ValueError(
            f"X has sequences of shapes {sorted({s.shape for s in sequences})}. They may differ in "
            "their number of steps only: pass arrays of shape (n_steps, n_channels)."
        )
    single = {s.dtype for s in filled} == {np.dtype(np.float32)}
    shape = len(sequences), max(1, *map(len, sequences)), *shapes.pop()
    padded = np.full(shape, padding, np.float32 if single else np.float64)
    for row, sequence in enumerate(sequences):
        if sequence.size:
            padded[row, : len(sequence)] = sequence.reshape(-1, shape[2])
    return padded


def _refuse_missing(sequences):
    """Refuse NaN, which would count as padding."""
    for row, sequence in enumerate(sequences):
        if sequence.dtype.kind == "f" and np.isnan(sequence).any():
            raise ValueError(
                f"Input X contains NaN in row {row}. Impute it, or pass mask_value=numpy.nan if "
                "steps of NaN are padding."
            )


def flatten(X, n_channels, input_shape):
    """Table of sequences given in three dimensions.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_steps, n_channels)
    n_channels : int or None
        Of the fitted sequences; None in a first fit.
    input_shape : tuple (n_steps, n_channels), or None
    """
    if X.shape[1] == 0 or X.shape[2] == 0:
        raise ValueError(
            f"X has shape {X.shape}: sequences need at least one step and one channel."
        )
    if n_channels is None and input_shape is not None and X.shape[1:] != input_shape:
        raise ValueError(
            f"X has shape {X.shape}, which is not input_shape={input_shape}. "
            "Three-dimensional X needs no input_shape."
        )
    if n_channels is not None and X.shape[2] != n_channels:
        raise ValueError(
            f"X has shape {X.shape} with {X.shape[2]} channels, but {n_channels} were fitted. "
            "Sequences may differ in their number of steps only."
        )
    return X.reshape(len(X), prod(X.shape[1:]))


def left_aligned_numbers(X, n_channels, mask_value):
    """Move padded steps to the end of each sequence, and cut off steps that are padded in all rows.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_steps * n_channels)
        Of numbers, or NaN where padded.
    n_channels : int
    mask_value : float or None
        Value of all channels of a padded step; None is NaN.

    Returns
    -------
    X : the same, or of fewer columns; sparse as it is
    """
    if sparse.issparse(X):
        if np.isnan(X.data).any():
            raise ValueError("Sparse X contains NaN. Pass padded sequences as a dense array.")
        return X
    steps = X.reshape(len(X), -1, n_channels)
    if mask_value is None or np.isnan(mask_value):
        missing = np.isnan(steps)
        padding = missing.all(axis=2)
        partly = missing.any(axis=2) & ~padding
        if partly.any():
            row, step = np.argwhere(partly)[0]
            raise ValueError(
                f"Input X contains NaN in row {row}, in some channels of step {step}. A step is "
                "padding if all of its channels are NaN; impute the others."
            )
    else:
        padding = (steps.astype(np.float32, copy=False) == np.float32(mask_value)).all(axis=2)
    if not padding.any():
        return X
    if (padding[:, :-1] & ~padding[:, 1:]).any():
        order = np.argsort(padding, axis=1, kind="stable")
        steps = np.take_along_axis(steps, order[:, :, None], axis=1)
    longest = max(1, int((~padding).sum(axis=1).max()))
    return np.ascontiguousarray(steps[:, :longest]).reshape(len(X), -1)


def left_aligned(X, n_tokens, mask_zero):
    """Check tokens, move padding to the end of each row, and cut off columns of padding alone.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_steps)
    n_tokens : int
    mask_zero : bool
        Whether token 0 is padding.

    Returns
    -------
    X : the same, or of fewer columns
    """
    values = X.data if sparse.issparse(X) else X
    wrong = values[(values != np.rint(values)) | (values < 0) | (values >= n_tokens)]
    if wrong.size:
        token = wrong.flat[0]
        problem = f"outside 0 to {n_tokens - 1} (n_tokens={n_tokens})"
        if token != np.rint(token):
            problem = "no whole number"
        raise ValueError(
            f"X has the token {token:.9g}, which is {problem}. With n_tokens, X holds tokens: "
            "whole numbers from 0 to n_tokens - 1."
        )
    if not mask_zero:
        return X
    lengths = np.asarray((X != 0).sum(axis=1)).ravel()
    X = _shifted_sparse(X, lengths) if sparse.issparse(X) else _shifted(X, lengths)
    return X[:, : max(1, int(lengths.max()))]


def _shifted(X, lengths):
    steps = np.arange(X.shape[1])
    here = steps < lengths[:, None]
    if (X[here] != 0).all():
        return X
    shifted = np.zeros_like(X)
    shifted[here] = X[X != 0]
    return shifted


def _shifted_sparse(X, lengths):
    X = X.sorted_indices()
    X.eliminate_zeros()
    steps = [np.arange(n) for n in lengths]
    return sparse.csr_array((X.data, np.concatenate(steps), X.indptr), shape=X.shape)
