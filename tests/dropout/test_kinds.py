"""Kinds of dropout and schedules of rates, in all families and both engines."""

import warnings

import numpy as np
import pytest
import torch
from _families import ALL, answers, problem, small
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_dropout import (
    DropoutCNNClassifier,
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutSearchCV,
)
from sklearn_dropout.dropout.kinds import KINDS, normals
from sklearn_dropout.dropout.levels import normal_numbers
from sklearn_dropout.dropout.schedules import SCHEDULES, rate_factors
from sklearn_dropout.nn import (
    AlphaDropout,
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    GaussianDropout,
    GaussianNoise,
)

all_families = pytest.mark.parametrize("Est", ALL)
engines = pytest.mark.parametrize("engine", ["compiled", "torch"])
FIXED = [kind for kind in KINDS if kind != "concrete"]  # whose rates are not learned
kinds = pytest.mark.parametrize("kind", FIXED)


def of_kind(kind):
    """Parameters that suit a kind."""
    selu = {"activation": "selu", "weight_init": "lecun_normal"} if kind == "alpha" else {}
    return {"dropout_type": kind, "dropout_rate": 0.3} | selu


def parameters(est):
    return [*est.coefs_, *est.intercepts_]


def assert_same(one, other):
    for a, b in zip(parameters(one), parameters(other), strict=True):
        np.testing.assert_array_equal(a, b)


# Schedules


def test_shapes_of_the_schedules():
    progress = np.arange(600) / 600
    found = {name: rate_factors(name, 600) for name in SCHEDULES}
    assert (found["constant"] == 1).all()
    np.testing.assert_allclose(found["linear"], 1 - progress)
    np.testing.assert_allclose(found["early"][:100], 1 - progress[:100] * 6)
    assert not found["early"][100:].any()
    assert not found["late"][:100].any()
    assert (found["late"][100:] == 1).all()
    np.testing.assert_allclose(found["curriculum"], 1 - np.exp(-10 * progress))
    assert (found["flat_cos"][:301] == 1).all()
    assert found["flat_cos"][450] == pytest.approx(0.5)
    assert found["flat_cos"][-1] < 1e-4


def square(progress):
    return progress**2


SCHEDULED = [*(name for name in SCHEDULES if name != "constant"), square]


@pytest.mark.parametrize("schedule", SCHEDULED, ids=lambda s: getattr(s, "__name__", s))
@engines
def test_a_schedule_is_a_loop_over_rates(schedule, engine):
    """Bit for bit, and so are as many calls of `partial_fit` with the schedule."""
    X, y = problem(DropoutMLPClassifier)
    rates = {"dropout_rate": 0.5, "input_dropout_rate": 0.3, "spatial_dropout_rate": 0.2}
    params = {"hidden_layer_sizes": (6, 5), "batch_size": 16, "max_iter": 8, "random_state": 0}
    est = DropoutMLPClassifier(**params, **rates, engine=engine, feature_groups=2)
    uninterrupted = clone(est).set_params(dropout_schedule=schedule).fit(X, y)
    parts = clone(est).set_params(dropout_schedule=schedule)
    for factor in rate_factors(schedule, 8):
        est.set_params(**{name: float(factor * rate) for name, rate in rates.items()})
        est.partial_fit(X, y, classes=np.unique(y))
        parts.partial_fit(X, y, classes=np.unique(y))
    assert_same(uninterrupted, est)
    assert_same(uninterrupted, parts)
    recorded = uninterrupted.history_[:, "dropout_rate"]
    np.testing.assert_allclose(recorded, 0.5 * rate_factors(schedule, 8))
    assert recorded == parts.history_[:, "dropout_rate"]


