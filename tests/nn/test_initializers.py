"""Initial weights: the distribution of each initialiser, and what a seed means.

The statistical tests have fixed seeds. A Kolmogorov-Smirnov test on 60,000 weights notices a
bound or standard deviation that is wrong by two per cent.
"""

from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from _families import spread
from scipy import stats

from sklearn_dropout.nn.initializers import (
    INITIALIZERS,
    initial_convolution,
    initial_parameters,
)

SEEDS = [0, 1, 2]
N_IN, N_OUT = 30, 2000
SMALLEST_P = 1e-6

# Glorot & Bengio 2010, eq. 16; He et al. 2015, eq. 10; Keras' RandomUniform and RandomNormal.
BOUNDS = {
    "glorot_uniform": sqrt(6 / (N_IN + N_OUT)),
    "he_uniform": sqrt(6 / N_IN),
    "lecun_uniform": sqrt(3 / N_IN),
    "uniform": 0.05,
}
STANDARD_DEVIATIONS = {
    "glorot_normal": sqrt(2 / (N_IN + N_OUT)),
    "he_normal": sqrt(2 / N_IN),
    "lecun_normal": sqrt(1 / N_IN),
    "normal": 0.05,
}


def draw(weight_init, activation="relu", seed=0, layer_sizes=(N_IN, N_OUT)):
    rng = np.random.default_rng(seed)
    return initial_parameters(layer_sizes, activation, weight_init, rng)


def smaller_for_logistic(weight_init, activation):
    """scikit-learn: a factor of 2 instead of 6 in the squared bound of the logistic function."""
    return sqrt(1 / 3) if activation == "logistic" and "glorot" in weight_init else 1.0


def assert_uniform(values, bound):
    assert np.abs(values).max() <= bound
    distribution = stats.uniform(-bound, 2 * bound)
    assert stats.kstest(values.ravel(), distribution.cdf).pvalue > SMALLEST_P


def test_every_initializer_has_a_distribution():
    assert set(INITIALIZERS) == set(BOUNDS) | set(STANDARD_DEVIATIONS)


@spread(weight_init=BOUNDS, activation=["relu", "logistic"], seed=SEEDS)
def test_uniform_weights(weight_init, activation, seed):
    (weight,), _ = draw(weight_init, activation, seed)
    assert_uniform(weight, BOUNDS[weight_init] * smaller_for_logistic(weight_init, activation))


@spread(weight_init=STANDARD_DEVIATIONS, activation=["tanh", "logistic"], seed=SEEDS)
def test_normal_weights(weight_init, activation, seed):
    (weight,), _ = draw(weight_init, activation, seed)
    std = STANDARD_DEVIATIONS[weight_init] * smaller_for_logistic(weight_init, activation)
    assert stats.kstest(weight.ravel() / std, stats.norm.cdf).pvalue > SMALLEST_P
    # The standard error of a standard deviation of n normal numbers is std / sqrt(2 n).
    assert abs(weight.std() / std - 1) < 5 / sqrt(2 * weight.size)


@pytest.mark.parametrize("activation", ["relu", "logistic"])
@pytest.mark.parametrize("weight_init", INITIALIZERS)
def test_biases_are_uniform_within_glorots_bound(weight_init, activation):
    _, (bias,) = draw(weight_init, activation)
    factor = 2 if activation == "logistic" else 6
    assert_uniform(bias, sqrt(factor / (N_IN + N_OUT)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["glorot", "he"])
def test_uniform_and_normal_weights_have_the_same_variance(kind, seed):
    for activation in ["relu", "logistic"]:
        (uniform,), _ = draw(f"{kind}_uniform", activation, seed)
        (normal,), _ = draw(f"{kind}_normal", activation, seed)
        assert uniform.std() == pytest.approx(normal.std(), rel=5 / sqrt(N_IN * N_OUT))


@spread(weight_init=INITIALIZERS, layer_sizes=[(3, 1), (4, 7, 2), (5, 6, 3, 2)])
def test_shapes(weight_init, layer_sizes):
    weights, biases = draw(weight_init, layer_sizes=layer_sizes)
    assert [w.shape for w in weights] == list(pairwise(layer_sizes))
    assert [b.shape for b in biases] == [(n_out,) for n_out in layer_sizes[1:]]
    assert {array.dtype for array in weights + biases} == {np.dtype(np.float64)}


@pytest.mark.parametrize("weight_init", INITIALIZERS)
def test_a_seed_fixes_the_weights(weight_init):
    def arrays(seed):
        weights, biases = draw(weight_init, seed=seed, layer_sizes=(4, 5, 3))
        return weights + biases

    for first, again, other in zip(arrays(1), arrays(1), arrays(2), strict=True):
        np.testing.assert_array_equal(first, again)
        assert (first != other).all()


@pytest.mark.parametrize("weight_init", INITIALIZERS)
def test_layers_are_independent(weight_init):
    weights, _ = draw(weight_init, layer_sizes=(40, 40, 40, 40))
    correlations = np.corrcoef([w.ravel() for w in weights])[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 5 / sqrt(1600)


@pytest.mark.parametrize("weight_init", BOUNDS | STANDARD_DEVIATIONS)
def test_convolutions_count_the_positions_of_their_kernel(weight_init):
    """A filter of 2 x 3 positions on 5 maps has 30 weights; with 400 of them, 2,400 leave a map."""
    rng = np.random.default_rng(0)
    weight, bias = initial_convolution((400, 5, 2, 3), "relu", weight_init, rng)
    assert weight.shape == (400, 5, 2, 3)
    assert bias.shape == (400,)
    n_in, n_out = 5 * 6, 400 * 6
    variance = {
        "glorot_uniform": 2 / (n_in + n_out),
        "glorot_normal": 2 / (n_in + n_out),
        "he_uniform": 2 / n_in,
        "he_normal": 2 / n_in,
        "lecun_uniform": 1 / n_in,
        "lecun_normal": 1 / n_in,
        "normal": 0.05**2,
        "uniform": 0.05**2 / 3,
    }[weight_init]
    # 12,000 values: a standard error of at most 1.3 per cent of the variance.
    assert weight.var() == pytest.approx(variance, rel=5 * 0.013)
    assert np.abs(bias).max() <= sqrt(6 / (n_in + n_out))
