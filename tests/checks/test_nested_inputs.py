"""Inputs that are not a table of numbers: the error names X, its content, and what to pass."""

import numpy as np
import pandas as pd
import pytest
import torch
from _families import ALL, ONE_OF_EACH_FAMILY, problem, small
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, TensorDataset

N = 12
EQUAL = [[1.0, 2.0, 3.0]] * N
UNEQUAL = [[1.0] * (2 + n % 3) for n in range(N)]
IMAGES = [np.zeros((1, 6 + n % 2, 6)) for n in range(N)]
DATASET = TensorDataset(torch.zeros(N, 6), torch.zeros(N))


def column(rows):
    values = np.empty(len(rows), dtype=object)
    values[:] = rows
    return values


def cells(rows):
    values = np.empty((len(rows), 2), dtype=object)
    values[:, 0], values[:, 1] = 1.0, column(rows)
    return values


# What it is, the error, and whether recurrent networks take it.
NESTED = {
    "objects": (column(EQUAL), r"X has a value of type list and shape \(3,\) in row 0", True),
    "ragged objects": (column(UNEQUAL), r"X has samples of different shapes: \(2,\)", True),
    "ragged list": (UNEQUAL, r"X has samples of different shapes: \(2,\) in row 0, \(3,\)", True),
    "cells": (cells(EQUAL), r"type list and shape \(3,\) in row 0", False),
    "ragged cells": (cells(UNEQUAL), r"type list and shape \(2,\) in row 0", False),
    "frame": (pd.DataFrame({"a": range(N), "b": EQUAL}), "in row 0 of column 'b'", False),
    "ragged frame": (pd.DataFrame({"b": UNEQUAL}), "in row 0 of column 'b'", False),
    "images": (IMAGES, r"shapes:? .*\(1, 6, 6\).*\(1, 7, 6\)", False),
    "image objects": (column(IMAGES), r"shapes:? .*\(1, 6, 6\).*\(1, 7, 6\)", False),
    "dataset": (DATASET, "X is a TensorDataset.*dataset.tensors", False),
    "pairs": (list(DATASET), "X has a tuple of parts of different shapes", False),
    "loader": (DataLoader(DATASET), "X is a DataLoader", False),
    "dict": ({"a": EQUAL}, r"X is a dict.*pandas\.DataFrame", False),
    "generator": ((row for row in EQUAL), "X is a generator", False),
    "packed": (pack_sequence([torch.ones(3, 2)] * N), "X is a PackedSequence.*unpack", False),
    "texts": (["the cat"] * N, "X has text, such as 'the cat'", False),
    "words": ([["the", "cat"]] * N, "X has text, such as 'the'", False),
    "word frame": (pd.DataFrame({"a": ["cat"] * N}), "X has text, such as 'cat'", False),
}


# A frame that is refused after a fit on an array has its names looked at first.
@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize(("X", "message", "sequences"), NESTED.values(), ids=NESTED)
@pytest.mark.parametrize("Est", ONE_OF_EACH_FAMILY)
def test_nested_inputs_are_named(Est, X, message, sequences):
    """ "setting an array element with a sequence" did not say which argument or row was meant."""
    if sequences and "RNN" in Est.__name__:
        pytest.skip("a list of sequences: see test_ragged_sequences.py")
    good, y = problem(Est, n=N)
    est = small(Est)
    with pytest.raises((TypeError, ValueError), match=message):
        est.fit(X, y)
    assert not hasattr(est, "n_features_in_")
    with pytest.raises((TypeError, ValueError), match=message):
        est.fit(good, y, X_val=X, y_val=y)
    est.fit(good, y)
    for call in (est.predict, est.sample_predictions):
        with pytest.raises((TypeError, ValueError), match=message):
            call(X)


@pytest.mark.parametrize("Est", [Est for Est in ALL if "RNN" in Est.__name__])
def test_words_in_place_of_tokens(Est):
    """The remedy is to number them."""
    X, y = [["the", "cat"], ["a"]] * 6, problem(Est, n=N)[1]
    with pytest.raises(ValueError, match=r"'the'.*Number the words from 1 to n_tokens - 1"):
        small(Est, n_tokens=5).fit(X, y)
