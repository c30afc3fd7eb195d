"""Rows, weights and batches: what each step is given, and what weights mean."""

from itertools import chain

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import is_classifier

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor
from sklearn_dropout._samples import Batches, Sample, StackedSample

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
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3, "max_iter": 15},
}


@pytest.mark.parametrize("variant", VARIANTS)
@both
def test_weight_k_is_k_copies(Est, variant):
    """Bit for bit, dropout and all, in any order: a batch holds the whole training set."""
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
    """Rows that are equal as numbers are merged, whatever their bits."""
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
@both
def test_sparse_rows_are_never_dense_all_at_once(Est, monkeypatch, step):
    rng = np.random.default_rng(0)
    n, n_features = 5000, 300
    X = sparse.csr_array(rng.random((n, n_features)) * (rng.random((n, n_features)) < 0.01))
    y = np.arange(n) % 2
    est = Est((5,), max_iter=1, batch_size=50, random_state=0)
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
    assert made_dense
    assert max(made_dense) <= n / 5
    assert sum(made_dense) >= n


# The parts


def make_sample(n_total=30, rows=None, weight=None, seed=0, form=np.asarray):
    """A sample whose first input tells the row."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_total, 3)).astype(np.float32)
    X[:, 0] = np.arange(n_total) + 1
    rows = np.arange(n_total) if rows is None else np.asarray(rows)
    targets = np.array([[0.0], [1.0]], dtype=np.float32)
    return Sample(form(X), rows, targets, rows % 2, weight)


def make_batches(samples, batch_size, streams=None, shuffle=True, values_per_row=10):
    streams = list(range(len(samples))) if streams is None else streams
    generators = [np.random.default_rng(s) for s in sorted(set(streams))] if shuffle else None
    return Batches(StackedSample(samples), batch_size, generators, streams, values_per_row)


def steps_of(batches, n_epochs=1):
    """Steps (x, y, weight, total weight) of each of some epochs."""
    epochs = [[] for _ in range(n_epochs)]
    for segment in batches.segments(n_epochs):
        for block in segment:
            steps = block.steps()
            per_epoch = len(steps) // n_epochs
            for epoch in range(n_epochs):
                epochs[epoch] += steps[epoch * per_epoch : (epoch + 1) * per_epoch]
    return epochs


def rows_of(steps, network=0):
    """Row numbers of each step."""
    return [(x[network, :, 0].numpy() - 1).astype(int).tolist() for x, *_ in steps]


def all_rows_of(steps, network=0):
    return list(chain.from_iterable(rows_of(steps, network)))


@pytest.mark.parametrize("batch_size", [1, 4, 7, 30, 100])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_an_epoch_passes_over_every_row_once(batch_size, form):
    rows = np.setdiff1d(np.arange(30), [3, 8, 9])
    batches = make_batches([make_sample(rows=rows, form=form)], batch_size)
    for _ in range(3):
        (steps,) = steps_of(batches)
        assert len(steps) == batches.n_steps == -(-27 // min(batch_size, 27))
        sizes = [x.shape[1] for x, *_ in steps]
        assert set(sizes[:-1]) <= {min(batch_size, 27)}
        assert sorted(all_rows_of(steps)) == rows.tolist()


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_inputs_and_targets_belong_to_their_rows(form):
    sample = make_sample(form=form)
    dense = sample.X.toarray() if sparse.issparse(sample.X) else sample.X
    for x, y, _, _ in steps_of(make_batches([sample], 7))[0]:
        rows = (x[0, :, 0].numpy() - 1).astype(int)
        np.testing.assert_array_equal(x[0].numpy(), dense[rows])
        np.testing.assert_array_equal(y[0].numpy(), (rows % 2)[:, None])


def test_rows_stay_in_order_without_shuffling():
    (steps,) = steps_of(make_batches([make_sample()], 7, shuffle=False))
    assert all_rows_of(steps) == list(range(30))


def test_epochs_at_once_are_epochs_one_by_one():
    together = steps_of(make_batches([make_sample()], 7), 3)
    batches = make_batches([make_sample()], 7)
    apart = [steps_of(batches)[0] for _ in range(3)]
    assert [rows_of(steps) for steps in together] == [rows_of(steps) for steps in apart]
    assert len({str(rows_of(steps)) for steps in together}) == 3


def test_segments_are_cut_where_they_grow_too_long():
    """Whether the steps of an epoch are gathered at once or not does not change them."""
    whole = make_batches([make_sample()], 4, values_per_row=1)
    parts = make_batches([make_sample()], 4, values_per_row=100_000)
    assert whole.max_epochs > 1
    assert parts.max_epochs == 1
    assert len(list(make_batches([make_sample()], 4, values_per_row=100_000).segments(1))) > 1
    assert rows_of(steps_of(whole)[0]) == rows_of(steps_of(parts)[0])


def test_networks_on_one_stream_see_the_same_order():
    samples = [make_sample(), make_sample(seed=1), make_sample(seed=2)]
    (steps,) = steps_of(make_batches(samples, 7, streams=[0, 1, 0]))
    first, second, third = (rows_of(steps, network) for network in range(3))
    assert first == third
    assert first != second


@pytest.mark.parametrize("shared", [False, True])
def test_each_network_reads_its_own_rows(shared):
    """Of one matrix or of several, as the folds of a cross-validation do."""
    samples = [make_sample(rows=range(20)), make_sample(rows=range(10, 30), seed=3)]
    if shared:
        samples[1].X, samples[1].targets = samples[0].X, samples[0].targets
    (steps,) = steps_of(make_batches(samples, 8))
    for network, rows in enumerate((range(20), range(10, 30))):
        assert sorted(all_rows_of(steps, network)) == list(rows)
    for x, y, *_ in steps:
        for network, sample in enumerate(samples):
            rows = (x[network, :, 0].numpy() - 1).astype(int)
            np.testing.assert_array_equal(x[network].numpy(), sample.X[rows])
            np.testing.assert_array_equal(y[network, :, 0].numpy(), rows % 2)


def test_weights_sum_to_one_in_each_batch():
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.1, 2, 30), None]
    samples = [make_sample(weight=w) for w in weights]
    (steps,) = steps_of(make_batches(samples, 7))
    total = np.zeros(2)
    for x, _, weight, total_weight in steps:
        np.testing.assert_allclose(weight.sum(1).squeeze(), 1, rtol=1e-6)
        for network, w in enumerate([weights[0], np.ones(30)]):
            rows = (x[network, :, 0].numpy() - 1).astype(int)
            np.testing.assert_allclose(
                weight[network, :, 0], w[rows] / w[rows].sum(), rtol=1e-6, atol=0
            )
            assert total_weight[network] == pytest.approx(w[rows].sum())
        total += total_weight
    np.testing.assert_allclose(total, [weights[0].sum(), 30])


def test_equal_weights_are_one_number():
    (steps,) = steps_of(make_batches([make_sample()], 7))
    for x, _, weight, total_weight in steps:
        assert weight.numel() == 1
        assert float(weight) == pytest.approx(1 / x.shape[1])
        assert total_weight.tolist() == [x.shape[1]]


@pytest.mark.parametrize("max_values", [1, 40, 10_000])
@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_hold_every_row_in_order(max_values, weighted):
    weight = np.random.default_rng(0).uniform(size=30) if weighted else None
    samples = [make_sample(weight=weight), make_sample(seed=1)]
    chunks = list(StackedSample(samples).chunks(max_values))
    x = torch.cat([chunk.x[0] for chunk in chunks], dim=1)
    np.testing.assert_array_equal(x[1].numpy(), samples[1].X)
    assert all(chunk.x[0].numel() <= max(max_values, x.shape[0] * x.shape[2]) for chunk in chunks)
    assert (len(chunks) == 1) == (max_values == 10_000)


def test_targets_are_kept_once_however_many_networks_share_them():
    sample = make_sample()
    stack = StackedSample([sample] * 5)
    assert stack.targets.shape == (2, 1)
    others = StackedSample([sample, make_sample()])
    assert others.targets.shape == (4, 1)
    np.testing.assert_array_equal(others.codes[1], sample.codes + 2)
