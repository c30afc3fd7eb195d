"""Statistics over splits, against other ways to compute them."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate, stats

from sklearn_dropout.model_selection.resampling import holm, resampled_mean


def by_hand(values, ratio):
    """Statistic and two-sided p-value in plain Python; the density of t integrated."""
    exact = [Fraction(float(value)) for value in values]
    n = len(exact)
    mean = sum(exact) / n
    variance = sum((value - mean) ** 2 for value in exact) / (n - 1)
    statistic = float(mean) / math.sqrt(float(variance) * (1 / n + ratio))
    df = n - 1
    scale = math.gamma((df + 1) / 2) / math.gamma(df / 2) / math.sqrt(df * math.pi)

    def density(t):
        return scale * (1 + t * t / df) ** (-(df + 1) / 2)

    inside, _ = integrate.quad(density, -abs(statistic), abs(statistic), epsabs=1e-12)
    return statistic, 1 - inside


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ratio", [0.0, 1 / 9, 0.25, 1.0])
def test_statistic_and_p_value(seed, ratio):
    values = np.random.default_rng(seed).normal(0.02, 0.05, 5 + 10 * seed)
    found = resampled_mean(values, ratio)
    statistic, p_value = by_hand(values, ratio)
    assert found.statistic == pytest.approx(statistic, rel=1e-12)
    assert found.p_value == pytest.approx(p_value, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_correction_shrinks_the_paired_statistic(seed):
    """The t-test of scipy, its statistic divided by sqrt(1 + n * n_test / n_train)."""
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 30))
    usual = stats.ttest_rel(one, other)
    found = resampled_mean(one - other, 0.25)
    assert found.statistic == pytest.approx(usual.statistic / math.sqrt(1 + 30 * 0.25))
    assert resampled_mean(one - other, 0).p_value == pytest.approx(usual.pvalue)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_ends_where_the_test_would_reject(level):
    values = np.random.default_rng(0).normal(1, 2, 20)
    found = resampled_mean(values, 0.2, level)
    for end in (found.low, found.high):
        assert resampled_mean(values - end, 0.2).p_value == pytest.approx(1 - level)
    assert found.low < found.mean < found.high


def test_differences_that_do_not_vary():
    same = resampled_mean(np.zeros(5), 0.25)
    assert (same.statistic, same.p_value, same.low, same.high) == (0, 1, 0, 0)
    constant = resampled_mean(np.full(5, -0.5), 0.25)
    assert np.isnan([constant.statistic, constant.p_value]).all()
    assert constant.low == constant.high == -0.5


def test_one_split_has_no_variance():
    with pytest.raises(ValueError, match="1 splits"):
        resampled_mean([0.1], 0.25)


@pytest.mark.parametrize("rho", [0.2, 0.5])
def test_coverage_for_scores_as_correlated_as_the_correction_assumes(rho):
    """Correlation rho between splits is what n_test / n_train = rho / (1 - rho) allows for."""
    rng = np.random.default_rng(0)
    n_splits, n_studies = 25, 2000
    common = math.sqrt(rho) * rng.standard_normal((n_studies, 1))
    values = common + math.sqrt(1 - rho) * rng.standard_normal((n_studies, n_splits))
    found = [resampled_mean(row, rho / (1 - rho)) for row in values]
    rejected = np.mean([result.p_value < 0.05 for result in found])
    assert 0.035 < rejected < 0.065
    naive = np.mean([resampled_mean(row, 0).p_value < 0.05 for row in values])
    assert naive > 0.3


def test_holm_by_its_definition():
    """Reject in the order of the p-values, as long as each passes level / tests left."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        p_values = rng.random(5) ** 4
        adjusted = holm(p_values)
        for level in (0.01, 0.05, 0.2):
            rejected = np.zeros(5, dtype=bool)
            for step, place in enumerate(np.argsort(p_values)):
                if p_values[place] > level / (5 - step):
                    break
                rejected[place] = True
            np.testing.assert_array_equal(adjusted <= level, rejected)
    assert holm([]).shape == (0,)
    assert holm([0.6, 0.7]).max() <= 1
