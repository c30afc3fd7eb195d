"""Rows, weights and batches: what each step is given, and what weights mean."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import is_classifier

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor
from sklearn_dropout.fit.samples import Sample

ESTIMATORS = [DropoutMLPClassifier, DropoutMLPRegressor]
SMALL = {"hidden_layer_sizes": (8, 5), "max_iter": 5, "random_state": 0}
ALL_DROPOUT = {"dropout_rate": 0.3, "input_dropout_rate": 0.2, "spatial_dropout_rate": 0.2}
SEEDS = [0, 1, 2]
both = pytest.mark.parametrize("Est", ESTIMATORS)


def problem(Est, seed=0, n=40):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    y = X[:, 0] + 0.5 * X[:, 1] ** 2 + 0.1 * rng.standard_normal(n)
    return X, np.digitize(y, [0, 1]) if is_classifier(Est()) else 5 * y + 2


def assert_same(one, other):
    """The same network, bit for bit, and the same curves."""
    for ours, theirs in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_):
        np.testing.assert_array_equal(ours, theirs)
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_


# Weights

VARIANTS = {
    "adam": {},
    "adamw": {"solver": "adamw", "alpha": 0.01},
    "sgd": {"solver": "sgd", "alpha": 0.1},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 10.0},
    "torch": {"solver": torch.optim.RMSprop},
    "max-norm": {"max_norm": 0.5},
    "tanh": {"activation": "tanh"},
}


@pytest.mark.parametrize("variant", VARIANTS)
@both
def test_weight_k_is_k_copies(Est, variant):
    """Bit for bit, dropout and all, in any order: a batch holds the full training set."""
    for seed in SEEDS:
        X, y = problem(Est, seed)
        rng = np.random.default_rng(seed)
        weight = rng.integers(0, 4, len(y))
        copies = rng.permutation(np.repeat(np.arange(len(y)), weight))
        params = SMALL | ALL_DROPOUT | VARIANTS[variant] | {"random_state": seed}
        weighted = Est(**params).fit(X, y, weight)
        copied = Est(**params).fit(X[copies], y[copies])
        assert_same(weighted, copied)


@both
def test_weight_k_is_k_copies_in_sparse_rows(Est):
    X, y = problem(Est)
    X = np.where(np.abs(X) > 0.5, X, 0)
    weight = np.arange(len(y)) % 4
    copies = np.repeat(np.arange(len(y)), weight)
    rare = Est(**SMALL, **ALL_DROPOUT).fit(sparse.csr_array(X), y, weight)
    assert_same(rare, Est(**SMALL, **ALL_DROPOUT).fit(sparse.csr_array(X[copies]), y[copies]))
    assert_same(rare, Est(**SMALL, **ALL_DROPOUT).fit(X, y, weight))


@both
def test_weight_k_is_k_copies_in_partial_fit(Est):
    X, y = problem(Est)
    weight = np.arange(len(y)) % 4
    copies = np.repeat(np.arange(len(y)), weight)
    first = {"classes": np.unique(y)} if is_classifier(Est()) else {}
    weighted, copied = Est(**SMALL, **ALL_DROPOUT), Est(**SMALL, **ALL_DROPOUT)
    for _ in range(3):
        weighted.partial_fit(X, y, sample_weight=weight, **first)
        copied.partial_fit(X[copies], y[copies], **first)
    assert_same(weighted, copied)


@both
def test_order_of_rows_does_not_matter_in_a_full_batch(Est):
    for seed in SEEDS:
        X, y = problem(Est, seed)
        X, y = np.tile(X, (3, 1)), np.tile(y, 3)  # whose weights are added in some order
        weight = np.random.default_rng(seed).uniform(0.5, 2, len(y))
        order = np.random.default_rng(seed).permutation(len(y))
        for w in (None, weight):
            one = Est(**SMALL, **ALL_DROPOUT).fit(X, y, w)
            other = Est(**SMALL, **ALL_DROPOUT).fit(
                X[order], y[order], None if w is None else w[order]
            )
            assert_same(one, other)


@both
def test_order_of_rows_matters_in_small_batches(Est):
    X, y = problem(Est)
    one, other = (
        Est(**SMALL, batch_size=16, shuffle=False).fit(X[::step], y[::step]) for step in (1, -1)
    )
    assert not np.array_equal(one.coefs_[0], other.coefs_[0])


@pytest.mark.parametrize("batch_size", ["auto", 16])
@both
def test_weights_of_one_are_no_weights(Est, batch_size):
    X, y = problem(Est)
    params = SMALL | ALL_DROPOUT | {"batch_size": batch_size}
    assert_same(Est(**params).fit(X, y, np.ones(len(y))), Est(**params).fit(X, y))


@pytest.mark.parametrize("batch_size", ["auto", 16])
@both
def test_only_ratios_of_weights_matter_without_a_penalty(Est, batch_size):
    X, y = problem(Est)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    params = SMALL | ALL_DROPOUT | {"batch_size": batch_size, "alpha": 0.0}
    assert_same(Est(**params).fit(X, y, weight), Est(**params).fit(X, y, 1024 * weight))


@pytest.mark.parametrize("batch_size", ["auto", 16])
@both
def test_rows_of_weight_zero_are_left_out(Est, batch_size):
    for seed in SEEDS:
        X, y = problem(Est, seed)
        weight = np.where(np.random.default_rng(seed).uniform(size=len(y)) < 0.3, 0.0, 1.0)
        kept = weight > 0
        params = SMALL | ALL_DROPOUT | {"batch_size": batch_size}
        without = Est(**params).fit(X[kept], y[kept])
        X[~kept] = 1e30  # whatever they hold
        assert_same(Est(**params).fit(X, y, weight), without)


@both
def test_validation_rows_of_weight_zero_are_left_out(Est):
    X, y = problem(Est)
    X_val, y_val = problem(Est, seed=1, n=20)
    weight = np.where(np.arange(20) < 15, 1.0, 0.0)
    params = SMALL | {"early_stopping": True}
    one = Est(**params).fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    other = Est(**params).fit(X, y, X_val=X_val[:15], y_val=y_val[:15])
    assert one.validation_scores_ == pytest.approx(other.validation_scores_, abs=1e-6)
    assert one.history_[:, "valid_loss"] == pytest.approx(other.history_[:, "valid_loss"], rel=1e-5)


@both
def test_negative_zeros_are_zeros(Est):
    """Rows that are equal as numbers are merged, even if their bits differ."""
    X, y = problem(Est)
    X[:20, 0] = 0.0
    X, y = np.vstack([X, X[:20]]), np.concatenate([y, y[:20]])
    signed = X.copy()
    signed[40:, 0] = -0.0
    one, other = (Est(**SMALL, **ALL_DROPOUT).fit(A, y) for A in (X, signed))
    assert_same(one, other)


def repeated_rows():
    """Four kinds of rows, ten times each, and the same with differences in the seventh digit."""
    rng = np.random.default_rng(0)
    X = np.tile(rng.standard_normal((4, 4)), (10, 1))
    return X, X + 1e-6 * rng.standard_normal(X.shape), np.tile([0, 1, 0, 1], 10)


@pytest.mark.parametrize("batch_size", [8, 40])
@pytest.mark.parametrize("variant", ["adam", "sgd", "invscaling"])
@both
def test_equal_rows_train_like_rows_that_are_all_but_equal(Est, variant, batch_size):
    """An epoch has as many steps as the batch size says, however many rows are equal."""
    X, nearly, y = repeated_rows()
    params = SMALL | VARIANTS[variant] | {"batch_size": batch_size, "activation": "tanh"}
    params |= {"dropout_rate": 0.0, "shuffle": False, "learning_rate_init": 0.01}
    one, other = (Est(**params).fit(A, y) for A in (X, nearly))
    for ours, theirs in zip(one.coefs_, other.coefs_):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("batch_size", [8, 40])
@both
def test_equal_rows_are_counted_as_seen(Est, batch_size):
    X, nearly, y = repeated_rows()
    for A in (X, nearly):
        assert Est(**SMALL, batch_size=batch_size).fit(A, y).t_ == 40 * SMALL["max_iter"]


@pytest.mark.parametrize("step", ["fit", "predict"])
@pytest.mark.parametrize("engine", ["auto", "torch"])
@both
def test_sparse_rows_are_never_dense_all_at_once(Est, monkeypatch, engine, step):
    rng = np.random.default_rng(0)
    n, n_features = 5000, 300
    X = sparse.csr_array(rng.random((n, n_features)) * (rng.random((n, n_features)) < 0.01))
    y = np.arange(n) % 2
    est = Est((5,), max_iter=1, batch_size=50, random_state=0, engine=engine)
    if step == "predict":
        est.fit(X[:100], y[:100])
    made_dense = []

    def spy(owner, name):
        original = getattr(owner, name)

        def method(self, *args, **kwargs):
            made_dense.append(self.shape[0])
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, method)

    for owner in (sparse.csr_array, sparse.csr_matrix):
        spy(owner, "toarray")
        spy(owner, "todense")
    est.fit(X, y) if step == "fit" else est.predict(X)
    assert max(made_dense, default=0) <= n / 5
    if step == "fit" and engine == "torch":
        assert sum(made_dense) >= n


# The parts


def make_sample(rows, weight=None, form=np.asarray):
    """A sample whose first input tells the row."""
    X = np.random.default_rng(0).standard_normal((30, 3)).astype(np.float32)
    X[:, 0] = np.arange(30) + 1
    rows = np.asarray(rows)
    targets = np.array([[0.0], [1.0]], dtype=np.float32)
    return Sample(form(X), rows, targets, rows % 2, weight)


@pytest.mark.parametrize("positions", [np.array([4, 0, 2]), slice(1, 4)])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_inputs_and_targets_belong_to_their_rows(form, positions):
    rows = np.array([3, 8, 9, 20, 21])
    sample = make_sample(rows, form=form)
    x, y = sample.inputs(positions), sample.answers(positions)
    np.testing.assert_array_equal(x[:, 0].numpy() - 1, rows[positions])
    np.testing.assert_array_equal(y[:, 0].numpy(), rows[positions] % 2)


def test_inputs_are_a_copy():
    """What a callback does to a batch must not change the data of the user."""
    sample = make_sample(np.arange(30))
    sample.inputs(slice(0, 5)).zero_()
    assert sample.X[:5].all()


def test_shares_sum_to_one():
    weight = np.array([0.5, 2.0, 1.5])
    share, total = make_sample([1, 2, 3], weight).shares(np.array([0, 1]))
    np.testing.assert_allclose(share.numpy(), [0.2, 0.8])
    assert total == 2.5
    share, total = make_sample([1, 2, 3]).shares()
    np.testing.assert_allclose(share.numpy(), [1 / 3] * 3)
    assert total == 3.0
