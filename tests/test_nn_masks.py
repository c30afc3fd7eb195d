"""Masks from integer bits: exact rates, independence, and streams that do not depend on a stack.

The statistical tests have fixed seeds, so they never fail by chance on unchanged code. Their
bounds are what a change to the code may reach by chance: 5 standard errors for a mean, and a
p-value of 1e-6 for a distribution.
"""

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_dropout.nn import _masks
from sklearn_dropout.nn._masks import (
    MaskSource,
    dropped_levels,
    inverse_kept_fraction,
    random_lanes,
)
from sklearn_dropout.nn._mlp_dropout import MLPDropout, Scale, StepMasks

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


def make(rates, widths, n_rows, seeds=(0,), stream_of_network=None, source="SFC64"):
    """A mask source with one stream for each seed."""
    if stream_of_network is None:
        stream_of_network = [0] * len(rates)
    streams = [SOURCES[source](seed) for seed in seeds]
    return MaskSource(rates, widths, n_rows, streams, torch.tensor(stream_of_network))


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
    """All lanes of each step of the only network as a row: (n_steps, n_lanes)."""
    return np.concatenate([m[:, 0].flatten(1).double().numpy() for m in masks], axis=1)


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
    make([[0.3]], [5], 7, source=source).draw(2)
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


@pytest.mark.parametrize("rate", [*RATES, 1 - 2**-20])
def test_mean_over_all_lanes_is_exact(monkeypatch, rate):
    """Of the 65536 values of a lane, as many drop as the rate says, and the scale makes up."""
    everything = torch.arange(-32768, 32768).to(torch.int16)
    monkeypatch.setattr(_masks, "random_lanes", lambda *args: everything.clone())
    source = make([[rate], [0.25]], [65536], 1)
    (mask,) = source.draw(1)
    n_kept = mask.sum((0, 2, 3))
    assert n_kept.tolist() == [65536 - round(65536 * exact_rate(rate)), 49152]
    np.testing.assert_allclose(n_kept.numpy() * source.scales[0], 65536, rtol=3e-16)


def test_a_rate_that_rounds_to_one_keeps_something():
    source = make([[1 - 2**-30]], [1000], 1000)
    (mask,) = source.draw(1)
    assert source.scales.item() == 65536
    assert 0 < mask.sum() < 100


@pytest.mark.parametrize("source", ["SFC64", "torch"])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", SEEDS)
def test_kept_fraction(source, rate, seed):
    """For each of two sites, one of which always drops a half."""
    masks = make([[rate, 0.5]], [50, 30], 40, [seed], source=source).draw(250)
    if rate == 0:
        assert masks[0] is None
    for mask, dropped in zip(masks, [exact_rate(rate), 0.5]):
        if mask is not None:
            assert mask.dtype == torch.int16
            assert set(mask.unique().tolist()) <= {0, 1}
            assert_mean(mask.double().numpy(), 1 - dropped, dropped * (1 - dropped))


