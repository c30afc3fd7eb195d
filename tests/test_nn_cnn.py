"""Convolutional networks: the explicit gradient against autograd, masks and shapes.

The oracle is a plain network of PyTorch's functions in the order that the documentation gives
(convolution, activation, dropout of maps, pooling, dropout of elements), with masks as floating
point factors. It shares nothing with the package but the masks' bits.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from sklearn_dropout.nn._activations import ACTIVATIONS
from sklearn_dropout.nn._cnn import StackedCNN
from sklearn_dropout.nn._cnn_dropout import CNNDropout
from sklearn_dropout.nn._conv_layout import ConvLayout
from sklearn_dropout.nn._losses import LOSSES
from sklearn_dropout.nn._masks import MaskSource

N_ROWS = 6
SHAPES = {1: (2, 11), 2: (2, 7, 6), 3: (2, 5, 4, 5)}
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
POOLING = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
ACTIVATION_LAYERS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
NO_RATES = {"inputs": 0.0, "maps": [0.0, 0.0], "elements": [0.0, 0.0], "hidden": [0.0]}
ALL_RATES = {"inputs": 0.2, "maps": [0.3, 0.4], "elements": [0.25, 0.1], "hidden": [0.5]}
all_ranks = pytest.mark.parametrize("rank", SHAPES)


def make_layout(rank, filters=(3, 4), n_convs=1, kernel=3, pool=2, padding="same"):
    def each(size):
        return tuple(size) if isinstance(size, tuple) else (size,) * rank

    return ConvLayout(SHAPES[rank], filters, n_convs, each(kernel), each(pool), padding)


def make_network(layout, hidden=(5,), n_outputs=3, activation="relu", loss="log_loss", **options):
    """In float64, with random weights and biases of order one half."""
    options = {"dtype": torch.float64} | options
    network = StackedCNN(layout, (*hidden, n_outputs), activation=activation, loss=loss, **options)
    values = np.random.default_rng(0).normal(0, 0.4, network.parameters.numel())
    network.parameters.copy_(torch.from_numpy(values))
    return network


def make_dropout(layout, rates, hidden=(5,), seed=0, n_rows=N_ROWS, dtype=torch.float64):
    only = torch.zeros(1, dtype=torch.int64)

    def source(rates, widths, use):
        bits = np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(use,)))
        return MaskSource(np.atleast_2d(rates), widths, n_rows, [bits], only)

    n = len(layout.filters)
    return CNNDropout(
        source([rates["inputs"]], [int(np.prod(layout.input_shape))], 0),
        source(rates["maps"][:n], layout.filters, 1),
        source(rates["elements"][:n], [int(np.prod(s)) for s in layout.output_shapes], 2),
        source(rates["hidden"][: len(hidden)], hidden, 3),
        layout,
        dtype,
    )


def make_data(layout, n_outputs=3, loss="log_loss", seed=0, n_rows=N_ROWS):
    rng = np.random.default_rng(seed + 100)
    x = rng.normal(size=(1, n_rows, int(np.prod(layout.input_shape))))
    shape = (1, n_rows, n_outputs)
    y = {
        "log_loss": lambda: np.eye(n_outputs)[rng.integers(n_outputs, size=shape[:2])],
        "binary_log_loss": lambda: rng.integers(2, size=shape).astype(float),
        "poisson": lambda: rng.poisson(1.5, shape).astype(float),
    }.get(loss, lambda: rng.normal(0, 2, shape))()
    return torch.from_numpy(x), torch.from_numpy(y)


def row_weights(n_rows=N_ROWS):
    weight = np.random.default_rng(5).uniform(0.1, 1, (1, n_rows, 1))
    return torch.from_numpy(weight / weight.sum())


def inverse_kept(rate):
    """The scale of what is kept, for a rate in multiples of 1 / 65536."""
    return 65536 / (65536 - round(rate * 65536))


def plain(network, parameters, x, masks, rates, activation):
    """Outputs of the network as PyTorch's functions, dropout as multiplication."""
    layout, activate = network.layout, ACTIVATION_LAYERS[activation]()
    rank, n = len(layout.kernel_size), len(network.weights)
    weights, biases = iter(parameters[:n]), iter(parameters[n:])

    def drop(h, mask, rate, shape):
        return h if mask is None else h * mask.reshape(len(h), *shape) * inverse_kept(rate)

    h = x.reshape(-1, *layout.input_shape)
    h = drop(h, masks.inputs, rates["inputs"], layout.input_shape)
    for block, n_filters in enumerate(layout.filters):
        for _ in range(layout.convs_per_block):
            h = CONVOLUTIONS[rank](h, next(weights), next(biases), padding=layout.padding)
            h = activate(h)
        h = drop(h, masks.maps[block], rates["maps"][block], (n_filters, *[1] * rank))
        h = POOLING[rank](h, layout.pool_size)
        h = drop(h, masks.elements[block], rates["elements"][block], layout.output_shapes[block])
    h = h.flatten(1)
    for place, (weight, bias) in enumerate(zip(weights, biases)):
        h = h @ weight + bias
        if place < len(network.dense_sizes) - 1:
            h = activate(h)
            h = drop(h, masks.dense.layers[place + 1], rates["hidden"][place], h.shape[1:])
    return h


