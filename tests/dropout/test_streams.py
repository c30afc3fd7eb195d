"""Randomness: one seed, the same bits; and nothing outside the estimator is changed."""

import numpy as np
import pytest
import torch
from _families import spread
from _surroundings import flushes_denormals, surroundings
from sklearn.base import clone, is_classifier
from skorch.callbacks import Callback

from sklearn_dropout import (
    DropoutCNNClassifier,
    DropoutCNNRegressor,
    DropoutMLPClassifier,
    DropoutMLPRegressor,
)
from sklearn_dropout.checks.random_state import seed_from
from sklearn_dropout.dropout.streams import Streams, Use, bits, generator

ESTIMATORS = [
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutCNNClassifier,
    DropoutCNNRegressor,
]
SMALL = {"hidden_layer_sizes": (8, 5), "max_iter": 4, "batch_size": 16}
ALL_DROPOUT = {"dropout_rate": 0.3, "input_dropout_rate": 0.2, "spatial_dropout_rate": 0.2}
SEEDS = [0, 1, 2]
both = pytest.mark.parametrize("Est", ESTIMATORS)


def problem(Est, seed=0, n=40):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    y = X[:, 0] + 0.1 * rng.standard_normal(n)
    return X, y > 0 if is_classifier(Est()) else y


def fitted(Est, **params):
    return Est(**SMALL | ALL_DROPOUT | params).fit(*problem(Est))


def same(one, other):
    pairs = zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_)
    return all(np.array_equal(a, b) for a, b in pairs) and one.loss_curve_ == other.loss_curve_


# The same seed, the same bits


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"solver": "sgd", "shuffle": False},
        {"batch_size": "auto"},
        {"early_stopping": True, "max_iter": 10},
        {"solver": torch.optim.RMSprop},
    ],
    ids=["adam", "sgd", "full batch", "early stopping", "torch"],
)
@both
def test_same_seed_same_bits(Est, params):
    for seed in SEEDS[:2]:
        first = fitted(Est, **params, random_state=seed)
        np.random.default_rng().random(3)
        torch.rand(3)
        assert same(fitted(Est, **params, random_state=seed), first)
        assert same(clone(first).fit(*problem(Est)), first)
        assert not same(fitted(Est, **params, random_state=seed + 100), first)


@both
def test_integers_of_any_type(Est):
    reference = fitted(Est, random_state=7)
    for seed in (np.int64(7), np.uint8(7)):
        assert same(fitted(Est, random_state=seed), reference)


@both
def test_large_seeds_differ(Est):
    fits = [fitted(Est, random_state=seed) for seed in (0, 2**31, 2**32 - 1)]
    assert not any(same(one, other) for one, other in zip(fits, fits[1:] + fits[:1]))


@both
def test_random_state_instances(Est):
    """The same state, the same fit; and every fit moves it on."""
    once, again = (fitted(Est, random_state=np.random.RandomState(3)) for _ in range(2))
    assert same(once, again)
    shared = np.random.RandomState(3)
    first, second = (fitted(Est, random_state=shared) for _ in range(2))
    assert same(first, once)
    assert not same(second, first)


@both
def test_without_a_seed_every_fit_differs(Est):
    assert not same(fitted(Est, random_state=None), fitted(Est, random_state=None))
    np.random.seed(0)  # noqa: NPY002
    first = fitted(Est, random_state=None)
    np.random.seed(0)  # noqa: NPY002
    assert not same(fitted(Est, random_state=None), first)


@both
def test_partial_fit_repeats_itself_too(Est):
    X, y = problem(Est)
    first = {"classes": [False, True]} if is_classifier(Est()) else {}
    one, other = Est(**SMALL, random_state=0), Est(**SMALL, random_state=0)
    for _ in range(3):
        one.partial_fit(X, y, **first)
    for _ in range(3):
        other.partial_fit(X, y, **first)
    assert same(one, other)


@both
def test_calls_of_partial_fit_draw_different_masks(Est):
    X, y = problem(Est)
    first = {"classes": [False, True]} if is_classifier(Est()) else {}
    still = {"solver": "sgd", "learning_rate_init": 1e-30}
    est = Est(**SMALL | ALL_DROPOUT | still, random_state=0)
    for _ in range(4):
        est.partial_fit(X, y, **first)
    assert len(set(est.loss_curve_)) == 4


@both
def test_each_use_of_randomness_has_its_own_stream(Est):
    """Switching one kind of dropout on changes no other draw."""
    still = {"solver": "sgd", "learning_rate_init": 1e-30, "max_iter": 1, "random_state": 0}
    rates = [dict.fromkeys(ALL_DROPOUT, 0.0), dict.fromkeys(ALL_DROPOUT, 0.9), ALL_DROPOUT]
    start = [fitted(Est, **still | rate) for rate in rates]
    for est in start[1:]:
        np.testing.assert_array_equal(est.coefs_[0], start[0].coefs_[0])
        np.testing.assert_array_equal(est.intercepts_[0], start[0].intercepts_[0])


# What lies outside


class Bystander(Callback):
    def on_epoch_end(self, net, **kwargs):
        assert len(net.history) > 0


class Broken(Callback):
    def on_batch_end(self, net, **kwargs):
        raise ZeroDivisionError


def fit_and_predict(Est):
    X, y = problem(Est)
    est = Est(**SMALL | ALL_DROPOUT, random_state=0).fit(X, y, X_val=X, y_val=y)
    est.predict(X)
    est.score(X, y)
    est.module_(torch.zeros(1, 4, dtype=torch.float32))
    assert est.net_.history is not None


def fit_without_seed(Est):
    fitted(Est, random_state=None)


