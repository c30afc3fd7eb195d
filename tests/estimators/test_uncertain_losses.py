"""``loss="gaussian"`` and ``loss="quantile"`` of all regressors."""

import pickle

import numpy as np
import pytest
import torch
from _families import ALL, problem, small
from sklearn.base import clone, is_regressor
from sklearn.linear_model import QuantileRegressor

from sklearn_dropout import DropoutMLPRegressor, predictive_log_likelihood
from sklearn_dropout.nn.losses import LARGEST_LOG_VARIANCE, LOSSES, pinball

REGRESSORS = [Est for Est in ALL if is_regressor(Est())]
regressors = pytest.mark.parametrize("Est", REGRESSORS)
engines = pytest.mark.parametrize("engine", ["compiled", "torch"])


def heteroscedastic(n, seed=0):
    """Noise with a standard deviation of 1 on the left and 5 on the right."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, 1))
    return x, 50 + 10 * np.sin(2 * x.ravel()) + np.where(x.ravel() > 0, 5, 1) * rng.normal(size=n)


def network(**params):
    defaults = {"dropout_rate": 0, "max_iter": 150, "learning_rate_init": 0.01, "random_state": 0}
    return DropoutMLPRegressor((30,), **defaults | params)


def test_gaussian_loss_is_the_likelihood():
    z, y = torch.randn(2, 50, 4, dtype=torch.float64)
    mean, log = z[:, :2], LARGEST_LOG_VARIANCE * torch.tanh(z[:, 2:] / LARGEST_LOG_VARIANCE)
    expected = torch.nn.functional.gaussian_nll_loss(
        mean, y[:, :2], log.exp(), reduction="none", eps=1e-12
    )
    torch.testing.assert_close(LOSSES["gaussian"].rows(z, y), expected.sum(1))


def test_pinball_loss():
    z, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [1.0]])
    torch.testing.assert_close(pinball(0.9).rows(z, y), torch.tensor([0.9, 0.1]))


@pytest.mark.parametrize(("engine", "dropout_rate"), [("compiled", 0.0), ("torch", 0.1)])
def test_noise_that_depends_on_x_is_found(engine, dropout_rate):
    X, y = heteroscedastic(3000)
    reg = network(loss="gaussian", dropout_rate=dropout_rate, engine=engine, batch_size=100)
    reg.set_params(max_iter=60).fit(X, y)
    found = reg.predict_uncertainty([[-1.0], [1.0]], random_state=0)
    if dropout_rate:  # its own noise comes on top
        assert found.aleatoric[1] > 2.5 * found.aleatoric[0]
    else:
        np.testing.assert_allclose(found.aleatoric, [1, 5], rtol=0.25)
    np.testing.assert_allclose(found.total**2, found.aleatoric**2 + found.epistemic**2)
    if not dropout_rate:
        np.testing.assert_allclose(reg.predict([[-1.0], [1.0]]), found.mean)
        assert not found.epistemic.any()


@regressors
def test_constant_noise_is_the_spread_of_the_residuals(Est):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 4))
    y = 3 * X[:, 0] + 2 * rng.standard_normal(600)
    reg = small(Est, loss="gaussian", dropout_rate=0, learning_rate_init=0.01, max_iter=40)
    reg.set_params(batch_size=50).fit(X, y)
    mean, std = reg.predict(X, return_std=True)
    assert std.shape == mean.shape == (600,)
    assert np.sqrt(np.mean(std**2)) == pytest.approx(np.std(y - mean), rel=0.1)


@regressors
@pytest.mark.parametrize("loss", ["gaussian", "quantile"])
def test_laws_of_regressors_hold(Est, loss):
    """Several outputs, other units of `y`, equal rows, parts of a fit, pickles, callbacks."""
    X, y = problem(Est)
    Y = np.column_stack([y, -2 * y])
    est = small(Est, loss=loss)
    fitted = clone(est).fit(X, Y)
    assert fitted.predict(X).shape == (48, 2)
    assert fitted.n_outputs_ == 2
    scaled = clone(est).fit(X, 1000 * Y - 7)
    np.testing.assert_allclose(scaled.predict(X), 1000 * fitted.predict(X) - 7, rtol=1e-3, atol=0.5)
    stds = [e.predict_uncertainty(X, random_state=0).aleatoric for e in (fitted, scaled)]
    np.testing.assert_allclose(stds[1], 1000 * stds[0], rtol=1e-3)
    parts = clone(est)
    for _ in range(est.max_iter):
        parts.partial_fit(X, Y)
    for a, b in zip(parts.coefs_, fitted.coefs_):
        np.testing.assert_array_equal(a, b)
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    x = torch.tensor(X, dtype=torch.float32)
    with torch.no_grad():
        np.testing.assert_allclose(fitted.module_(x), fitted.predict(X), rtol=1e-4, atol=1e-3)
    one_batch = clone(est).set_params(batch_size=500)
    weight = np.random.default_rng(0).integers(1, 4, len(y))
    copies = clone(one_batch).fit(X.repeat(weight, axis=0), y.repeat(weight))
    weighted = one_batch.fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(weighted.coefs_[0], copies.coefs_[0])


@pytest.mark.parametrize("loss", ["gaussian", "quantile"])
def test_engines_agree(loss):
    X, y = problem(DropoutMLPRegressor)
    fits = [
        small(DropoutMLPRegressor, loss=loss, quantile=0.8, max_iter=20, engine=engine).fit(X, y)
        for engine in ("compiled", "torch")
    ]
    # In standard units; the pinball loss has two slopes, and rounding decides between them at ties.
    np.testing.assert_allclose(*(f.predict(X) for f in fits), atol=1e-3 * y.std())
    np.testing.assert_allclose(*(f.noise_std_ for f in fits), rtol=1e-3)


def test_no_learning_rate_gives_an_infinite_variance():
    X, y = problem(DropoutMLPRegressor)
    reg = network(loss="gaussian", learning_rate_init=100.0, max_iter=5)
    std = reg.fit(X, y).predict_uncertainty(X).aleatoric
    assert (std > 0).all()
    assert np.isfinite(std).all()
    assert std.max() <= np.exp(LARGEST_LOG_VARIANCE / 2) * y.std() * 1.001


def test_a_constant_target_has_no_noise():
    X, _ = problem(DropoutMLPRegressor)
    reg = network(loss="gaussian", max_iter=3).fit(X, np.full(len(X), 2.5))
    mean, std = reg.predict(X, return_std=True)
    assert (mean == 2.5).all()
    assert not std.any()


def test_early_stopping_and_curves():
    X, y = heteroscedastic(300)
    reg = network(loss="gaussian", early_stopping=True, max_iter=20).fit(X, y)
    assert reg.best_validation_score_ == max(reg.validation_scores_)
    rng = np.random.default_rng(0)
    kept = rng.permutation(300)[:50]
    reg = network(loss="gaussian", max_iter=3).fit(X, y, X_val=X[kept], y_val=y[kept])
    assert reg.validation_scores_[-1] == pytest.approx(reg.score(X[kept], y[kept]), abs=1e-4)


def test_likelihood_takes_the_noise_of_each_sample():
    X, y = heteroscedastic(400)
    reg = network(loss="gaussian", dropout_rate=0.1).fit(X, y)
    samples, std = reg.sample_predictions(X, 20, random_state=0, return_std=True)
    assert samples.shape == std.shape == (20, 400, 1)
    np.testing.assert_array_equal(samples, reg.sample_predictions(X, 20, random_state=0))
    found = predictive_log_likelihood(y, samples, 1 / std**2)
    density = np.exp(-0.5 * ((y[:, None] - samples) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    assert found == pytest.approx(np.log(density.mean(axis=0)).mean())
    assert found > predictive_log_likelihood(y, samples, 1 / reg.noise_std_**2)
    squares = network(dropout_rate=0.1).fit(X, y)
    _, std = squares.sample_predictions(X, 3, return_std=True)
    np.testing.assert_allclose(std, squares.noise_std_.item())


@pytest.mark.parametrize(("engine", "quantile"), [("compiled", 0.1), ("torch", 0.9)])
def test_fraction_below_is_the_quantile(engine, quantile):
    X, y = heteroscedastic(2000)
    reg = network(loss="quantile", quantile=quantile, engine=engine, batch_size=100, max_iter=60)
    reg.set_params(learning_rate="cosine")
    below = y < reg.fit(X, y).predict(X)
    assert below.mean() == pytest.approx(quantile, abs=4 * np.sqrt(quantile / 2000))


def test_linear_quantile_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 2))
    y = X @ [2.0, -1.0] + (1 + 0.5 * X[:, 0]) * rng.standard_normal(300)
    reg = DropoutMLPRegressor((), loss="quantile", quantile=0.7, alpha=0, max_iter=3000)
    reg.set_params(random_state=0, learning_rate_init=0.02, learning_rate="cosine").fit(X, y)
    theirs = QuantileRegressor(quantile=0.7, alpha=0).fit(X, y)
    np.testing.assert_allclose(reg.coefs_[0].ravel(), theirs.coef_, atol=0.02)
    assert reg.intercepts_[0].item() == pytest.approx(theirs.intercept_, abs=0.02)


@pytest.mark.parametrize("quantile", [0, 1, -0.2, "half"])
def test_bad_quantiles_are_refused(quantile):
    X, y = problem(DropoutMLPRegressor)
    with pytest.raises(ValueError, match="'quantile' parameter of DropoutMLPRegressor"):
        network(loss="quantile", quantile=quantile).fit(X, y)


def test_a_fitted_network_has_one_kind_of_loss():
    X, y = problem(DropoutMLPRegressor)
    reg = network(warm_start=True, max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="loss='gaussian' scales targets differently"):
        reg.set_params(loss="gaussian").fit(X, y)
