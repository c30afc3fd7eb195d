"""Masks from integer bits: exact rates, independence, and streams that stay what they are.

The statistical tests have fixed seeds, so they never fail by chance on unchanged code. Their
bounds are what a change to the code may reach by chance: 5 standard errors for a mean, and a
p-value of 1e-6 for a distribution.
"""

import numpy as np
import pytest
import torch
from _families import spread
from scipy import stats

from sklearn_dropout.dropout.kinds import DropoutSettings, draw_passes
from sklearn_dropout.dropout.levels import dropped_levels, inverse_kept_fraction
from sklearn_dropout.dropout.masks import (
    MaskSource,
    PassSource,
    draw_lanes,
    factors,
    random_lanes,
)

SEEDS = [0, 1, 2]
RATES = [0.0, 0.005, 0.1, 0.4, 0.5, 0.9, 0.999]
N_SIGMAS = 5
SMALLEST_P = 1e-6

SOURCES = {
    "SFC64": np.random.SFC64,
    "PCG64": np.random.PCG64,
    "Philox": np.random.Philox,
    "torch": lambda seed: torch.Generator().manual_seed(seed),
}


def draw(rates, widths, n_rows, n_steps, seed=0, source="SFC64"):
    """Masks of some steps: tensors of zeros and ones of shape (n_steps, n_rows, width)."""
    masks = MaskSource(widths, n_rows, SOURCES[source](seed))
    steps = []
    for _ in range(n_steps):
        masks.next_step()
        lanes = [masks.lanes(site) for site in range(len(widths))]
        steps.append([(factors(x, rate, torch.float32) > 0) for x, rate in zip(lanes, rates)])
    return [torch.stack(site) for site in zip(*steps)]


def exact_rate(rate):
    """The nearest multiple of 1 / 65536 below 1."""
    return min(round(rate * 65536), 65535) / 65536


def assert_mean(values, expected, variance):
    """The mean of independent values lies within 5 standard errors of what is expected."""
    error = np.sqrt(variance / values.size)
    assert abs(values.mean() - expected) <= N_SIGMAS * error


def assert_uncorrelated(a, b=None):
    """No pair of columns is correlated, of `a` alone or of `a` with `b`: (n_samples, n_columns).

    Under independence a squared correlation is close to chi-squared(1) / n_samples. Their sum
    notices many weak correlations, their maximum (Bonferroni) a strong one.
    """
    z = [(m - m.mean(0)) / m.std(0) for m in (a, a if b is None else b)]
    correlations = z[0].T @ z[1] / len(a)
    if b is None:
        correlations = correlations[np.triu_indices(a.shape[1], 1)]
    squares = len(a) * correlations.ravel() ** 2
    assert stats.chi2.sf(squares.sum(), squares.size) > SMALLEST_P
    assert stats.chi2.sf(squares.max(), 1) * squares.size > SMALLEST_P


def as_samples(masks):
    """All lanes of each step as a row: (n_steps, n_lanes)."""
    return np.concatenate([m.flatten(1).double().numpy() for m in masks], axis=1)


# Random integers


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("source", SOURCES)
def test_lanes_are_uniform_over_all_values(source, seed):
    lanes = random_lanes(65536 * 32, SOURCES[source](seed))
    assert lanes.dtype == torch.int16
    words = lanes.numpy().reshape(-1, 4).astype(np.int64) + 32768
    for place in range(4):
        counts = np.bincount(words[:, place], minlength=65536)
        p_value = stats.chisquare(counts).pvalue
        assert SMALLEST_P < p_value < 1 - SMALLEST_P


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("source", SOURCES)
def test_lanes_of_a_word_are_independent(source, seed):
    lanes = random_lanes(1 << 18, SOURCES[source](seed)).numpy().reshape(-1, 4)
    assert_uncorrelated(lanes.astype(np.float64))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("n_lanes", "n_drawn"), [(0, 0), (1, 4), (4, 4), (7, 8), (1001, 1004)])
def test_lanes_come_in_whole_words(source, n_lanes, n_drawn):
    assert random_lanes(n_lanes, SOURCES[source](0)).shape == (n_drawn,)


@pytest.mark.parametrize("source", SOURCES)
def test_lanes_do_not_depend_on_how_many_are_drawn_at_once(source):
    once, often = SOURCES[source](3), SOURCES[source](3)
    parts = torch.cat([random_lanes(n, often) for n in (4, 400, 40_000)])
    assert torch.equal(random_lanes(40_404, once), parts)


@pytest.mark.parametrize("source", SOURCES)
def test_global_generators_are_left_alone(source):
    before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    random_lanes(100, SOURCES[source](0))
    draw([0.3], [5], 7, 2, source=source)
    assert torch.equal(torch.get_rng_state(), before[0])
    for ours, theirs in zip(np.random.get_state(), before[1]):  # noqa: NPY002
        np.testing.assert_array_equal(ours, theirs)