def check_gradient(layout, rates, activation="relu", loss="log_loss", hidden=(5,), n_rows=N_ROWS):
    """Hold two steps to autograd: the second finds what the first left behind."""
    network = make_network(layout, hidden, activation=activation, loss=loss)
    weight = row_weights(n_rows)
    for step, masks in enumerate(make_dropout(layout, rates, hidden).draw(2)):
        masks = masks.first(n_rows)
        x, y = make_data(layout, loss=loss, seed=step, n_rows=n_rows)
        before, z = x.clone(), torch.full_like(y, torch.nan)
        network.gradient.fill_(torch.nan)
        with torch.inference_mode():
            network.step(x, y, weight, masks, z)
        parameters = [p[0].clone().requires_grad_() for p in network.weights + network.biases]
        expected = plain(network, parameters, x[0], masks, rates, activation)
        value = (LOSSES[loss].rows(expected, y[0]) * weight[0, :, 0]).sum()
        gradients = torch.autograd.grad(value, parameters)
        torch.testing.assert_close(z[0], expected.detach(), rtol=1e-10, atol=1e-10)
        ours = network.weight_gradients + network.bias_gradients
        for gradient, reference in zip(ours, gradients, strict=True):
            torch.testing.assert_close(gradient[0], reference, rtol=1e-9, atol=1e-10)
        # A comparison with gradients of zero would hold nothing.
        assert max(reference.abs().max() for reference in gradients) > 1e-3
        assert torch.equal(x, before)


# The gradient


