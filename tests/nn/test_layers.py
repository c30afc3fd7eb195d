"""The dropout layers in any model: rates, exact values, groups, gradients, reproducibility.

The statistical tests have fixed seeds; bounds are 5 standard errors.
"""

import copy
import pickle

import numpy as np
import pytest
import torch
from _families import spread
from scipy import stats
from torch import nn

from sklearn_dropout.dropout.masks import MaskSource
from sklearn_dropout.nn import (
    Dropout,
    FeatureGroupDropout,
    SpatialDropout1d,
    SpatialDropout2d,
    SpatialDropout3d,
    VariationalDropout,
)
from sklearn_dropout.nn.layers import EmbeddingDropout, Exp

SEEDS = [0, 1, 2]
N_SIGMAS = 5
GROUPS = [0, 1, 1, 2, 0]

LAYERS = {
    "Dropout": Dropout,
    "FeatureGroupDropout": lambda rate, generator=None: FeatureGroupDropout(
        rate, GROUPS, generator
    ),
}
all_layers = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def inverse_kept(rate):
    """The scale of what is kept, for a rate in multiples of 1 / 65536."""
    return 65536 / (65536 - round(rate * 65536))


def global_states():
    numpy_state = np.random.get_state()  # noqa: NPY002
    return [torch.get_rng_state().numpy(), *numpy_state]


@all_layers
@pytest.mark.parametrize("rate", [0.0, 0.4, 0.999])
def test_evaluation_mode_is_the_identity(make, rate):
    x = torch.randn(6, 5, generator=seeded())
    layer = make(rate, seeded()).eval()
    assert torch.equal(layer(x), x)
    assert torch.equal(layer.generator.get_state(), seeded().get_state())


@all_layers
def test_a_rate_of_zero_is_the_identity(make):
    x = torch.randn(6, 5, generator=seeded())
    assert torch.equal(make(0.0)(x), x)


@all_layers
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rate", [0.1, 0.4, 0.5, 0.9])
def test_values_are_zero_or_the_inverse_of_the_kept_fraction(make, dtype, rate):
    out = make(rate, seeded())(torch.ones(400, 5, dtype=dtype))
    assert out.dtype == dtype
    kept = torch.tensor(inverse_kept(rate), dtype=dtype).item()
    assert out.unique().tolist() == [0.0, kept]


@all_layers
def test_a_rate_that_rounds_to_one_keeps_something(make):
    out = make(1 - 2**-40, seeded())(torch.ones(200_000, 5))
    assert out.unique().tolist() == [0.0, 65536.0]


@all_layers
@spread(rate=[0.005, 0.1, 0.4, 0.5, 0.9, 0.999], seed=SEEDS)
def test_kept_fraction_and_mean(make, rate, seed):
    """Of columns 0, 1 and 3, which no group joins."""
    out = make(rate, seeded(seed))(torch.ones(200_000, 5, dtype=torch.float64))
    out = out[:, [0, 1, 3]].numpy()
    error = (rate * (1 - rate) / out.size) ** 0.5
    assert abs((out > 0).mean() - (1 - rate)) < N_SIGMAS * error + 2.0**-17
    assert abs(out.mean() - 1) < N_SIGMAS * (rate / (1 - rate) / out.size) ** 0.5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rate", [0.3, 0.7])
def test_elements_are_independent(seed, rate):
    """No two of 24 elements of a sample are correlated: sum of squared correlations."""
    layer = Dropout(rate, seeded(seed))
    masks = layer(torch.ones(10_000, 3, 8)).flatten(1).numpy()
    correlations = np.corrcoef(masks.T)[np.triu_indices(24, 1)]
    statistic = len(masks) * (correlations**2).sum()
    assert stats.chi2.sf(statistic, correlations.size) > 1e-6


