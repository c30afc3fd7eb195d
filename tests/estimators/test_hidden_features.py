"""Activations of hidden layers."""

import numpy as np
import pytest
import torch
from _families import ALL, problem, small
from scipy import sparse
from sklearn.exceptions import NotFittedError

from sklearn_dropout import DropoutCNNClassifier, DropoutMLPClassifier, DropoutRNNRegressor


@pytest.mark.parametrize("Est", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_are_those_of_the_module(Est, dtype):
    X, y = problem(Est)
    X = X.astype(dtype)
    est = small(Est, hidden_layer_sizes=(5, 4)).fit(X, y)
    module, x = est.module_, torch.from_numpy(X.astype(np.float32))
    caught = {}
    parts = module.recurrent.layers if hasattr(module, "recurrent") else module
    kind = "recurrent" if hasattr(module, "recurrent") else "activation"
    for layer in (1, 2):
        part = getattr(parts, f"{kind}_{layer}")
        part.register_forward_hook(lambda _, args, out, layer=layer: caught.update({layer: out}))
    module(x)
    for layer, width in ((0, 5), (1, 4)):
        features = est.hidden_features(X, layer)
        assert features.shape == (48, width)
        assert features.dtype == dtype
        expected = caught[layer + 1].detach().numpy()
        expected = expected[:, -1] if expected.ndim == 3 else expected  # of all steps
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(est.hidden_features(X, layer - 2), features)


def test_the_output_is_linear_in_the_last_features():
    X, y = problem(DropoutMLPClassifier)
    est = small(DropoutMLPClassifier).fit(sparse.csr_array(X), y)
    z = est.hidden_features(sparse.csr_array(X)) @ est.coefs_[-1] + est.intercepts_[-1]
    np.testing.assert_allclose(1 / (1 + np.exp(-z[:, 0])), est.predict_proba(X)[:, 1], rtol=1e-5)


def test_many_rows_and_names():
    pandas = pytest.importorskip("pandas")
    X, y = problem(DropoutCNNClassifier)
    est = small(DropoutCNNClassifier).fit(X, y)
    many = np.tile(X, (50, 1))
    frame = est.hidden_features(many, as_frame=True)
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == [f"hidden0_{k}" for k in range(6)]
    np.testing.assert_allclose(frame.iloc[-48:], est.hidden_features(X), rtol=1e-6)


def test_sequences_in_both_directions():
    rng = np.random.default_rng(0)
    series = [rng.standard_normal((n, 2)) for n in (3, 5, 4, 6)]
    est = small(DropoutRNNRegressor, bidirectional=True).fit(series, np.arange(4.0))
    features = est.hidden_features(series)
    assert features.shape == (4, 12)
    np.testing.assert_allclose(est.hidden_features(series[:1]), features[:1], atol=1e-6)


@pytest.mark.parametrize("layer", [1, -2, 0.5, "last"])
def test_layers_that_are_not_there(layer):
    X, y = problem(DropoutMLPClassifier)
    with pytest.raises(NotFittedError):
        small(DropoutMLPClassifier).hidden_features(X)
    est = small(DropoutMLPClassifier).fit(X, y)
    with pytest.raises(ValueError, match=f"layer={layer!r} is not one of the 1 hidden layers"):
        est.hidden_features(X, layer)


def test_a_network_without_hidden_layers():
    X, y = problem(DropoutMLPClassifier)
    est = small(DropoutMLPClassifier, hidden_layer_sizes=()).fit(X, y)
    with pytest.raises(ValueError, match="hidden_layer_sizes is empty"):
        est.hidden_features(X)
