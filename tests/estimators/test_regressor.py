"""Regressors: targets in standard units inside, in the units of `y` outside."""

import numpy as np
import pytest
import torch
from _families import ALL, small
from _families import problem as families_problem
from sklearn.base import is_classifier
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from sklearn_dropout import DropoutMLPRegressor, DropoutSearchCV

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0, "batch_size": 16}
LOSSES = ["squared_error", "absolute_error", "huber", "poisson"]
SEEDS = [0, 1, 2]


def problem(seed=0, n=60, n_outputs=1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    y = X[:, :n_outputs] + 0.5 * X[:, 3:] ** 2 + 0.1 * rng.standard_normal((n, n_outputs))
    return X, y[:, 0] if n_outputs == 1 else y


def fitted(X, y, **params):
    return DropoutMLPRegressor(**SMALL | params).fit(X, y)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_every_loss_learns(loss, n_outputs):
    for seed in SEEDS:
        X, y = problem(seed, n_outputs=n_outputs)
        y = np.exp(y) if loss == "poisson" else 100 * y + 1000
        params = {"max_iter": 150, "learning_rate_init": 0.02, "dropout_rate": 0.0}
        est = fitted(X, y, loss=loss, hidden_layer_sizes=(30,), **params)
        assert est.score(X, y) > 0.8
        assert est.loss_ < 0.5 * est.loss_curve_[0]


@pytest.mark.parametrize("loss", LOSSES)
def test_without_inputs_the_prediction_is_the_minimum_of_the_loss(loss):
    """The mean, the median, Huber's M-estimate, and the mean again."""
    for seed in SEEDS:
        y = np.random.default_rng(seed).lognormal(size=41)
        X = np.zeros((41, 1))
        params = {"hidden_layer_sizes": (), "batch_size": 41, "alpha": 0.0, "loss": loss}
        params |= {"learning_rate_init": 0.02, "max_iter": 600, "beta_1": 0.0, "beta_2": 0.99}
        est = fitted(X, y, solver="sgd", momentum=0.0, **params)
        if loss == "huber":
            # What remains at the minimum, cut off at one standard deviation, sums to zero.
            rest = np.clip((y - est.predict(X)) / y.std(), -1, 1)
            assert rest.mean() == pytest.approx(0, abs=1e-3)
        else:
            expected = np.median(y) if loss == "absolute_error" else y.mean()
            assert est.predict(X[:1])[0] == pytest.approx(expected, abs=0.03 * y.std())


def test_huber_and_absolute_error_resist_outliers():
    X, y = problem(n=80)
    clean = y.copy()
    y[:4] += 50
    params = {"max_iter": 200, "learning_rate_init": 0.02, "dropout_rate": 0.0, "batch_size": 80}
    errors = [
        np.abs(fitted(X, y, **params, loss=loss).predict(X) - clean)[4:].mean()
        for loss in ("absolute_error", "huber", "squared_error")
    ]
    assert 2 * errors[0] < errors[1] < errors[2]


def test_outputs_are_exponentials_for_poisson():
    X, y = problem()
    est = fitted(X, np.floor(np.exp(y)), loss="poisson")
    assert est.out_activation_ == "exp"
    assert (est.predict(100 * X) > 0).all()
    assert fitted(X, y).out_activation_ == "identity"


@pytest.mark.parametrize("loss", LOSSES)
def test_a_change_of_units_changes_nothing_else(loss):
    """By a power of two, so that no rounding differs: the same network bit for bit."""
    X, y = problem()
    y = np.exp(y)
    est, scaled = fitted(X, y, loss=loss), fitted(X, 1024 * y, loss=loss)
    assert est.loss_curve_ == scaled.loss_curve_
    np.testing.assert_array_equal(est.coefs_[0], scaled.coefs_[0])
    np.testing.assert_allclose(scaled.predict(X), 1024 * est.predict(X), rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_a_change_of_origin_changes_nothing_else(loss):
    X, y = problem()
    est, moved = fitted(X, y, loss=loss), fitted(X, 30 * y - 500, loss=loss)
    np.testing.assert_allclose(moved.coefs_[0], est.coefs_[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(moved.predict(X), 30 * est.predict(X) - 500, atol=1e-2)


def test_targets_far_from_zero_keep_their_spread():
    """A spread of 1e-3 around 1e6 is lost in float32, but not in standard units."""
    X, y = problem()
    params = {"max_iter": 150, "learning_rate_init": 0.02, "dropout_rate": 0.0}
    est = fitted(X, 1e6 + 1e-3 * y, **params)
    assert est.predict(X).dtype == np.float64
    assert r2_score(1e6 + 1e-3 * y, est.predict(X)) > 0.8


# Targets that do not vary


def everywhere(est, X):
    """Answers of all kinds, near the data and far from them."""
    X = np.vstack([X, 1e6 * X])
    samples = est.sample_predictions(X, n_samples=3, random_state=0)
    return [est.predict(X), samples, est.predict_uncertainty(X, 3, random_state=0).mean]


@pytest.mark.parametrize("value", [0.0, 0.1, -3.5, 1e9, 1e-200])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_constant_target(loss, value):
    """A user got answers between 4 and 6 where every target was 5."""
    X, _ = problem()
    value = abs(value) if loss == "poisson" else value
    est = fitted(X, np.full(len(X), value), loss=loss)
    for answers in everywhere(est, X):
        assert answers.dtype == np.float64
        assert (answers == value).all()
    assert est.noise_std_.tolist() == [0]
    _, std = est.predict(X, return_std=True, n_samples=3)
    assert (std == 0).all()
    (answer,) = set(est.module_.eval()(torch.tensor(X, dtype=torch.float32)).ravel().tolist())
    assert answer == pytest.approx(np.float32(value), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_constant_column(loss):
    """The other columns are learned as if it were not there."""
    X, y = problem(n_outputs=2)
    y = np.exp(y)
    y[:, 1] = 0.3
    params = {"loss": loss, "max_iter": 150, "learning_rate_init": 0.02, "dropout_rate": 0.0}
    est = fitted(X, y, hidden_layer_sizes=(30,), **params)
    answers = est.predict(X)
    assert (answers[:, 1] == 0.3).all()
    assert r2_score(y[:, 0], answers[:, 0]) > 0.8
    assert est.noise_std_[0] > 0
    assert est.noise_std_[1] == 0


def test_a_constant_fold():
    """A fold of one value scores as scikit-learn's dummy would, in both searches."""
    X, y = problem()
    y[20:] = 2.5  # all that the first of three folds trains on
    est = DropoutMLPRegressor(**SMALL)
    scores = [
        Search(est, {"alpha": [0, 0.1]}, cv=3, scoring="neg_mean_absolute_error", refit=False)
        .fit(X, y)
        .cv_results_["split0_test_score"]
        for Search in (DropoutSearchCV, GridSearchCV)
    ]
    np.testing.assert_array_equal(scores, -np.abs(y[:20] - 2.5).mean() * np.ones((2, 2)))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("unit", [1e-200, 1e-30, 1e30])
def test_targets_of_any_size_vary(loss, unit):
    """Near 1e-200 squares are zero, and targets were taken as constant."""
    X, y = problem()
    y = np.exp(y)
    params = {"loss": loss, "max_iter": 100, "learning_rate_init": 0.02, "dropout_rate": 0.0}
    est, plain = fitted(X, unit * y, **params), fitted(X, y, **params)
    np.testing.assert_allclose(est.predict(X) / unit, plain.predict(X), rtol=0.05, atol=0.01)
    np.testing.assert_allclose(est.noise_std_ > 0, True)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("first", ["one row", "equal rows", "zeros"])
def test_the_scale_is_found_once_targets_vary(loss, first):
    """A first call with one row fixed a scale of 1: targets of thousands were never reached."""
    X, y = problem()
    y = 1000 * np.exp(y)
    params = {"loss": loss, "learning_rate_init": 0.02, "dropout_rate": 0.0}
    est = DropoutMLPRegressor(**SMALL | params | {"hidden_layer_sizes": (30,)})
    if first == "one row":
        est.partial_fit(X[:1], y[:1])
        assert est.predict(X).tolist() == [y[0]] * len(X)
    else:
        est.partial_fit(X[:9], np.full(9, 0.0 if first == "zeros" else 7.0))
        assert len(set(est.predict(X))) == 1
    coefs = est.coefs_[0]
    est.partial_fit(X, y)
    assert np.abs(est.coefs_[0] - coefs).max() < 0.3  # the same network, a few steps later
    for _ in range(150):
        est.partial_fit(X, y)
    assert est.score(X, y) > 0.7


@pytest.mark.parametrize("warm_start", [False, True])
def test_warm_start_after_a_constant_target(warm_start):
    X, y = problem()
    y = 1000 * y + 5000
    params = {"learning_rate_init": 0.02, "dropout_rate": 0.0, "max_iter": 150}
    est = fitted(X, np.full(60, 5.0), warm_start=warm_start, **params)
    assert (est.predict(X) == 5).all()
    assert est.fit(X, y).score(X, y) > 0.8
    assert est.fit(X, np.full(60, 5.0)).predict(X).std() > 0 or not warm_start


def test_columns_that_vary_keep_their_units_when_another_begins_to():
    X, y = problem(n_outputs=2)
    y = 100 * y
    est = DropoutMLPRegressor(**SMALL | {"learning_rate_init": 1e-6})
    est.partial_fit(X, np.column_stack([y[:, 0], np.full(60, 3.0)]))
    before = est.predict(X)
    est.partial_fit(X, np.column_stack([7 * y[:, 0] - 5, y[:, 1]]))
    after = est.predict(X)
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=0.1)
    assert (before[:, 1] == 3).all()
    assert after[:, 1].std() > 1
    assert r2_score(y[:, 1], after[:, 1]) > -5  # in the units of the targets


def test_one_row_after_the_other():
    """The second value tells that the targets vary, though neither call has two."""
    X, _ = problem()
    est = DropoutMLPRegressor(**SMALL | {"learning_rate_init": 1e-6})
    for _ in range(2):
        est.partial_fit(X[:1], [300.0])
    assert (est.predict(X) == 300).all()
    est.partial_fit(X[1:2], [500.0])
    answers = est.predict(X)
    assert answers.std() > 10
    assert abs(answers.mean() - 400) < 200


def test_a_call_that_fails_keeps_the_constant():
    X, y = problem()
    est = DropoutMLPRegressor(**SMALL, activation="relu").partial_fit(X, np.full(60, 3.0))
    with pytest.raises(ValueError, match="diverged"):
        est.partial_fit(np.full_like(X, 3e38), y)
    assert (est.predict(X) == 3).all()


@pytest.mark.parametrize("Est", [Est for Est in ALL if not is_classifier(Est())])
def test_a_constant_target_in_all_families(Est):
    X, y = families_problem(Est)
    est = small(Est, warm_start=True).fit(X, np.full(len(y), 0.1))
    assert (est.predict(X) == 0.1).all()
    assert est.fit(X, y).predict(X).std() > 0


def test_a_single_row():
    est = fitted(np.ones((1, 4)), [5.0])
    assert est.predict(np.ones((1, 4))).tolist() == [5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_have_the_precision_of_the_inputs(dtype):
    X, y = problem()
    est = fitted(X, y)
    assert est.predict(X.astype(dtype)).dtype == dtype
    assert est.predict(X.astype(dtype)).shape == (60,)


def test_integer_targets():
    X, y = problem()
    y = np.rint(10 * y).astype(int)
    np.testing.assert_array_equal(fitted(X, y).predict(X), fitted(X, y.astype(float)).predict(X))


def test_several_outputs():
    X, y = problem(n_outputs=3)
    y = y * [1, 1000, 1e-3] + [0, 5, 7]
    est = fitted(X, y, max_iter=200, learning_rate_init=0.02, dropout_rate=0.0)
    assert est.n_outputs_ == 3
    assert est.predict(X).shape == (60, 3)
    for place in range(3):
        assert r2_score(y[:, place], est.predict(X)[:, place]) > 0.7


def test_one_output_in_a_column_is_flattened_with_a_warning():
    X, y = problem()
    with pytest.warns(match="A column-vector y was passed"):
        est = fitted(X, y[:, None])
    assert est.predict(X).shape == (60,)
    np.testing.assert_array_equal(est.predict(X), fitted(X, y).predict(X))


def test_standard_units_are_weighted():
    """Rows of weight zero have no part in location and scale."""
    X, y = problem()
    weight = np.where(np.arange(60) < 50, 1.0, 0.0)
    y[50:] = 1e6
    est = DropoutMLPRegressor(**SMALL).fit(X, y, weight)
    np.testing.assert_array_equal(est.predict(X), fitted(X[:50], y[:50]).predict(X))


def test_first_partial_fit_fixes_the_units():
    X, y = problem()
    est = DropoutMLPRegressor(**SMALL | {"learning_rate_init": 1e-6}).partial_fit(X, y)
    before = est.predict(X)
    est.partial_fit(X, 1000 * y + 7)
    np.testing.assert_allclose(est.predict(X), before, atol=1e-3)


def test_continued_fits_need_the_same_number_of_outputs():
    X, y = problem(n_outputs=2)
    est = DropoutMLPRegressor(**SMALL).partial_fit(X, y)
    with pytest.raises(ValueError, match="1 outputs, but 2 were fitted"):
        est.partial_fit(X, y[:, 0])
    with pytest.raises(ValueError, match="1 outputs, but 2 were fitted"):
        est.set_params(warm_start=True).fit(X, y[:, 0])


def test_score_recorded_for_poisson_is_in_the_units_of_y():
    X, y = problem()
    y = np.floor(np.exp(y))
    est = DropoutMLPRegressor(**SMALL, loss="poisson").fit(X, y, X_val=X, y_val=y)
    assert est.validation_scores_[-1] == pytest.approx(est.score(X, y), abs=1e-5)