def test_lanes_without_a_source_follow_the_global_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        lanes = random_lanes(64, None)
    assert torch.equal(lanes, random_lanes(64, torch.Generator().manual_seed(5)))


# Rates


@pytest.mark.parametrize(
    ("rate", "levels"),
    [(0.0, 0), (0.005, 328), (0.4, 26214), (0.5, 32768), (0.999, 65470), (1 - 2**-20, 65535)],
)
def test_rates_are_rounded_to_levels(rate, levels):
    assert dropped_levels(rate) == levels
    assert inverse_kept_fraction(rate) == 65536 / (65536 - levels)


@pytest.mark.parametrize("seed", SEEDS)
def test_kept_fraction_times_its_inverse_is_one(seed):
    rates = np.concatenate([RATES, np.random.default_rng(seed).uniform(0, 1, 1000)])
    kept = 1 - dropped_levels(rates) / 65536
    assert (np.abs(kept - (1 - rates)) <= 0.5 / 65536).all()
    np.testing.assert_allclose(inverse_kept_fraction(rates) * kept, 1, rtol=3e-16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rate", [*RATES, 1 - 2**-20])
def test_mean_over_all_lanes_is_exact(rate, dtype):
    """Of the 65536 values of a lane, as many drop as the rate says, and the scale makes up."""
    everything = torch.arange(-32768, 32768).to(torch.int16)
    before = everything.clone()
    found = factors(everything, rate, dtype)
    assert found.dtype == dtype
    assert torch.equal(everything, before)
    assert found.count_nonzero() == 65536 - round(65536 * exact_rate(rate))
    np.testing.assert_allclose(found.double().mean(), 1, rtol=1e-15 if dtype.itemsize > 4 else 6e-8)
    np.testing.assert_allclose(found.max(), inverse_kept_fraction(rate), rtol=6e-8)


def test_a_rate_that_rounds_to_one_keeps_something():
    lanes = random_lanes(1_000_000, SOURCES["SFC64"](0))
    found = factors(lanes, 1 - 2**-30, torch.float32)
    assert found.max() == 65536
    assert 0 < found.count_nonzero() < 100


@spread(rate=RATES, source=["SFC64", "torch"], seed=SEEDS)
def test_kept_fraction(source, rate, seed):
    """For each of two sites, one of which always drops a half."""
    masks = draw([rate, 0.5], [50, 30], 40, 250, seed, source)
    for mask, dropped in zip(masks, [exact_rate(rate), 0.5]):
        assert_mean(mask.double().numpy(), 1 - dropped, dropped * (1 - dropped))


@spread(rate=[0.005, 0.1, 0.4, 0.5, 0.9, 0.999], seed=SEEDS)
def test_scaled_masks_are_unbiased(rate, seed):
    (lanes,) = draw_lanes([50 * 40], 250, SOURCES["SFC64"](seed))
    kept = 1 - exact_rate(rate)
    assert_mean(factors(lanes, rate, torch.float64).numpy(), 1.0, (1 - kept) / kept)


# Independence


@pytest.mark.parametrize("source", ["SFC64", "torch"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rates", [[0.5, 0.5], [0.3, 0.7]])
def test_units_rows_sites_and_steps_are_uncorrelated(source, seed, rates):
    """Every pair of lanes of a step, and of a step with the next one."""
    masks = draw(rates, [7, 5], 4, 4000, seed, source)
    samples = as_samples(masks)
    assert samples.shape == (4000, 48)
    assert_uncorrelated(samples)
    assert_uncorrelated(samples[:-1], samples[1:])


@spread(axis=["units", "rows", "steps"], rate=[0.1, 0.4, 0.9], seed=SEEDS)
def test_number_kept_is_binomial(seed, rate, axis):
    """Of 16 neighbours along one axis: dependence of any order would change its distribution."""
    (mask,) = draw([rate], [48], 32, 64, seed)
    along = mask.movedim({"steps": 0, "rows": 1, "units": 2}[axis], -1)
    n_kept = along.reshape(-1, 16).sum(1).numpy()
    expected = stats.binom.pmf(np.arange(17), 16, 1 - exact_rate(rate)) * len(n_kept)
    observed = np.bincount(n_kept, minlength=17)
    # The chi-squared distribution holds where at least five are expected; the rest is one cell.
    rare = expected < 5
    if rare.any():
        observed = np.append(observed[~rare], observed[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    assert stats.chisquare(observed, expected).pvalue > SMALLEST_P


@pytest.mark.parametrize("seed", SEEDS)
def test_different_streams_are_uncorrelated(seed):
    first, second = (as_samples(draw([0.4], [6], 2, 4000, s)) for s in (seed, seed + 100))
    assert_uncorrelated(first, second)


# Streams


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("widths", "n_rows"), [([3, 5, 1], 3), ([4, 4, 8], 2)])
def test_steps_drawn_at_once_equal_steps_drawn_singly(source, widths, n_rows):
    sizes = [n_rows * width for width in widths]
    together = draw_lanes(sizes, 5, SOURCES[source](0))
    singly = MaskSource(widths, n_rows, SOURCES[source](0))
    for step in range(5):
        for site, lanes in enumerate(together):
            assert torch.equal(singly.lanes(site).flatten(), lanes[step])
        singly.next_step()


def test_masks_depend_neither_on_who_asks_nor_on_how_often():
    def lanes(*asked):
        source = MaskSource([3, 4], 2, np.random.SFC64(0))
        for sites in asked:
            source.next_step()
            found = [source.lanes(site) for site in sites]
        return found[-1]

    expected = lanes([1], [1])
    assert torch.equal(lanes([0, 1], [0, 1]), expected)
    assert torch.equal(lanes([1, 0], [0, 1, 1, 0, 1]), expected)
    assert not torch.equal(lanes([1]), expected)


def test_a_step_in_which_nothing_is_asked_for_takes_nothing_from_the_stream():
    bits = np.random.SFC64(0)
    source = MaskSource([3, 2], 4, bits)
    for _ in range(3):
        source.next_step()
    assert bits.random_raw() == np.random.SFC64(0).random_raw()


def test_masks_of_one_stream_are_nested():
    """With the same bits, what is kept at one rate is kept at a lower one, too."""
    (high,), (low,) = (draw([rate], [40], 20, 10) for rate in (0.7, 0.3))
    assert (high <= low).all()
    assert (high < low).any()


def bits_of_words(source, n_words):
    """The lanes of 64-bit words, by arithmetic: the lowest 16 bits first, as signed integers."""
    words = [int(word) for word in source.random_raw(n_words)]
    lanes = [(word >> shift) & 0xFFFF for word in words for shift in (0, 16, 32, 48)]
    return [lane - 65536 if lane >= 32768 else lane for lane in lanes]


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_are_what_the_bits_say(seed):
    """Each step starts at a new word; its lanes go to the sites in order, row by row."""
    masks = draw([0.4, 0.7], [3, 1], 2, 3, seed)
    lanes = bits_of_words(np.random.SFC64(seed), 6)
    for step in range(3):
        of_step = lanes[8 * step : 8 * step + 8]
        first = [int(lane >= 26214 - 32768) for lane in of_step[:6]]
        second = [int(lane >= 45875 - 32768) for lane in of_step[6:]]
        assert masks[0][step].flatten().tolist() == first
        assert masks[1][step].flatten().tolist() == second


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("SFC64", ["111111 000100", "011100 011000", "0100 0111", "1100 1110"]),
        ("torch", ["100011 100010", "000010 000010", "0010 0111", "0000 1111"]),
    ],
)
def test_first_masks_of_a_seed(source, expected):
    """A platform with other bits would break the promise that a seed fixes the masks.

    A line for each site and step, a word for each of two sets of rates, row by row.
    """
    sets = [draw(rates, [3, 2], 2, 2, 20, source) for rates in ([0.4, 0.6], [0.7, 0.2])]
    lines = [
        " ".join(
            "".join(str(int(bit)) for bit in masks[site][step].flatten().tolist()) for masks in sets
        )
        for site in range(2)
        for step in range(2)
    ]
    assert lines == expected


# Stochastic passes


def test_passes_are_steps_of_one_row():
    widths, rates = [5, 3, 4], [0.4, 0.0, 0.7]
    dropout = DropoutSettings({"hidden": np.array(rates)})
    found = draw_passes(widths, dropout, "hidden", 6, np.random.SFC64(3))
    masks = draw(rates, widths, 1, 6, seed=3)
    assert found[1] is None
    for site in (0, 2):
        expected = masks[site][:, 0].double() * float(inverse_kept_fraction(rates[site]))
        multiplier, addend = found[site]
        assert addend is None
        torch.testing.assert_close(multiplier, expected)


@pytest.mark.parametrize("rates", [[0.0, 0.0], []])
def test_passes_without_rates_leave_the_stream_where_it_is(rates):
    bits = np.random.SFC64(0)
    dropout = DropoutSettings({"hidden": np.array(rates)})
    found = draw_passes([3, 2][: len(rates)], dropout, "hidden", 4, bits)
    assert found == [None] * len(rates)
    assert bits.random_raw() == np.random.SFC64(0).random_raw()


def test_rows_have_the_lanes_of_their_pass():
    lanes = draw_lanes([5], 3, np.random.SFC64(0))
    source = PassSource(lanes)
    assert torch.equal(source.lanes(0), lanes[0][:1])
    source.passes = torch.tensor([2, 2, 0])
    assert torch.equal(source.lanes(0), lanes[0][[2, 2, 0]])
