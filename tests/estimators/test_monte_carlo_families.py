"""The laws of Monte Carlo dropout for every family of networks."""

import numpy as np
import pytest
import torch
from sklearn.base import is_classifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_dropout

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 3, "random_state": 0, "batch_size": 16}
EVERYWHERE = {"dropout_rate": 0.3, "input_dropout_rate": 0.2, "spatial_dropout_rate": 0.2}
TOKENS = {"n_tokens": 9, "embedding_dim": 5, "embedding_dropout_rate": 0.2}
NETWORKS = {
    "MLP": ("MLP", {"feature_groups": 2}),
    "CNN of signals": ("CNN", {"conv_layer_sizes": (4, 3), "conv_dropout_rate": 0.2}),
    "CNN of images": ("CNN", {"conv_layer_sizes": (4,), "input_shape": (1, 4, 3)}),
    "LSTM": ("RNN", {"recurrent_dropout_rate": 0.2, "input_shape": (6, 2)}),
    "fresh masks": ("RNN", {"recurrent_dropout_rate": 0.2, "variational": False}),
    "GRU both ways": ("RNN", {"cell": "gru", "bidirectional": True, "hidden_layer_sizes": (4, 3)}),
    "tokens": ("RNN", TOKENS),
    "tokens with fresh masks": ("RNN", TOKENS | {"variational": False, "cell": "rnn"}),
}
CASES = [(name, task) for name in NETWORKS for task in ("Classifier", "Regressor")]
every_network = pytest.mark.parametrize(("name", "task"), CASES)


def fitted(name, task, n=40, **params):
    """A fitted estimator and the inputs it was fitted on."""
    family, own = NETWORKS[name]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 12))
    if "n_tokens" in own:
        X = rng.integers(1, 9, (n, 12))
        X[::2, 8:] = 0  # padding
    y = X @ rng.standard_normal(12)
    if task == "Classifier":
        y = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    Est = getattr(sklearn_dropout, f"Dropout{family}{task}")
    return Est(**SMALL | EVERYWHERE | own | params).fit(X, y), X


def prediction(est, X):
    return est.predict_proba(X) if is_classifier(est) else est.predict(X)[:, None]


@every_network
def test_samples_have_a_seed_and_do_not_depend_on_the_rows_around(name, task):
    seed = 0
    est, X = fitted(name, task)
    samples = est.sample_predictions(X, 12, seed)
    assert samples.shape == (12, 40, 3 if task == "Classifier" else 1)
    assert samples.std(0).max() > 0
    np.testing.assert_array_equal(est.sample_predictions(X, 12, seed), samples)
    assert not np.allclose(est.sample_predictions(X, 12, seed + 10), samples)
    some = est.sample_predictions(X[[5, 30, 5]], 12, seed)
    np.testing.assert_allclose(some, samples[:, [5, 30, 5]], rtol=1e-9, atol=1e-11)
    more = est.sample_predictions(X, 20, seed)
    np.testing.assert_allclose(more[:12], samples, rtol=1e-9, atol=1e-11)


@every_network
def test_without_dropout_every_sample_is_the_prediction(name, task):
    off = dict.fromkeys([*EVERYWHERE], 0.0)
    own = {name: 0.0 for name in NETWORKS[name][1] if name.endswith("_rate")}
    est, X = fitted(name, task, **off | own)
    expected = prediction(est, X)
    for sample in est.sample_predictions(X, 3, 0):
        np.testing.assert_allclose(sample, expected, rtol=1e-10, atol=1e-12)


@every_network
def test_a_vanishing_rate_leaves_the_prediction_and_no_spread(name, task):
    tiny = dict.fromkeys([*EVERYWHERE], 2e-5)
    own = {name: 2e-5 for name in NETWORKS[name][1] if name.endswith("_rate")}
    est, X = fitted(name, task, **tiny | own)
    samples = est.sample_predictions(X, 50, 0)
    np.testing.assert_allclose(np.median(samples, 0), prediction(est, X), rtol=1e-3, atol=1e-3)
    assert np.median(samples.std(0)) < 1e-2 * np.abs(samples).max()


@every_network
def test_parts_of_the_uncertainty(name, task):
    seed = 0
    est, X = fitted(name, task)
    samples = est.sample_predictions(X, 30, seed)
    got = est.predict_uncertainty(X, 30, seed)
    if task == "Classifier":
        np.testing.assert_allclose(samples.sum(-1), 1, rtol=1e-12)
        np.testing.assert_allclose(got.mean, samples.mean(0), rtol=1e-9)
        np.testing.assert_allclose(got.total, got.aleatoric + got.epistemic, rtol=1e-9, atol=1e-12)
        assert (got.epistemic >= 0).all()
        assert (got.total <= np.log(3) + 1e-12).all()
        return
    np.testing.assert_allclose(got.mean, samples.mean(0)[:, 0], rtol=1e-9)
    np.testing.assert_allclose(got.epistemic, samples.std(0)[:, 0], rtol=1e-7)
    np.testing.assert_allclose(got.total**2, got.aleatoric**2 + got.epistemic**2, rtol=1e-9)
    mean, std = est.predict(X, return_std=True, n_samples=30, random_state=seed)
    np.testing.assert_array_equal(mean, got.mean)
    np.testing.assert_array_equal(std, got.total)


@every_network
def test_only_dropout_switches_on(name, task):
    est, X = fitted(name, task)
    before = prediction(est, X)
    parameters = [array.copy() for part in est._parameters for array in part]
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    n_threads = torch.get_num_threads()
    est.predict_uncertainty(X, 5)
    assert torch.get_num_threads() == n_threads
    assert torch.is_grad_enabled()
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    for array, old in zip((a for part in est._parameters for a in part), parameters, strict=True):
        np.testing.assert_array_equal(array, old)
    np.testing.assert_array_equal(prediction(est, X), before)


@pytest.mark.parametrize("name", [name for name in NETWORKS if "tokens" not in name])
def test_standard_deviation_through_a_pipeline(name):
    est, X = fitted(name, "Regressor")
    scaler = StandardScaler().fit(X)
    pipeline = make_pipeline(scaler, est)
    mean, std = pipeline.predict(X, return_std=True, n_samples=10, random_state=1)
    expected = est.predict(scaler.transform(X), return_std=True, n_samples=10, random_state=1)
    np.testing.assert_array_equal([mean, std], expected)


def test_a_longer_row_of_padding_has_the_same_samples():
    est, X = fitted("tokens with fresh masks", "Regressor")
    padded = np.hstack([X, np.zeros((len(X), 5), dtype=int)])
    np.testing.assert_allclose(
        est.sample_predictions(padded, 8, 3), est.sample_predictions(X, 8, 3), rtol=1e-9
    )