@pytest.mark.parametrize("rate", [0.005, 0.1, 0.4, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("seed", SEEDS)
def test_scaled_masks_are_unbiased(rate, seed):
    source = make([[rate]], [50], 40, [seed])
    (mask,) = source.draw(250)
    kept = 1 - exact_rate(rate)
    assert_mean(mask.double().numpy() * source.scales.item(), 1.0, (1 - kept) / kept)


def test_a_rate_of_zero_in_a_stack_drops_nothing():
    masks = make([[0.0, 0.0], [0.5, 0.0]], [30, 20], 10).draw(20)
    assert masks[1] is None
    assert masks[0][:, 0].all()
    assert not masks[0][:, 1].all()


@pytest.mark.parametrize("rates", [[[0.0, 0.0]], [[]]])
def test_without_rates_the_streams_stay_where_they_are(rates):
    source = make(rates, [3, 2][: len(rates[0])], 4)
    assert source.draw(3) == [None] * len(rates[0])
    assert source.streams[0].random_raw() == np.random.SFC64(0).random_raw()


# Independence


@pytest.mark.parametrize("source", ["SFC64", "torch"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rates", [[0.5, 0.5], [0.3, 0.7]])
def test_units_rows_sites_and_steps_are_uncorrelated(source, seed, rates):
    """Every pair of lanes of a step, and of a step with the next one."""
    masks = make([rates], [7, 5], 4, [seed], source=source).draw(8000)
    samples = as_samples(masks)
    assert samples.shape == (8000, 48)
    assert_uncorrelated(samples)
    assert_uncorrelated(samples[:-1], samples[1:])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rate", [0.1, 0.4, 0.9])
@pytest.mark.parametrize("axis", ["units", "rows", "steps"])
def test_number_kept_is_binomial(seed, rate, axis):
    """Of 16 neighbours along one axis: dependence of any order would change its distribution."""
    (mask,) = make([[rate]], [48], 32, [seed]).draw(64)
    along = mask[:, 0].movedim({"steps": 0, "rows": 1, "units": 2}[axis], -1)
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
def test_networks_on_different_streams_are_uncorrelated(seed):
    (mask,) = make([[0.4], [0.4]], [6], 2, [seed, seed + 100], [0, 1]).draw(8000)
    first, second = mask.flatten(2).double().numpy().swapaxes(0, 1)
    assert_uncorrelated(first, second)


# Stacks


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("rates", [[[0.4, 0.2, 0.0]], [[0.5, 0.5, 0.5], [0.1, 0.0, 0.9]]])
@pytest.mark.parametrize(("widths", "n_rows"), [([3, 5, 1], 3), ([4, 4, 8], 2)])
def test_steps_drawn_at_once_equal_steps_drawn_singly(source, rates, widths, n_rows):
    together = make(rates, widths, n_rows, source=source).draw(5)
    singly = make(rates, widths, n_rows, source=source)
    singly = [singly.draw(1) for _ in range(5)]
    for site, mask in enumerate(together):
        if mask is None:
            assert all(step[site] is None for step in singly)
        else:
            assert mask.shape == (5, len(rates), n_rows, widths[site])
            assert torch.equal(mask, torch.cat([step[site] for step in singly]))


@pytest.mark.parametrize("source", SOURCES)
def test_masks_do_not_depend_on_the_rest_of_the_stack(source):
    rates = [[0.4, 0.2], [0.4, 0.2], [0.9, 0.0], [0.5, 0.5], [0.4, 0.2]]
    seeds, stream_of_network = [7, 8], [0, 1, 0, 1, 0]
    stack = make(rates, [5, 3], 3, seeds, stream_of_network, source).draw(4)
    for network, stream in enumerate(stream_of_network):
        alone = make([rates[network]], [5, 3], 3, [seeds[stream]], source=source).draw(4)
        for ours, theirs in zip(stack, alone):
            mask = ours[:, network : network + 1]
            assert mask.all() if theirs is None else torch.equal(mask, theirs)
    assert torch.equal(stack[0][:, 0], stack[0][:, 4])
    assert not torch.equal(stack[0][:, 0], stack[0][:, 1])


def test_masks_of_one_stream_are_nested():
    """With the same bits, what a network keeps another with a lower rate keeps, too."""
    (mask,) = make([[0.7], [0.3]], [40], 20).draw(10)
    assert (mask[:, 0] <= mask[:, 1]).all()
    assert (mask[:, 0] < mask[:, 1]).any()


def test_a_network_reads_the_stream_it_is_given():
    (mask,) = make([[0.5]], [9], 5, seeds=[1, 2], stream_of_network=[1]).draw(3)
    (expected,) = make([[0.5]], [9], 5, seeds=[2]).draw(3)
    assert torch.equal(mask, expected)


def bits_of_words(source, n_words):
    """The lanes of 64-bit words, by arithmetic: the lowest 16 bits first, as signed integers."""
    words = [int(word) for word in source.random_raw(n_words)]
    lanes = [(word >> shift) & 0xFFFF for word in words for shift in (0, 16, 32, 48)]
    return [lane - 65536 if lane >= 32768 else lane for lane in lanes]


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_are_what_the_bits_say(seed):
    """Each step starts at a new word; its lanes go to the sites in order, row by row."""
    masks = make([[0.4, 0.7]], [3, 1], 2, [seed]).draw(3)
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

    A line for each site and step, a word for each of two networks, row by row.
    """
    masks = make([[0.4, 0.6], [0.7, 0.2]], [3, 2], 2, [20], source=source).draw(2)
    lines = [
        " ".join("".join(str(bit) for bit in network.flatten().tolist()) for network in step)
        for mask in masks
        for step in mask
    ]
    assert lines == expected


# The places of a perceptron


def mlp_dropout(elements, groups, hidden, group_of_column, n_rows=6, dtype=torch.float64):
    """Three sources on streams of their own, for networks that differ in rates alone."""
    widths = [11, 13][: len(hidden[0])]
    return MLPDropout(
        make([[rate] for rate in elements], [len(group_of_column)], n_rows, [1]),
        make([[rate] for rate in groups], [max(group_of_column) + 1], n_rows, [2]),
        make(hidden, widths, n_rows, [3]),
        torch.tensor(group_of_column),
        dtype,
    )


@pytest.mark.parametrize("n_networks", [1, 5])
def test_input_masks_are_products_of_elements_and_groups(n_networks):
    columns = [0, 0, 1, 2, 1]
    elements = np.linspace(0.3, 0.6, n_networks)
    groups = np.linspace(0.5, 0.0, n_networks)
    hidden = np.full((n_networks, 2), 0.25)
    steps = mlp_dropout(elements, groups, hidden, columns).draw(7)
    (single,) = make(elements[:, None], [5], 6, [1]).draw(7)
    (grouped,) = make(groups[:, None], [3], 6, [2]).draw(7)
    assert len(steps) == 7
    for step, masks in enumerate(steps):
        assert torch.equal(masks.layers[0], single[step] * grouped[step][..., columns])
        assert [mask.shape[2] for mask in masks.layers] == [5, 11, 13]
        scale = 1 / ((1 - dropped_levels(elements) / 65536) * (1 - dropped_levels(groups) / 65536))
        assert masks.scales[0].vector.shape == (n_networks, 1, 1)
        np.testing.assert_allclose(masks.scales[0].vector[:, 0, 0], scale, rtol=1e-15)
        assert masks.scales[0].number == pytest.approx(scale[0], rel=1e-15)
        assert masks.scales[1].number == 1 / 0.75


@pytest.mark.parametrize("seed", SEEDS)
def test_columns_of_a_group_are_dropped_together(seed):
    dropout = MLPDropout(
        make([[0.0]], [5], 6),
        make([[0.4]], [3], 6, [seed]),
        make([[]], [], 6),
        torch.tensor([0, 0, 1, 2, 1]),
    )
    masks = torch.cat([masks.layers[0][0] for masks in dropout.draw(1500)]).numpy()
    assert (masks[:, 0] == masks[:, 1]).all()
    assert (masks[:, 2] == masks[:, 4]).all()
    assert_uncorrelated(masks[:, [0, 2, 3]].astype(np.float64))
    assert_mean(masks[:, 3], 1 - exact_rate(0.4), 0.4 * 0.6)


def test_places_without_dropout_have_no_masks():
    for elements, groups, hidden, expected in [
        ([0.0], [0.0], [[0.0, 0.5]], [True, True, False]),
        ([0.5], [0.0], [[0.0, 0.0]], [False, True, True]),
        ([0.0], [0.5], [[0.5, 0.0]], [False, False, True]),
    ]:
        (masks,) = mlp_dropout(elements, groups, hidden, [0, 1, 2]).draw(1)
        assert [mask is None for mask in masks.layers] == expected


def test_first_rows_of_step_masks():
    mask = torch.arange(24, dtype=torch.int16).reshape(2, 4, 3)
    scales = [Scale(np.array([2.0, 3.0]), torch.float64, "cpu")]
    masks = StepMasks([None, mask], scales * 2).first(3)
    assert masks.layers[0] is None
    assert torch.equal(masks.layers[1], mask[:, :3])
    assert masks.scales == scales * 2
