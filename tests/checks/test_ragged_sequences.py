"""Sequences of different lengths: lists of them, and padding by `mask_value`."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score

from sklearn_dropout import DropoutRNNClassifier, DropoutRNNRegressor, DropoutSearchCV

SMALL = {"hidden_layer_sizes": (4,), "max_iter": 2, "batch_size": 7, "random_state": 0}
LENGTHS = [5, 3, 0, 7, 1, 4, 6, 2, 3, 5, 7, 2]
both = pytest.mark.parametrize("Est", [DropoutRNNClassifier, DropoutRNNRegressor])


def series(n_channels=2):
    """Sequences of numbers, one of them without a step, and targets of two kinds."""
    rng = np.random.default_rng(0)
    shape = () if n_channels is None else (n_channels,)
    return [rng.standard_normal((n, *shape)) for n in LENGTHS], np.arange(len(LENGTHS)) % 2


def padded(sequences, value, n_steps=9, seed=0):
    """Sequences in an array, padding before, behind and within them."""
    rng = np.random.default_rng(seed)
    X = np.full((len(sequences), n_steps, sequences[0].shape[1]), value)
    for row, sequence in enumerate(sequences):
        X[row, np.sort(rng.permutation(n_steps)[: len(sequence)])] = sequence
    return X


def answers(est, X):
    return est.predict_proba(X)[:, 1] if is_classifier(est) else est.predict(X)


@pytest.mark.parametrize("variational", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_padding_is_no_step(cell, bidirectional, variational):
    """Padding of numbers counted as steps: answers changed with the longest sequence.

    A padded sequence trains and predicts like the sequence itself, in two layers, with any mask.
    """
    X, y = series()
    rates = {"input_dropout_rate": 0.2, "recurrent_dropout_rate": 0.3}
    est = DropoutRNNRegressor(
        cell=cell, bidirectional=bidirectional, variational=variational, **SMALL | rates
    ).set_params(hidden_layer_sizes=(4, 3))
    est.fit(X, y)
    expected, samples = est.predict(X), est.sample_predictions(X, 3, random_state=0)
    alone = [est.predict([x])[0] for x in X]
    np.testing.assert_allclose(alone, expected, rtol=1e-10)
    as_array = [est.predict(x[None])[0] for x in X if len(x)]
    np.testing.assert_allclose(as_array, expected[np.array(LENGTHS) > 0], rtol=1e-10)
    for value in (-9.1, np.nan):
        table = padded(X, value)
        again = clone(est).set_params(mask_value=value).fit(table, y, X_val=X, y_val=y)
        for given in (table, X, padded(X, value, n_steps=11, seed=1), table.astype(np.float32)):
            np.testing.assert_allclose(again.predict(given), expected, rtol=1e-4, atol=1e-5)
        found = again.sample_predictions(table, 3, random_state=0)
        np.testing.assert_allclose(found, samples, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            module = again.module_(torch.tensor(table, dtype=torch.float32))[:, 0]
        np.testing.assert_allclose(module, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_channels", [None, 2])
@both
def test_lists_wherever_sequences_go(Est, n_channels):
    """Only arrays were taken; every user of texts and series had to pad them first."""
    X, y = series(n_channels)
    column = pd.Series(X)
    est = Est(early_stopping=True, validation_fraction=0.3, **SMALL)
    expected = est.fit(X, y).validation_scores_
    scoring = "accuracy" if is_classifier(est) else "r2"  # by a scorer, which calls predict
    again = clone(est).set_params(scoring=lambda *args: get_scorer(scoring)(*args)).fit(X, y)
    np.testing.assert_allclose(again.validation_scores_, expected, rtol=1e-5)
    expected = answers(est, X)
    for given in (tuple(X), column, column.to_numpy(), [torch.tensor(x) for x in X]):
        again = clone(est).fit(given, y)
        np.testing.assert_array_equal(answers(again, given), expected)
    assert est.predict_uncertainty(X, 2).total.shape[0] == len(X)
    assert np.isfinite(est.score(X, y))
    classes = {"classes": [0, 1]} if is_classifier(est) else {}
    est = Est(**SMALL).partial_fit(X, y, **classes).partial_fit(X[:5], y[:5])
    assert answers(est, X[:1]).shape == (1,)
    assert np.isfinite(cross_val_score(est, X, y, cv=2)).all()
    scores = [
        search(Est(**SMALL), {"dropout_rate": [0, 0.5]}, cv=2).fit(X, y).cv_results_
        for search in (GridSearchCV, DropoutSearchCV)
    ]
    np.testing.assert_allclose(*(s["mean_test_score"] for s in scores), rtol=1e-6)


@pytest.mark.parametrize("variational", [True, False])
@both
def test_lists_of_tokens(Est, variational):
    rng = np.random.default_rng(0)
    X, y = [rng.integers(1, 9, n) for n in LENGTHS], np.arange(len(LENGTHS)) % 2
    table = np.zeros((len(X), 9), dtype=int)
    for row, tokens in enumerate(X):
        table[row, : len(tokens)] = tokens
    rates = {"embedding_dropout_rate": 0.2, "input_dropout_rate": 0.2, "variational": variational}
    est = Est(n_tokens=9, **SMALL, **rates).fit(X, y)
    expected = answers(est, X)
    np.testing.assert_array_equal(answers(clone(est).fit(table, y), table), expected)
    np.testing.assert_array_equal(answers(est, [list(tokens) for tokens in X]), expected)
    with pytest.raises(ValueError, match="different lengths, but with mask_zero=False"):
        clone(est).set_params(mask_zero=False).fit(X, y)


@pytest.mark.parametrize("kind", ["numbers", "tokens"])
def test_a_sequence_without_a_step_is_answered_by_the_bias(kind):
    """One empty text among many made predict fail for all of them."""
    X, y = series()
    params = {} if kind == "numbers" else {"n_tokens": 5}
    if kind == "tokens":
        X = [np.arange(n) % 4 + 1 for n in LENGTHS]
    est = DropoutRNNRegressor(loss="poisson", bidirectional=True, **SMALL, **params).fit(X, y)
    expected = np.exp(est.intercepts_[-1])
    for given in ([X[2]], [[]], X[1:3]):
        np.testing.assert_allclose(est.predict(given)[-1:], expected, rtol=1e-6)
    first, second = (clone(est).set_params(alpha=0, max_iter=n) for n in (1, 2))
    for alone in (first, second):
        alone.fit([X[2]] * 3, [1, 2, 3])  # which trains the bias alone
    np.testing.assert_array_equal(first.coefs_[-1], second.coefs_[-1])
    assert (first.intercepts_[-1] != second.intercepts_[-1]).all()


BAD = {
    "partly": ({"mask_value": np.nan}, [[[np.nan, 1.0]], [[1.0, 2.0]]], "NaN in row 0, in some"),
    "array": ({}, np.full((2, 3, 2), np.nan), "Input X contains NaN"),
    "list": ({}, [[[1.0, 2.0]], [[np.nan, np.nan], [1.0, 2.0]]], "NaN in row 1.*mask_value=numpy"),
    "channels": ({}, [np.ones((2, 2)), np.ones((3, 1))], "number of steps only"),
    "tokens": ({"n_tokens": 4, "mask_value": 0}, [[1, 2], [3]], "mask_value=0 is for sequences"),
    "infinite": ({"mask_value": np.inf}, np.ones((2, 3)), "'mask_value' parameter"),
}


@pytest.mark.parametrize(("params", "X", "message"), BAD.values(), ids=BAD)
@both
def test_bad_padding(Est, params, X, message):
    est = Est(**SMALL, **params)
    with pytest.raises(ValueError, match=message):
        est.fit(X, [0, 1])
    assert not hasattr(est, "n_features_in_")


def test_complex_sequences():
    """Their imaginary parts were dropped, with a warning of NumPy's for each."""
    with pytest.raises(ValueError, match="Complex data not supported: X has complex128 in row 0"):
        DropoutRNNClassifier().fit([[1j, 2j], [3j]] * 5, [0, 1] * 5)