@all_families
def test_a_schedule_acts_on_all_rates_of_a_family(Est):
    X, y = problem(Est)
    est = small(Est, dropout_rate=0.5, max_iter=4)
    names = [name for name in est.get_params() if name.endswith("dropout_rate")]
    names = [name for name in names if name != "embedding_dropout_rate"]
    est.set_params(**dict.fromkeys(names, 0.4))
    uninterrupted = clone(est).set_params(dropout_schedule="linear").fit(X, y)
    for factor in rate_factors("linear", 4):
        est.set_params(**dict.fromkeys(names, float(factor * 0.4)))
        est.partial_fit(X, y, **({"classes": np.unique(y)} if hasattr(est, "class_weight") else {}))
    assert_same(uninterrupted, est)
    assert uninterrupted.dropout_rates_["hidden"].tolist() == [0.4] * len(
        uninterrupted.dropout_rates_["hidden"]
    )


def test_rates_of_several_layers_are_recorded_together():
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier((4, 4), dropout_rate=[0.2, 0.4], dropout_schedule="linear")
    rates = est.set_params(max_iter=4).fit(X, y).history_[:, "dropout_rate"]
    np.testing.assert_allclose(rates, np.outer([1, 0.75, 0.5, 0.25], [0.2, 0.4]))


@pytest.mark.parametrize("factor", [1.5, -0.1, np.nan, "half", None])
def test_bad_factors_are_refused(factor):
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier((4,), dropout_schedule=lambda progress: factor)
    with pytest.raises(ValueError, match=r"dropout_schedule=.* at progress 0\. .*from 0 to 1"):
        est.fit(X, y)
    assert not hasattr(est, "classes_")


# Noise


def test_normal_numbers():
    """Every lane of a word is as likely as any other, so these are exact moments."""
    numbers = normal_numbers().astype(float)
    assert numbers.mean() == pytest.approx(0, abs=1e-12)
    assert numbers.var() == pytest.approx(1, abs=1e-6)
    assert (numbers**4).mean() == pytest.approx(3, abs=0.02)
    lanes = torch.arange(-(2**15), 2**15).to(torch.int16)
    found = normals(lanes, torch.float64).numpy()
    np.testing.assert_array_equal(found, np.repeat(numbers, 16))


@kinds
@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5])
def test_noise_keeps_moments(kind, rate):
    """Over all values of a lane: the mean of any input, or mean and variance of a SELU unit."""
    lanes = torch.arange(-(2**15), 2**15).to(torch.int16)
    multiplier, addend = KINDS[kind].noise(lanes, rate, torch.float64)
    if kind == "alpha":
        assert float(addend.mean()) == pytest.approx(0, abs=1e-9)
        second = multiplier.square().mean() + addend.square().mean()
        assert float(second) == pytest.approx(1, abs=1e-9)
    else:
        assert addend is None
        assert float(multiplier.mean()) == pytest.approx(1, abs=1e-9)
        assert float(multiplier.var()) == pytest.approx(rate / (1 - rate), rel=1e-3)


def test_alpha_dropout_keeps_mean_and_variance_through_ten_layers():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 256, generator=generator)
    for _ in range(10):
        weight = torch.randn(256, 256, generator=generator) / 16  # lecun_normal
        x = AlphaDropout(0.1, generator=generator)(torch.selu(x @ weight))
    assert float(x.mean()) == pytest.approx(0, abs=0.1)
    assert float(x.var()) == pytest.approx(1, abs=0.15)


def test_alpha_terms_are_those_of_keras():
    """What its AlphaDropout (and PyTorch's) makes of 1 at a rate of 0.2."""
    x = AlphaDropout(0.2, generator=torch.Generator().manual_seed(0))(torch.ones(1000))
    found = sorted(set(np.round(x.tolist(), 4)))
    assert found == pytest.approx([-1.2362, 1.1879], abs=2e-4)


@pytest.mark.parametrize("layer", [GaussianDropout(0.4), AlphaDropout(0.4), GaussianNoise(0.4)])
def test_layers_do_nothing_in_evaluation(layer):
    x = torch.randn(5, 4)
    assert torch.equal(layer.eval()(x), x)
    assert not torch.equal(layer.train()(x), x)
    assert "0.4" in repr(layer)