def fit_with_callbacks(Est):
    fitted(Est, random_state=0, callbacks=[Bystander()], verbose=1)


def fit_with_torch_solver(Est):
    fitted(Est, random_state=0, solver=torch.optim.RMSprop)


def fit_that_diverges(Est):
    with pytest.raises(ValueError, match="diverged"):
        fitted(Est, random_state=0, solver="sgd", learning_rate_init=1e20)


def fit_that_is_refused(Est):
    with pytest.raises(ValueError, match="outside"):
        fitted(Est, dropout_rate=2.0)


def fit_that_breaks(Est):
    with pytest.raises(ZeroDivisionError):
        fitted(Est, random_state=0, callbacks=[Broken()])


def large_fit(Est):
    """Enough work for PyTorch's own number of threads."""
    X, y = problem(Est, n=400)
    Est((300, 300), batch_size=400, max_iter=1, random_state=0).fit(X, y)


ACTIONS = [
    fit_and_predict,
    fit_without_seed,
    fit_with_callbacks,
    fit_with_torch_solver,
    fit_that_diverges,
    fit_that_is_refused,
    fit_that_breaks,
    large_fit,
]


@pytest.fixture
def as_found():
    """Whatever a test sets, put back."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    gradients, flushed = torch.is_grad_enabled(), flushes_denormals()
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(gradients)
    torch.set_flush_denormal(flushed)


@spread(action=ACTIONS, Est=ESTIMATORS)
def test_surroundings_are_left_as_found(Est, action, as_found):
    torch.set_num_threads(2)
    before = surroundings()
    action(Est)
    assert surroundings() == before


@spread(action=ACTIONS, Est=ESTIMATORS)
def test_unusual_surroundings_are_left_as_found(Est, action, as_found):
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_flush_denormal(True)
    before = surroundings()
    action(Est)
    assert surroundings() == before


@pytest.mark.parametrize(
    "params", [{}, {"solver": torch.optim.Adam}, {"max_norm": 1.0}, {"callbacks": [Bystander()]}]
)
@both
def test_surroundings_do_not_change_the_result(Est, params, as_found):
    reference = fitted(Est, random_state=0, **params)
    X, _ = problem(Est)
    expected = reference.predict(X)
    for change in (
        lambda: torch.set_num_threads(3),
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_grad_enabled(False),
        lambda: torch.set_flush_denormal(True),
        lambda: torch.manual_seed(5),
    ):
        change()
        est = fitted(Est, random_state=0, **params)
        assert same(est, reference)
        np.testing.assert_array_equal(est.predict(X), expected)
    with torch.inference_mode():
        assert same(fitted(Est, random_state=0, **params), reference)


@both
def test_what_was_fitted_in_inference_mode_can_be_trained_on(Est):
    X, y = problem(Est)
    first = {"classes": [False, True]} if is_classifier(Est()) else {}
    for solver in ("adam", torch.optim.Adam):
        est = Est(**SMALL, random_state=0, solver=solver)
        with torch.inference_mode():
            est.partial_fit(X, y, **first)
        est.partial_fit(X, y)
        twin = Est(**SMALL, random_state=0, solver=solver)
        twin.partial_fit(X, y, **first).partial_fit(X, y)
        assert same(est, twin)
        est.module_(torch.zeros(1, 4)).sum().backward()


# The parts


def test_seed_from():
    assert seed_from(5) == seed_from(np.int32(5)) == 5
    state = np.random.RandomState(0)
    assert seed_from(state) == seed_from(np.random.RandomState(0))
    assert seed_from(state) != seed_from(np.random.RandomState(0))
    assert seed_from(None) != seed_from(None)
    assert all(type(seed_from(s)) is int for s in (None, np.int8(1), state))
    with pytest.raises(ValueError, match="random_state='five' must be an int from 0"):
        seed_from("five")


def test_streams_differ_by_seed_use_and_epoch():
    keys = [(seed, use, epoch) for seed in (0, 1) for use in Use for epoch in (0, 1)]
    first = {int(bits(*key).random_raw()) for key in keys}
    assert len(first) == len(keys)
    assert bits(1, Use.HIDDEN, 2).random_raw() == bits(1, Use.HIDDEN, 2).random_raw()


def test_generator_draws_from_its_stream():
    one, other = generator(3, Use.ORDER), generator(3, Use.ORDER)
    np.testing.assert_array_equal(one.permutation(20), other.permutation(20))
    assert not np.array_equal(
        generator(3, Use.ORDER).permutation(20), generator(3, Use.ORDER, 1).permutation(20)
    )


def test_what_a_seed_means_does_not_change():
    """Numbers of this release: another meaning would change every result."""
    assert [int(use) for use in Use] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    names = "WEIGHTS SPLIT ORDER INPUT GROUPS HIDDEN CONV RECURRENT EMBEDDING NOISE"
    assert [use.name for use in Use] == names.split()
    direct = np.random.SFC64(np.random.SeedSequence(42, spawn_key=(5, 3)))
    assert bits(42, Use.HIDDEN, 3).random_raw() == direct.random_raw()


def test_streams_are_those_of_their_uses():
    streams = Streams(4, 2)
    assert streams.masks(Use.HIDDEN, "cpu").random_raw() == bits(4, Use.HIDDEN, 2).random_raw()
    np.testing.assert_array_equal(
        streams.order().permutation(20), generator(4, Use.ORDER, 2).permutation(20)
    )


def test_streams_go_on_where_they_are():
    streams = Streams(4)
    first, second = (streams.masks(Use.INPUT, "cpu").random_raw(3).tolist() for _ in range(2))
    assert first + second == bits(4, Use.INPUT).random_raw(6).tolist()
    assert streams.order() is streams.order()
