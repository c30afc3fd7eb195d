"""Checks of sequences: from what a user calls X to a table with one row for each sequence."""

from math import prod
from numbers import Integral

import numpy as np
from scipy import sparse

# Tokens are stored as float32 like all inputs, which is exact up to here.
MAX_TOKENS = 1 << 24


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


def as_rectangle(X):
    """Lists as an ndarray; those whose sequences differ in length are refused."""
    if not isinstance(X, list | tuple):
        return X
    try:
        return np.asarray(X)
    except ValueError as error:
        lengths = sorted({len(row) for row in X if hasattr(row, "__len__")}) or ["?"]
        raise ValueError(
            f"X is ragged: its sequences have {lengths[0]} to {lengths[-1]} steps. Pad them to one "
            "length (sequences of tokens with token 0, and mask_zero=True leaves it out)."
        ) from error


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


def left_aligned(X, n_tokens, mask_zero):
    """Check tokens, and move those of padding behind the others.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_steps)
    n_tokens : int
    mask_zero : bool
        Whether token 0 is padding.

    Returns
    -------
    X : ndarray or CSR matrix of shape (n_samples, n_steps)
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
    if not lengths.all():
        row = int((lengths == 0).argmax())
        raise ValueError(
            f"X has {int((lengths == 0).sum())} rows of padding alone (the first is row {row}): "
            "token 0 is no step of a sequence. Leave these rows out, begin every sequence with a "
            "token of its own, or use mask_zero=False."
        )
    return _shifted_sparse(X, lengths) if sparse.issparse(X) else _shifted(X, lengths)


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