def test_layers_refuse_bad_numbers():
    with pytest.raises(ValueError, match=r"rate=1\.0 is outside \[0, 1\)"):
        GaussianDropout(1.0)
    with pytest.raises(ValueError, match="std=-1 must not be negative"):
        GaussianNoise(-1)
    with pytest.raises(ValueError, match="block_size=0 must be at least 1"):
        DropBlock2d(0.1, 0)


@kinds
@engines
def test_rate_zero_is_no_dropout(kind, engine):
    X, y = problem(DropoutMLPRegressor)
    est = DropoutMLPRegressor((5,), max_iter=3, random_state=0, engine=engine, activation="selu")
    plain = clone(est).set_params(dropout_rate=0.0).fit(X, y)
    assert_same(plain, est.set_params(dropout_type=kind, dropout_rate=0.0).fit(X, y))


@kinds
@all_families
def test_kinds_in_all_families(kind, Est):
    """The same seed, the same network; another kind, another one; Monte Carlo draws around it."""
    X, y = problem(Est)
    params = of_kind(kind) | {"input_noise_std": 0.1}
    if Est.__name__.startswith("DropoutRNN"):
        params |= {"cell": "rnn"}
    one, other = (small(Est, **params).fit(X, y) for _ in range(2))
    assert_same(one, other)
    plain = small(Est, **params | {"dropout_type": "bernoulli"})
    plain = plain.set_params(input_noise_std=0.0).fit(X, y)
    assert any((a != b).any() for a, b in zip(parameters(one), parameters(plain)))
    samples = one.sample_predictions(X, 400, random_state=0)
    assert samples.std(axis=0).max() > 0
    assert np.isfinite(samples).all()
    small_rate = clone(one).set_params(dropout_rate=1e-4, dropout_type=kind).fit(X, y)
    samples = small_rate.sample_predictions(X, 50, random_state=0)
    expected = answers(small_rate, X)
    np.testing.assert_allclose(samples.mean(axis=0).ravel(), np.ravel(expected), atol=0.1)


@kinds
@pytest.mark.parametrize("is_sparse", [False, True])
def test_engines_agree(kind, is_sparse):
    X, y = problem(DropoutMLPClassifier)
    params = {"hidden_layer_sizes": (8, 6), "batch_size": 16, "max_iter": 20, "random_state": 0}
    params |= of_kind(kind) | {"input_dropout_rate": 0.2, "spatial_dropout_rate": 0.1}
    if is_sparse:
        X = sparse.csr_array(X * (X > 0))
    else:
        params["input_noise_std"] = 0.2
    fits = [
        DropoutMLPClassifier(**params, feature_groups=2, engine=engine).fit(X, y)
        for engine in ("compiled", "torch")
    ]
    np.testing.assert_allclose(*(f.predict_proba(X) for f in fits), atol=1e-4)


@kinds
def test_a_row_of_weight_two_is_two_rows(kind):
    X, y = problem(DropoutMLPRegressor)
    weight = np.random.default_rng(0).integers(1, 4, len(y))
    est = DropoutMLPRegressor((5,), max_iter=5, random_state=0, **of_kind(kind))
    copies = clone(est).fit(X.repeat(weight, axis=0), y.repeat(weight))
    assert_same(est.fit(X, y, sample_weight=weight), copies)


def test_a_search_over_kinds_and_schedules_is_that_of_scikit_learn():
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier((5,), max_iter=3, random_state=0, activation="selu")
    grid = {
        "dropout_type": FIXED,
        "dropout_schedule": ["constant", "linear"],
        "input_noise_std": [0.0, 0.3],
    }
    ours, theirs = (
        Search(est, grid, cv=2, scoring="neg_log_loss").fit(X, y)
        for Search in (DropoutSearchCV, GridSearchCV)
    )
    found, expected = (s.cv_results_["mean_test_score"] for s in (ours, theirs))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(set(found)) == len(found)