@pytest.mark.parametrize("seed", SEEDS)
def test_columns_of_a_group_are_dropped_together(seed):
    layer = FeatureGroupDropout(0.4, GROUPS, seeded(seed))
    out = layer(torch.ones(10_000, 5)).numpy()
    assert (out[:, 0] == out[:, 4]).all()
    assert (out[:, 1] == out[:, 2]).all()
    # Independent between groups, and between a row and the next.
    groups = out[:, [0, 1, 3]] > 0
    lagged = np.hstack([groups[1:], groups[:-1]])
    for first, second in [(0, 1), (0, 2), (1, 2), (0, 3), (1, 4), (2, 5), (0, 4)]:
        table = np.zeros((2, 2))
        np.add.at(table, (lagged[:, first].astype(int), lagged[:, second].astype(int)), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-6


def test_groups_of_three_dimensional_inputs():
    """The last axis holds the features; each position of the others has masks of its own."""
    x = torch.randn(30, 40, 5, generator=seeded())
    flat = FeatureGroupDropout(0.5, GROUPS, seeded(1))(x.view(1200, 5))
    assert torch.equal(FeatureGroupDropout(0.5, GROUPS, seeded(1))(x), flat.view_as(x))


def test_groups_move_and_are_saved_with_the_model():
    layer = FeatureGroupDropout(0.5, np.array(GROUPS))
    assert layer.state_dict()["groups"].tolist() == GROUPS
    assert list(layer.parameters()) == []


@pytest.mark.parametrize("n_features", [1, 4, 6])
def test_a_wrong_number_of_features_is_an_error(n_features):
    layer = FeatureGroupDropout(0.5, GROUPS)
    with pytest.raises(ValueError, match=f"{n_features} columns, .* 5 labels"):
        layer(torch.ones(3, n_features))


@all_layers
@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan")])
def test_a_bad_rate_names_the_confusion(make, rate):
    with pytest.raises(ValueError, match=rf"rate={rate} .* dropped; .* retained, pass 1 - p"):
        make(rate)


@all_layers
def test_the_gradient_is_the_mask(make):
    x = torch.randn(50, 5, dtype=torch.float64, generator=seeded(9)).requires_grad_()
    out = make(0.4, seeded())(x)
    out.sum().backward()
    mask = make(0.4, seeded())(torch.ones_like(x))
    assert torch.equal(x.grad, mask)
    assert torch.equal(out, x * mask)
    assert (mask == 0).any()


@all_layers
def test_the_input_is_left_alone(make):
    x = torch.ones(50, 5)
    make(0.5)(x)
    assert (x == 1).all()


@all_layers
def test_a_generator_makes_masks_reproducible(make):
    x = torch.ones(50, 5)
    layer = make(0.5, seeded(3))
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    assert torch.equal(make(0.5, seeded(3))(x), first)
    assert not torch.equal(make(0.5, seeded(4))(x), first)


@all_layers
def test_a_generator_leaves_the_global_ones_alone(make):
    before = global_states()
    make(0.5, seeded())(torch.ones(50, 5))
    for ours, theirs in zip(global_states(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@all_layers
def test_without_a_generator_the_global_seed_decides(make):
    x = torch.ones(50, 5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        out = make(0.5)(x)
    assert torch.equal(out, make(0.5, seeded(7))(x))


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (3,), (2, 3, 5, 7)])
def test_any_shape(shape):
    out = Dropout(0.5, seeded())(torch.ones(shape))
    assert out.shape == shape
    assert set(out.unique().tolist()) <= {0.0, 2.0}


# Whole feature maps

SPATIAL = {SpatialDropout1d: (7,), SpatialDropout2d: (3, 4), SpatialDropout3d: (2, 3, 2)}
every_rank = pytest.mark.parametrize(("Layer", "positions"), SPATIAL.items())


@every_rank
@pytest.mark.parametrize("seed", SEEDS)
def test_a_feature_map_is_zero_everywhere_or_nowhere(Layer, positions, seed):
    out = Layer(0.4, seeded(seed))(torch.ones(500, 6, *positions)).flatten(2)
    assert (out == out[:, :, :1]).all()
    assert set(out.unique().tolist()) == {0.0, float(np.float32(inverse_kept(0.4)))}


@every_rank
@pytest.mark.parametrize("rate", [0.3, 0.7])
def test_maps_and_rows_are_independent(Layer, positions, rate):
    """No two of the maps of a row and of the next are correlated: sum of squared correlations."""
    for seed in SEEDS:
        masks = Layer(rate, seeded(seed))(torch.ones(20_000, 6, *positions)).flatten(2)[:, :, 0]
        kept = (masks > 0).double().numpy()
        assert abs(kept.mean() - (1 - rate)) < N_SIGMAS * (rate * (1 - rate) / kept.size) ** 0.5
        pairs = np.hstack([kept[::2], kept[1::2]])
        correlations = np.corrcoef(pairs.T)[np.triu_indices(12, 1)]
        statistic = len(pairs) * (correlations**2).sum()
        assert stats.chi2.sf(statistic, correlations.size) > 1e-6


@every_rank
@spread(rate=[0.1, 0.5, 0.9], dtype=[torch.float32, torch.float64])
def test_maps_are_scaled_exactly(Layer, positions, dtype, rate):
    x = torch.randn(300, 6, *positions, dtype=dtype, generator=seeded(1))
    out = Layer(rate, seeded())(x)
    assert out.dtype == dtype
    kept = out != 0
    scale = torch.tensor(inverse_kept(rate), dtype=dtype)
    assert torch.equal(out[kept], (x * scale)[kept])
    assert 0 < kept.double().mean() < 1


@every_rank
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_tensors_of_another_rank_are_refused(Layer, positions, training, rate):
    """Whatever the mode: a model is wrong before it drops anything."""
    layer = Layer(rate).train(training)
    for rank in {0, 1, 2, 3, 4, 5, 6} - {len(positions) + 2}:
        with pytest.raises(ValueError, match=rf"{Layer.__name__} takes {len(positions) + 2} axes"):
            layer(torch.ones([2] * rank))


@every_rank
def test_maps_in_evaluation_mode_and_at_a_rate_of_zero(Layer, positions):
    x = torch.randn(5, 4, *positions, generator=seeded())
    layer = Layer(0.5, seeded()).eval()
    assert torch.equal(layer(x), x)
    assert torch.equal(layer.generator.get_state(), seeded().get_state())
    assert torch.equal(Layer(0.0)(x), x)


@every_rank
def test_the_gradient_of_maps_is_the_mask(Layer, positions):
    x = torch.randn(50, 5, *positions, dtype=torch.float64, generator=seeded(9)).requires_grad_()
    out = Layer(0.4, seeded())(x)
    out.sum().backward()
    mask = Layer(0.4, seeded())(torch.ones_like(x))
    assert torch.equal(x.grad, mask)
    assert torch.equal(out, x * mask)


@every_rank
def test_maps_of_a_seed(Layer, positions):
    x = torch.ones(50, 5, *positions)
    before = global_states()
    layer = Layer(0.5, seeded(3))
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    assert torch.equal(Layer(0.5, seeded(3))(x), first)
    for ours, theirs in zip(global_states(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        out = Layer(0.5)(x)
    assert torch.equal(out, Layer(0.5, seeded(7))(x))
    assert (x == 1).all()


@every_rank
def test_rates_of_maps(Layer, positions):
    assert "rate=0.25" in repr(Layer(0.25))
    for rate in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match=rf"rate={rate} .* dropped; .* retained, pass 1 - p"):
            Layer(rate)


def test_maps_of_one_channel_and_no_rows():
    assert SpatialDropout2d(0.5)(torch.ones(0, 3, 2, 2)).shape == (0, 3, 2, 2)
    out = SpatialDropout1d(0.5, seeded())(torch.ones(40, 1, 3))
    assert set(out.unique().tolist()) == {0.0, 2.0}


def test_layers_work_within_a_model():
    model = nn.Sequential(
        FeatureGroupDropout(0.3, GROUPS), nn.Linear(5, 4), nn.ReLU(), Dropout(0.5), nn.Linear(4, 1)
    )
    x = torch.randn(8, 5, generator=seeded())
    plain = nn.Sequential(model[1], model[2], model[4])
    model.eval()
    assert torch.equal(model(x), plain(x))
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model(x).sum().backward()
    assert all(parameter.grad.any() for parameter in model.parameters())
    assert not list(Dropout(0.5).state_dict())


def test_a_copy_of_a_layer_continues_its_stream():
    layer = Dropout(0.5, seeded())
    x = torch.ones(64)
    layer(x)
    twin = copy.deepcopy(layer)
    assert torch.equal(layer(x), twin(x))


@all_layers
def test_the_representation_shows_the_rate(make):
    assert "rate=0.25" in repr(make(0.25))


def test_exponential_layer():
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    np.testing.assert_allclose(Exp()(x), np.exp(x.numpy()), rtol=1e-15)


def sequences(*shape):
    return torch.ones(shape, dtype=torch.float64)


@pytest.mark.parametrize("seed", SEEDS)
def test_variational_masks_serve_all_steps_of_one_sequence(seed):
    out = VariationalDropout(0.3, seeded(seed))(sequences(5_000, 4, 3))
    assert torch.equal(out, out[:, :1].expand_as(out))
    first = out[:, 0].numpy()
    assert sorted(set(first.flat)) == [0.0, inverse_kept(0.3)]
    assert abs((first > 0).mean() - 0.7) < N_SIGMAS * (0.21 / first.size) ** 0.5
    correlations = np.corrcoef(np.hstack([first[1:], first[:-1]]).T)[np.triu_indices(6, 1)]
    assert stats.chi2.sf(len(first) * (correlations**2).sum(), correlations.size) > 1e-6


def test_variational_dropout_in_evaluation_and_at_rate_zero():
    x = torch.randn(3, 4, 2, generator=seeded())
    assert torch.equal(VariationalDropout(0.5).eval()(x), x)
    assert torch.equal(VariationalDropout(0.0)(x), x)
    assert "rate=0.25" in repr(VariationalDropout(0.25))


@pytest.mark.parametrize("shape", [(3, 4), (4,), (2, 3, 4, 5)])
def test_sequences_have_three_dimensions(shape):
    with pytest.raises(ValueError, match=r"shape \(.*, but sequences have the shape"):
        VariationalDropout(0.5)(torch.ones(shape))


@pytest.mark.parametrize("rate", [-0.1, 1, float("nan")])
def test_a_bad_variational_rate(rate):
    with pytest.raises(ValueError, match=rf"rate={rate} .* retained, pass 1 - p"):
        VariationalDropout(rate)


def test_the_gradient_through_variational_dropout_is_its_mask():
    x = torch.randn(6, 4, 3, dtype=torch.float64, generator=seeded(9)).requires_grad_()
    out = VariationalDropout(0.4, seeded())(x)
    out.sum().backward()
    mask = VariationalDropout(0.4, seeded())(torch.ones_like(x))
    assert torch.equal(x.grad, mask)
    assert torch.equal(out, x * mask)
    assert (mask == 0).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_word_types_are_dropped_wherever_they_occur(seed):
    tokens = torch.randint(0, 4, (300, 9), generator=seeded(seed))
    layer = EmbeddingDropout(0.4, seeded(seed))
    out = layer(sequences(300, 9, 2), tokens)
    assert torch.equal(out[..., 0], out[..., 1])
    for token in range(4):
        here = tokens == token
        low = torch.where(here, out[..., 0], 9.0).amin(1)
        high = torch.where(here, out[..., 0], -9.0).amax(1)
        assert torch.equal(low[here.any(1)], high[here.any(1)])
    assert 0.5 < (out[..., 0] > 0).double().mean() < 0.7
    assert torch.equal(layer.eval()(sequences(300, 9, 2), tokens), sequences(300, 9, 2))


# As the engines use them


@all_layers
def test_p_is_the_rate(make):
    layer = make(0.25)
    assert layer.p == 0.25
    layer.p = 0.5
    assert layer.rate == 0.5
    with pytest.raises(ValueError, match="outside"):
        layer.p = 1.0
    assert layer.rate == 0.5


def test_our_dropout_is_one_of_pytorch():
    layer = Dropout(0.3)
    assert isinstance(layer, nn.Dropout)
    assert layer.p == 0.3
    assert not layer.inplace


def source(width, n_rows=4, seed=0):
    return MaskSource([width], n_rows, np.random.SFC64(seed))


def factors_of(lanes, rate):
    levels = round(rate * 65536)
    return (lanes >= levels - 32768).float() * inverse_kept(rate)


@pytest.mark.parametrize("n_rows", [4, 2])
def test_masks_of_a_source(n_rows):
    """For each kind of layer the first rows, in the order that the seed promises."""
    x = torch.ones(n_rows, 6)
    layer = Dropout(0.4)
    layer.tie(source(6))
    assert torch.equal(layer(x), factors_of(layer.source.lanes(0)[:n_rows], 0.4))
    groups = FeatureGroupDropout(0.4, [0, 0, 1, 1, 2, 2])
    groups.tie(source(3))
    expected = factors_of(groups.source.lanes(0)[:n_rows], 0.4).repeat_interleave(2, 1)
    assert torch.equal(groups(x), expected)
    images = Dropout(0.4)
    images.tie(source(2 * 3 * 5))
    expected = factors_of(images.source.lanes(0)[:n_rows], 0.4).view(n_rows, 3, 5, 2)
    assert torch.equal(images(torch.ones(n_rows, 2, 3, 5)), expected.movedim(-1, 1))
    maps = SpatialDropout2d(0.4)
    maps.tie(source(6))
    expected = factors_of(maps.source.lanes(0)[:n_rows], 0.4)[..., None, None]
    assert torch.equal(maps(torch.ones(n_rows, 6, 3, 5)), expected.expand(-1, -1, 3, 5))
    steps = Dropout(0.4)
    steps.tie(source(5 * 3))
    expected = factors_of(steps.source.lanes(0)[:n_rows], 0.4).view(n_rows, 5, 3)
    assert torch.equal(steps(torch.ones(n_rows, 4, 3)), expected[:, :4])
    channels = VariationalDropout(0.4)
    channels.tie(source(3))
    expected = factors_of(channels.source.lanes(0)[:n_rows], 0.4)[:, None].expand(-1, 4, -1)
    assert torch.equal(channels(torch.ones(n_rows, 4, 3)), expected)


def test_a_changed_rate_acts_on_the_masks_of_a_source():
    layer, x = Dropout(0.4), torch.ones(4, 6)
    layer.tie(source(6))
    before = layer(x)
    assert torch.equal(layer(x), before)
    layer.p = 0.0
    assert layer(x) is x
    layer.rate = 0.7
    assert torch.equal(layer(x), factors_of(layer.source.lanes(0), 0.7))
    layer.rate = 0.4
    layer.source.next_step()
    assert not torch.equal(layer(x), before)


def test_no_copy_of_a_layer_has_its_source():
    layer = Dropout(0.4)
    layer.tie(source(6))
    for twin in (copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.source is None
        assert twin.rate == 0.4
    assert layer.source is not None
    assert layer.state_dict() == {}
