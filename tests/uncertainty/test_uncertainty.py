"""What samples say: moments, entropies and likelihood, against NumPy and SciPy on full arrays."""

import numpy as np
import pytest
from scipy import stats

from sklearn_dropout import Uncertainty, predictive_log_likelihood
from sklearn_dropout.uncertainty.moments import (
    ProbabilityMoments,
    TargetMoments,
    entropy,
    label_entropies,
)

SEEDS = [0, 1, 2]


def in_blocks(moments, samples, row_step, pass_step):
    """Add samples of shape (n_samples, n_rows, n_outputs) block by block."""
    n_samples, n_rows, _ = samples.shape
    for first in range(0, n_samples, pass_step):
        for start in range(0, n_rows, row_step):
            rows = slice(start, min(start + row_step, n_rows))
            moments.add(rows, samples[first : first + pass_step, rows])
    return moments


def probabilities(seed, n_samples=20, n_rows=7, n_classes=4):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(n_classes, 0.3), size=(n_samples, n_rows))


# Numbers


@pytest.mark.parametrize(("row_step", "pass_step"), [(100, 100), (3, 7), (1, 1)])
def test_moments_of_blocks_are_those_of_the_whole(row_step, pass_step):
    for seed in SEEDS:
        samples = np.random.default_rng(seed).normal(5, 2, size=(20, 7, 3))
        moments = in_blocks(TargetMoments(7, 3), samples, row_step, pass_step)
        np.testing.assert_allclose(moments.mean, samples.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(moments.variance, samples.var(axis=0), rtol=1e-12)


def test_variance_survives_a_large_mean():
    samples = np.random.default_rng(0).normal(size=(50, 4, 1))
    moments = in_blocks(TargetMoments(4, 1), samples + 1e8, 2, 9)
    np.testing.assert_allclose(moments.variance, (samples + 1e8).var(axis=0), rtol=1e-6)


def test_equal_samples_have_no_variance_at_all():
    samples = np.broadcast_to(np.array([0.1, 1e8, -1 / 3])[:, None], (7, 3, 1))
    moments = in_blocks(TargetMoments(3, 1), samples.astype(np.float32), 2, 2)
    assert (moments.variance == 0).all()
    np.testing.assert_array_equal(moments.mean, samples[0].astype(np.float32))


@pytest.mark.parametrize("noise", [0.3, np.array([0.1, 2.0]), np.array([[0.1], [0.5], [4.0]])])
def test_law_of_total_variance(noise):
    for seed in SEEDS:
        samples = np.random.default_rng(seed).normal(size=(20, 3, 2))
        moments = in_blocks(TargetMoments(3, 2), samples, 2, 6)
        parts = moments.uncertainty(noise)
        assert isinstance(parts, Uncertainty)
        np.testing.assert_allclose(parts.epistemic, samples.std(axis=0))
        np.testing.assert_allclose(parts.aleatoric**2, np.broadcast_to(noise, (3, 2)))
        np.testing.assert_allclose(parts.total**2, parts.aleatoric**2 + parts.epistemic**2)


def test_one_output_gives_one_number_for_each_row():
    samples = np.random.default_rng(0).normal(size=(5, 4, 1))
    parts = in_blocks(TargetMoments(4, 1), samples, 4, 5).uncertainty(0.1, np.float32)
    for part in vars(parts).values():
        assert part.shape == (4,)
        assert part.dtype == np.float32


# Classes


def test_entropies_against_scipy():
    p = probabilities(0)
    np.testing.assert_allclose(entropy(p), stats.entropy(p, axis=-1))
    np.testing.assert_allclose(label_entropies(p), stats.entropy([p, 1 - p]))
    assert entropy(np.array([0.0, 1.0])) == 0
    assert (label_entropies(np.array([0.0, 1.0])) == 0).all()
    assert entropy(np.full(5, 0.2)) == pytest.approx(np.log(5))


@pytest.mark.parametrize(("row_step", "pass_step"), [(100, 100), (3, 7), (1, 1)])
@pytest.mark.parametrize("multilabel", [False, True])
def test_laws_of_entropy(multilabel, row_step, pass_step):
    for seed in SEEDS:
        p = probabilities(seed)
        moments = ProbabilityMoments(7, 4, multilabel)
        parts = in_blocks(moments, p, row_step, pass_step).uncertainty()
        of = label_entropies if multilabel else entropy
        np.testing.assert_allclose(parts.mean, p.mean(axis=0))
        np.testing.assert_allclose(parts.total, of(p.mean(axis=0)))
        np.testing.assert_allclose(parts.aleatoric, of(p).mean(axis=0))
        np.testing.assert_allclose(parts.total, parts.aleatoric + parts.epistemic)
        assert (parts.epistemic > 0).all()
        assert (parts.total <= np.log(2 if multilabel else 4) + 1e-12).all()
        assert parts.total.shape == ((7, 4) if multilabel else (7,))


def test_mutual_information_is_the_mean_divergence_from_the_mean():
    p = probabilities(1)
    parts = in_blocks(ProbabilityMoments(7, 4), p, 7, 20).uncertainty()
    divergence = stats.entropy(p, p.mean(axis=0, keepdims=True), axis=-1).mean(axis=0)
    np.testing.assert_allclose(parts.epistemic, divergence)


def test_mutual_information_is_never_negative():
    """Equal samples have none, in spite of rounding."""
    for seed in range(20):
        p = np.repeat(probabilities(seed, n_samples=1), 7, axis=0)
        parts = in_blocks(ProbabilityMoments(7, 4), p, 3, 2).uncertainty()
        assert (parts.epistemic >= 0).all()
        np.testing.assert_allclose(parts.epistemic, 0, atol=1e-14)


def test_disagreement_of_certain_networks_is_all_epistemic():
    p = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    parts = in_blocks(ProbabilityMoments(1, 2), p, 1, 1).uncertainty()
    assert parts.aleatoric[0] == 0
    assert parts.epistemic[0] == pytest.approx(np.log(2))


# Likelihood


def test_likelihood_of_one_sample_is_that_of_a_gaussian():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        y, sample, precision = rng.normal(size=5), rng.normal(size=(1, 5, 1)), 0.7
        expected = stats.norm(sample[0, :, 0], 0.7**-0.5).logpdf(y).mean()
        assert predictive_log_likelihood(y, sample, precision) == pytest.approx(expected)


@pytest.mark.parametrize("precision", [2.0, [2.0, 0.5]])
def test_likelihood_is_that_of_a_mixture(precision):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        y, samples = rng.normal(size=(5, 2)), rng.normal(size=(30, 5, 2))
        density = stats.norm(samples, np.broadcast_to(precision, 2) ** -0.5).pdf(y)
        expected = np.log(density.prod(axis=2).mean(axis=0)).mean()
        assert predictive_log_likelihood(y, samples, precision) == pytest.approx(expected)


def test_likelihood_does_not_underflow():
    y, samples = np.full(2, 1e4), np.zeros((3, 2, 1))
    expected = stats.norm(0, 0.1).logpdf(1e4)
    assert predictive_log_likelihood(y, samples, 100.0) == pytest.approx(expected)


def test_likelihood_takes_the_units_of_the_targets():
    """A density: ten times the scale, a tenth of it."""
    rng = np.random.default_rng(0)
    y, samples = rng.normal(size=6), rng.normal(size=(9, 6, 1))
    one = predictive_log_likelihood(y, samples, 2.0)
    ten = predictive_log_likelihood(10 * y, 10 * samples, 0.02)
    assert ten == pytest.approx(one - np.log(10))


def test_likelihood_of_many_samples_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    y, samples = rng.normal(size=(11, 2)), rng.normal(size=(9, 11, 2))
    one_call = predictive_log_likelihood(y, samples, 2.0)
    monkeypatch.setattr("sklearn_dropout.uncertainty.moments._CHUNK_VALUES", 50)
    assert predictive_log_likelihood(y, samples, 2.0) == pytest.approx(one_call)


def test_likelihood_accepts_flat_and_column_targets_of_one_output():
    rng = np.random.default_rng(0)
    y, samples = rng.normal(size=6), rng.normal(size=(9, 6, 1))
    flat = predictive_log_likelihood(y, samples, 2.0)
    assert isinstance(flat, float)
    assert predictive_log_likelihood(y[:, None], samples, 2.0) == flat
    assert predictive_log_likelihood(y.tolist(), samples[:, :, 0], [2.0]) == flat


@pytest.mark.parametrize(
    ("y", "samples", "precision", "words"),
    [
        (np.zeros(3), np.zeros(3), 1.0, "samples has shape"),
        (np.zeros(3), np.zeros((0, 3, 1)), 1.0, "samples has shape"),
        (np.zeros(4), np.zeros((5, 3, 1)), 1.0, r"y has shape \(4,\)"),
        (np.zeros((3, 1)), np.zeros((5, 3, 2)), 1.0, r"y has shape \(3, 1\)"),
        (np.zeros(3), np.zeros((5, 3, 3)), 1.0, r"y has shape \(3,\)"),
        (np.zeros((3, 2)), np.zeros((5, 3, 2)), [1.0] * 3, "noise_precision has shape"),
        (np.zeros(3), np.zeros((5, 3, 1)), 0.0, "noise_precision=0.0 must be above 0"),
        (np.zeros(3), np.zeros((5, 3, 1)), -1.0, "noise_precision=-1.0 must be above 0"),
        (np.zeros(3), np.zeros((5, 3, 1)), np.nan, "noise_precision=nan must be above 0"),
        (np.zeros(3), np.zeros((5, 3, 1)), np.inf, "noise_precision=inf must be above 0"),
    ],
)
def test_likelihood_refuses_what_does_not_fit_together(y, samples, precision, words):
    with pytest.raises(ValueError, match=words):
        predictive_log_likelihood(y, samples, precision)