def test_alpha_dropout_of_other_units_is_warned_of():
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier((5,), max_iter=1, dropout_type="alpha")
    with pytest.warns(UserWarning, match=r"activation='relu'\. Use activation='selu'"):
        est.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est.set_params(activation="selu", weight_init="lecun_normal").fit(X, y)


def test_noise_does_not_make_sparse_rows_dense():
    X, y = problem(DropoutMLPClassifier)
    est = DropoutMLPClassifier((5,), input_noise_std=0.1)
    with pytest.raises(ValueError, match=r"input_noise_std=0\.1 would make the sparse X dense"):
        est.fit(sparse.csr_array(X), y)


def test_input_noise_is_in_the_units_of_the_inputs():
    """A linear network learns from noisy inputs what ridge regression learns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 1))
    est = DropoutMLPRegressor(
        (), dropout_rate=0, input_noise_std=1.0, alpha=0, max_iter=30, learning_rate_init=0.01
    )
    slope = est.set_params(random_state=0, batch_size=100).fit(X, X.ravel()).coefs_[0]
    assert slope.item() == pytest.approx(0.5, abs=0.05)  # var(x) / (var(x) + 1)


# DropBlock


@pytest.mark.parametrize("n_dimensions", [1, 2, 3])
@pytest.mark.parametrize("block_size", [1, 3, 4, 50])
def test_dropped_positions_are_blocks(n_dimensions, block_size):
    Layer = (DropBlock1d, DropBlock2d, DropBlock3d)[n_dimensions - 1]
    layer = Layer(0.2, block_size, generator=torch.Generator().manual_seed(0))
    sides = (9,) * n_dimensions
    x = layer(torch.ones(6, 4, *sides))
    assert float(x.mean()) == pytest.approx(1, abs=1e-5)
    dropped = (x == 0).numpy()
    assert dropped.any()
    assert len(set(x[x > 0].tolist())) == 1
    size = min(block_size, 9)
    blocks = np.lib.stride_tricks.sliding_window_view(
        dropped, (size,) * n_dimensions, axis=tuple(range(2, 2 + n_dimensions))
    ).all(axis=tuple(range(-n_dimensions, 0)))
    covered = np.zeros_like(dropped)
    for place in np.argwhere(blocks):
        covered[(*place[:2], *(slice(p, p + size) for p in place[2:]))] = True
    np.testing.assert_array_equal(covered, dropped)  # nothing else is


def test_share_of_dropped_positions():
    """Corners at 0.2 * 14² / (3² * 12²), as in torchvision's drop_block2d, cover 0.181 of a map."""
    layer = DropBlock2d(0.2, 3, generator=torch.Generator().manual_seed(0))
    x = layer(torch.ones(400, 16, 14, 14))
    assert float((x == 0).double().mean()) == pytest.approx(0.181, abs=0.003)


def test_blocks_in_a_convolutional_network():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 1, 8, 8)), np.arange(40) % 2
    params = {"conv_layer_sizes": (3,), "conv_dropout_rate": 0.3, "max_iter": 2, "random_state": 0}
    single = DropoutCNNClassifier((4,), **params).fit(X, y)
    assert_same(single, DropoutCNNClassifier((4,), **params, conv_block_size=1).fit(X, y))
    blocks = DropoutCNNClassifier((4,), **params, conv_block_size=2).fit(X, y)
    assert "DropBlock2d(rate=0.3, block_size=2)" in repr(blocks.module_)
    assert blocks.sample_predictions(X, 20, random_state=0).std(axis=0).max() > 0
    with pytest.raises(ValueError, match=r"conv_block_size=2 drops blocks .* dropout_type='gauss"):
        blocks.set_params(dropout_type="gaussian").fit(X, y)
