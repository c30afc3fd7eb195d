"""Concrete dropout: learned rates."""

import pickle

import numpy as np
import pytest
import torch
from _families import ALL, problem, small
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV
from sklearn_dropout.nn import ConcreteDropout
from sklearn_dropout.nn.concrete import concrete_layers

all_families = pytest.mark.parametrize("Est", ALL)


def test_relaxed_masks():
    """Gal, Hron & Kendall 2017, eq. 5, for numbers drawn by hand."""
    layer = ConcreteDropout(0.3, generator=torch.Generator().manual_seed(0))
    x = layer(torch.ones(400, 50, dtype=torch.float64))
    assert float(x.mean().detach()) == pytest.approx(1, abs=0.02)
    near = (x < 0.01) | (abs(x - 1 / 0.7) < 0.01)
    assert float(near.double().mean()) > 0.75
    lanes = torch.tensor([[-32768, 0, 32767]], dtype=torch.int16)
    layer._lanes = lambda shape, like: lanes
    u = (lanes.double() + 32768.5) / 65536
    z = torch.sigmoid((np.log(0.3 / 0.7) + torch.log(u) - torch.log(1 - u)) / 0.1)
    torch.testing.assert_close(layer(torch.ones(1, 3, dtype=torch.float64)).detach(), (1 - z) / 0.7)
    assert torch.equal(layer.eval()(torch.ones(1, 3)), torch.ones(1, 3))


def test_regularizer():
    layer, weight = ConcreteDropout(0.3), torch.ones(2, 5)
    entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7))
    expected = 0.5 * 0.1 * 10 / 0.7 - 0.02 * 5 * entropy
    assert float(layer.regularizer([weight], 0.1, 0.02).detach()) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"rate=0 is outside \(0, 1\)"):
        ConcreteDropout(0)


def test_rates_fall_with_more_data():
    """The synthetic data of the paper, section 4.1: y = 2x + 8 + noise."""
    rates = []
    for n in (30, 1000):
        rng = np.random.default_rng(0)
        X = rng.uniform(-2, 2, (n, 1))
        y = 2 * X.ravel() + 8 + rng.standard_normal(n)
        est = DropoutMLPRegressor((50,), loss="gaussian", dropout_type="concrete", random_state=0)
        est.set_params(batch_size=100, max_iter=600 // (1 + n // 100), learning_rate_init=0.01)
        rates.append(est.fit(X, y).dropout_rates_["hidden"].item())
    assert rates[1] < 0.5 * rates[0]


@all_families
def test_laws(Est):
    """Same seed, same rates; parts of a fit; saved; drawn with the learned rates."""
    X, y = problem(Est)
    est = small(Est, dropout_type="concrete", hidden_layer_sizes=(6, 5), learning_rate_init=0.02)
    if "conv_dropout_rate" in est.get_params():
        est.set_params(conv_dropout_rate=0.2)
    uninterrupted, again, parts = clone(est).fit(X, y), clone(est).fit(X, y), clone(est)
    for _ in range(est.max_iter):
        classes = {"classes": np.unique(y)} if hasattr(Est, "predict_proba") else {}
        parts.partial_fit(X, y, **classes)
    rates = uninterrupted.dropout_rates_["hidden"]
    assert rates.shape == (2,)
    assert (abs(rates - 0.3) > 1e-4).all()
    for other in (again, parts, pickle.loads(pickle.dumps(uninterrupted))):
        np.testing.assert_array_equal(other.dropout_rates_["hidden"], rates)
        for a, b in zip(uninterrupted.coefs_, other.coefs_):
            np.testing.assert_array_equal(a, b)
    shown = [layer.rate for layer, _ in concrete_layers(uninterrupted.module_)][-2:]
    np.testing.assert_allclose(shown, rates, rtol=1e-6)
    samples = uninterrupted.sample_predictions(X, 5, random_state=0)
    assert samples.std(axis=0).max() > 0
    assert est.get_params()["dropout_rate"] == 0.3


def test_a_row_of_weight_two_is_two_rows():
    X, y = problem(DropoutMLPRegressor)
    weight = np.random.default_rng(0).integers(1, 4, len(y))
    est = DropoutMLPRegressor((5,), max_iter=5, random_state=0, dropout_type="concrete")
    copies = clone(est).fit(X.repeat(weight, axis=0), y.repeat(weight))
    weighted = est.fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(weighted.coefs_[0], copies.coefs_[0])
    np.testing.assert_array_equal(
        weighted.dropout_rates_["hidden"], copies.dropout_rates_["hidden"]
    )


def test_early_stopping_restores_the_rates_of_the_best_epoch():
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier(
        (5,), dropout_type="concrete", early_stopping=True, max_iter=30, learning_rate_init=0.1
    )
    est.set_params(random_state=0, n_iter_no_change=30).fit(X, y)
    assert est.best_validation_score_ == max(est.validation_scores_)
    assert 0 < est.dropout_rates_["hidden"].item() < 1


def test_in_a_search():
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier((5,), max_iter=3, random_state=0, dropout_type="concrete")
    grid = {"dropout_rate": [0.1, 0.4], "alpha": [0.0, 0.1]}
    ours, theirs = (
        Search(est, grid, cv=2, scoring="neg_log_loss").fit(X, y)
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    found, expected = (s.cv_results_["mean_test_score"] for s in (ours, theirs))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_does_not_go_together():
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier((5,), dropout_type="concrete", max_iter=1)
    with pytest.raises(ValueError, match="dropout_schedule='linear' changes rates that"):
        clone(est).set_params(dropout_schedule="linear").fit(X, y)
    with pytest.raises(ValueError, match=r"engine='compiled' cannot .* learns its rates"):
        clone(est).set_params(engine="compiled").fit(X, y)
    assert not est._compiled()