@pytest.mark.parametrize("rates", [NO_RATES, ALL_RATES], ids=["no dropout", "all dropout"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@all_ranks
def test_gradient_equals_autograd(rank, activation, rates):
    check_gradient(make_layout(rank), rates, activation)


@pytest.mark.parametrize("place", NO_RATES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_gradient_with_dropout_in_one_place(activation, place):
    check_gradient(make_layout(2), NO_RATES | {place: ALL_RATES[place]}, activation)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@all_ranks
def test_gradient_for_every_kernel(rank, kernel, padding):
    """Even kernels see one position more behind than before, as PyTorch's, which copies then."""
    pool = 1 if padding == "valid" else 2
    check_gradient(make_layout(rank, (3,), 1, kernel, pool, padding), ALL_RATES)


@pytest.mark.parametrize("n_convs", [1, 2, 3])
@pytest.mark.parametrize("filters", [(3,), (1,), (4, 2)])
@pytest.mark.parametrize("activation", ["relu", "elu", "silu"])
def test_gradient_at_every_depth(activation, filters, n_convs):
    check_gradient(make_layout(2, filters, n_convs), ALL_RATES, activation)


@pytest.mark.parametrize("pool", [1, 3, (2, 1), (1, 3)])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_gradient_for_every_pool(activation, pool):
    """What fills no window is left out; the kernel need not be square."""
    check_gradient(make_layout(2, (3,), 2, kernel=(3, 2), pool=pool), ALL_RATES, activation)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_for_every_loss(loss):
    check_gradient(make_layout(1), ALL_RATES, "tanh", loss)


@pytest.mark.parametrize("hidden", [(), (1,), (5, 4)])
def test_gradient_for_every_dense_head(hidden):
    rates = ALL_RATES | {"hidden": [0.5, 0.2]}
    check_gradient(make_layout(2), rates, hidden=hidden)


@pytest.mark.parametrize("n_rows", [1, 4])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_gradient_of_a_smaller_batch(activation, n_rows):
    """The last batch of an epoch takes the first rows of the masks."""
    check_gradient(make_layout(2), ALL_RATES, activation, n_rows=n_rows)


@all_ranks
def test_a_step_changes_neither_parameters_nor_masks_and_repeats_itself(rank):
    layout = make_layout(rank, n_convs=2)
    network = make_network(layout, activation="gelu")
    x, y = make_data(layout)
    masks, others = make_dropout(layout, ALL_RATES).draw(2)
    held = [masks.inputs, *masks.maps, *masks.elements, masks.dense.layers[1], network.parameters]
    before = [tensor.clone() for tensor in held]
    gradients = []
    for step in (masks, others, masks):
        network.step(x, y, row_weights(), step, torch.empty_like(y))
        gradients.append(network.gradient.clone())
    assert torch.equal(gradients[0], gradients[2])
    assert not torch.equal(gradients[0], gradients[1])
    for tensor, copy in zip(held, before):
        assert torch.equal(tensor, copy)


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
@all_ranks
def test_float32_is_close_to_float64(rank, activation):
    layout = make_layout(rank, n_convs=2)
    x, y = make_data(layout)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        network = make_network(layout, activation=activation, dtype=dtype)
        masks = make_dropout(layout, ALL_RATES, dtype=dtype).draw(1)[0]
        z = torch.empty_like(y, dtype=dtype)
        network.step(x.to(dtype), y.to(dtype), row_weights().to(dtype), masks, z)
        assert network.gradient.dtype == dtype
        gradients.append(network.gradient.double())
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


# Without dropout


@pytest.mark.parametrize("n_convs", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@all_ranks
@torch.no_grad()
def test_forward_equals_plain_layers(rank, activation, n_convs):
    layout = make_layout(rank, n_convs=n_convs)
    network = make_network(layout, activation=activation)
    x, _ = make_data(layout)
    masks = make_dropout(layout, NO_RATES).draw(1)[0]
    parameters = [p[0] for p in network.weights + network.biases]
    expected = plain(network, parameters, x[0], masks, NO_RATES, activation)
    before = x.clone()
    torch.testing.assert_close(network.forward(x)[0], expected, rtol=1e-11, atol=1e-12)
    assert torch.equal(x, before)


def test_many_rows_are_computed_in_parts(monkeypatch):
    layout = make_layout(2)
    network = make_network(layout)
    x, _ = make_data(layout, n_rows=7)
    whole = network.forward(x)
    monkeypatch.setattr("sklearn_dropout.nn._cnn._CHUNK_VALUES", 3 * layout.widest)
    torch.testing.assert_close(network.forward(x), whole, rtol=1e-12, atol=1e-13)


# Masks


@all_ranks
def test_a_map_is_dropped_everywhere_or_nowhere(rank):
    layout = make_layout(rank, (40, 30))
    rates = NO_RATES | {"maps": [0.3, 0.6]}
    (masks,) = make_dropout(layout, rates, n_rows=200).draw(1)
    for block, shape in enumerate(layout.output_shapes):
        positions = shape[1:] if rank > 1 else (1, *shape[1:])
        h = torch.ones(200, shape[0], *positions)
        masks.drop_maps(h, block)
        maps = h.flatten(2)
        assert (maps == maps[:, :, :1]).all()
        kept, rate = maps[:, :, 0].mean().item(), rates["maps"][block]
        assert abs(kept - (1 - rate)) < 5 * (rate * (1 - rate) / (200 * shape[0])) ** 0.5


@pytest.mark.parametrize("n_steps", [1, 3])
def test_masks_do_not_depend_on_how_many_steps_are_drawn_at_once(n_steps):
    layout = make_layout(2)
    one_by_one = make_dropout(layout, ALL_RATES)
    steps = [one_by_one.draw(1)[0] for _ in range(n_steps)]
    for ours, theirs in zip(make_dropout(layout, ALL_RATES).draw(n_steps), steps):
        assert torch.equal(ours.inputs, theirs.inputs)
        for one, other in zip(ours.maps + ours.elements, theirs.maps + theirs.elements):
            assert torch.equal(one, other)


def test_factors_are_masks_times_scales():
    layout = make_layout(2)
    (masks,) = make_dropout(layout, ALL_RATES, n_rows=1).draw(1)
    inputs, first, second, hidden = masks.factors(torch.float64)
    assert set(inputs.unique().tolist()) == {0.0, inverse_kept(0.2)}
    for block, factor in enumerate((first, second)):
        scale = inverse_kept(ALL_RATES["maps"][block]) * inverse_kept(ALL_RATES["elements"][block])
        torch.testing.assert_close(factor.max().item(), scale)
        assert factor.shape[1:] == layout.output_shapes[block]
    assert set(hidden.unique().tolist()) <= {0.0, 2.0}
    (masks,) = make_dropout(layout, NO_RATES, n_rows=1).draw(1)
    assert masks.factors(torch.float64) == [None] * 4


# Shapes and parameters


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("n_convs", [1, 2])
@all_ranks
def test_layout_tells_the_shapes_of_pytorch(rank, n_convs, padding):
    kernel = 2 if padding == "valid" else 3
    layout = make_layout(rank, (3,), n_convs, kernel, 2, padding)
    h = torch.zeros(1, *SHAPES[rank])
    multiplications = 0
    for shape in layout.conv_shapes:
        below = h[0, 0].numel()
        h = CONVOLUTIONS[rank](h, torch.zeros(shape), padding=padding)
        multiplications += int(np.prod(shape)) * below
    h = POOLING[rank](h, 2)
    assert layout.output_shapes == [tuple(h.shape[1:])]
    assert layout.n_outputs == h.numel()
    if padding == "same":
        assert layout.n_multiplications == multiplications


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kernel": 8, "padding": "valid"},
            r"kernel_size=\(8, 8\) with padding='valid' .* block 1",
        ),
        ({"n_convs": 3, "padding": "valid"}, "leaves nothing of them in block 1 of 2"),
        ({"pool": 4}, r"pool_size=\(4, 4\) leaves nothing of them in block 2 of 2"),
        ({"pool": (7, 1)}, "block 2 of 2"),
    ],
)
def test_samples_that_are_too_small(options, message):
    with pytest.raises(ValueError, match=rf"shape \(2, 7, 6\).*n_features = 84.*{message}"):
        make_layout(2, **options)


@all_ranks
def test_max_norm_bounds_filters_and_dense_units_but_not_the_output(rank):
    network = make_network(make_layout(rank))
    before = [w.clone() for w in network.weights]
    network.clip_norms(torch.tensor([0.7], dtype=torch.float64))
    for place, (ours, theirs) in enumerate(zip(network.weights, before)):
        if place == len(before) - 1:
            assert torch.equal(ours, theirs)
            continue
        axes = list(range(2, theirs.dim())) if place < 2 else [1]
        norms = theirs.square().sum(axes, keepdim=True).sqrt()
        assert (norms > 0.7).any()
        torch.testing.assert_close(ours, theirs * (0.7 / norms).clamp(max=1))


def test_parameters_are_views_of_one_vector():
    network = make_network(make_layout(2))
    pieces = [p.flatten() for p in network.weights + network.biases]
    assert torch.equal(torch.cat(pieces), network.parameters)
    assert [w.shape[1:] for w in network.weights] == [(3, 2, 3, 3), (4, 3, 3, 3), (4, 5), (5, 3)]
    assert network.values_per_row > 0
    assert network.multiplications_per_row > sum(w.numel() for w in network.weights)
