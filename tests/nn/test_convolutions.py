"""Convolutional networks: the module against PyTorch's functions, masks and shapes.

The oracle is a plain network of PyTorch's functions in the order that the documentation gives
(convolution, activation, dropout of maps, pooling, dropout of elements), with masks as floating
point factors. It shares nothing with the package but the masks' bits.
"""

import copy
from itertools import pairwise
from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from _families import spread
from torch import nn

from sklearn_dropout.dropout.kinds import DropoutSettings
from sklearn_dropout.dropout.masks import MaskSource
from sklearn_dropout.nn.activations import ACTIVATIONS
from sklearn_dropout.nn.conv_layout import ConvLayout
from sklearn_dropout.nn.module import bounded, convolutional, parameters_of

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
NO_RATES = {"input": [0.0], "maps": [0.0, 0.0], "elements": [0.0, 0.0], "hidden": [0.0]}
ALL_RATES = {"input": [0.2], "maps": [0.3, 0.4], "elements": [0.25, 0.1], "hidden": [0.5]}
all_ranks = pytest.mark.parametrize("rank", SHAPES)
# PyTorch's own "same", with which the layers are compared, warns once in a process.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")


def make_layout(rank, filters=(3, 4), n_convs=1, kernel=3, pool=2, padding="same"):
    def each(size):
        return tuple(size) if isinstance(size, tuple) else (size,) * rank

    return ConvLayout(SHAPES[rank], filters, n_convs, each(kernel), each(pool), padding)


def make_parameters(layout, hidden=(5,), n_outputs=3, dtype=torch.float64):
    """Random weights and biases of order one half."""
    rng = np.random.default_rng(0)
    shapes = [*layout.conv_shapes, *pairwise((layout.n_outputs, *hidden, n_outputs))]
    n_units = [*(shape[0] for shape in layout.conv_shapes), *hidden, n_outputs]

    def draw(shapes):
        return [torch.from_numpy(rng.normal(0, 0.4, shape)).to(dtype) for shape in shapes]

    return draw(shapes), draw(n_units)


def make_sources(layout, hidden=(5,), n_rows=N_ROWS):
    widths = {
        "input": [prod(layout.input_shape)],
        "maps": list(layout.filters),
        "elements": [prod(shape) for shape in layout.output_shapes],
        "hidden": list(hidden),
    }
    bits = {kind: np.random.SFC64(place) for place, kind in enumerate(widths)}
    return {kind: MaskSource(widths[kind], n_rows, bits[kind]) for kind in widths}


def make_module(layout, rates, activation="relu", hidden=(5,), dtype=torch.float64):
    """A module in training mode, without an output function, and its sources."""
    sources = make_sources(layout, hidden)
    parameters = make_parameters(layout, hidden, dtype=dtype)
    module = convolutional(
        *parameters, layout, activation, "identity", DropoutSettings(rates), sources
    )
    return module.train(), sources


def make_data(layout, seed=0, n_rows=N_ROWS):
    x = np.random.default_rng(seed + 100).normal(size=(n_rows, prod(layout.input_shape)))
    return torch.from_numpy(x)


def inverse_kept(rate):
    """The scale of what is kept, for a rate in multiples of 1 / 65536."""
    return 65536 / (65536 - round(rate * 65536))


def factor(sources, rates, kind, site, n_rows):
    """What the first rows are multiplied by, (n_rows, width)."""
    rate = rates[kind][site]
    if not rate:
        return torch.ones(())
    kept = sources[kind].lanes(site)[:n_rows] >= round(rate * 65536) - 32768
    return kept.double() * inverse_kept(rate)


def plain(layout, parameters, x, factor, activation):
    """Outputs of the network as PyTorch's functions, dropout as multiplication.

    Single inputs and elements have their channels innermost in the stream.
    """
    activate, rank = ACTIVATION_LAYERS[activation](), len(layout.kernel_size)
    weights, biases = map(iter, parameters)

    def drop_elements(h, mask):
        if mask.dim() == 0:
            return h
        return h * mask.view(len(h), *h.shape[2:], h.shape[1]).movedim(-1, 1)

    h = drop_elements(x.reshape(-1, *layout.input_shape), factor("input", 0))
    for block in range(len(layout.filters)):
        for _ in range(layout.convs_per_block):
            h = CONVOLUTIONS[rank](h, next(weights), next(biases), padding=layout.padding)
            h = activate(h)
        maps = factor("maps", block)
        h = h * (maps.view(*maps.shape, *[1] * rank) if maps.dim() else maps)
        h = drop_elements(POOLING[rank](h, layout.pool_size), factor("elements", block))
    h = h.flatten(1)
    *hidden, (out_weight, out_bias) = zip(weights, biases)
    for place, (weight, bias) in enumerate(hidden):
        h = activate(h @ weight + bias) * factor("hidden", place)
    return h @ out_weight + out_bias


def check(layout, rates, activation="relu", hidden=(5,), n_rows=N_ROWS):
    """Hold outputs and gradients of two steps to the oracle's."""
    module, sources = make_module(layout, rates, activation, hidden)
    for step in range(2):
        for source in sources.values():
            source.next_step()
        x = make_data(layout, step, n_rows)
        before, upstream = x.clone(), torch.linspace(-1, 1, n_rows * 3).view(n_rows, 3).double()
        module.zero_grad()
        z = module(x)
        (z * upstream).sum().backward()
        weights, biases = make_parameters(layout, hidden)
        leaves = [p.requires_grad_() for p in weights + biases]
        expected = plain(
            layout,
            (weights, biases),
            x,
            lambda kind, site: factor(sources, rates, kind, site, n_rows),
            activation,
        )
        gradients = torch.autograd.grad((expected * upstream).sum(), leaves)
        torch.testing.assert_close(z, expected, rtol=1e-10, atol=1e-10)
        shadow = copy.deepcopy(module)
        for parameter, trained in zip(shadow.parameters(), module.parameters(), strict=True):
            parameter.data = trained.grad
        ours = [p for part in parameters_of(shadow) for p in part]
        for gradient, reference in zip(ours, gradients, strict=True):
            torch.testing.assert_close(gradient.view_as(reference), reference, atol=1e-9, rtol=1e-9)
        # A comparison with gradients of zero would hold nothing.
        assert max(reference.abs().max() for reference in gradients) > 1e-3
        assert torch.equal(x, before)


# The gradient


@spread(activation=ACTIVATIONS, rank=SHAPES, rates=[NO_RATES, ALL_RATES])
def test_outputs_and_gradients_equal_those_of_plain_functions(rank, activation, rates):
    check(make_layout(rank), rates, activation)


@pytest.mark.parametrize("place", NO_RATES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_gradient_with_dropout_in_one_place(activation, place):
    check(make_layout(2), NO_RATES | {place: ALL_RATES[place]}, activation)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@all_ranks
def test_gradient_for_every_kernel(rank, kernel, padding):
    """Even kernels see one position more behind than before, as PyTorch's, which copies then."""
    pool = 1 if padding == "valid" else 2
    check(make_layout(rank, (3,), 1, kernel, pool, padding), ALL_RATES)


@spread(activation=["relu", "elu", "silu"], filters=[(3,), (1,), (4, 2)], n_convs=[1, 2, 3])
def test_gradient_at_every_depth(activation, filters, n_convs):
    check(make_layout(2, filters, n_convs), ALL_RATES, activation)


@pytest.mark.parametrize("pool", [1, 3, (2, 1), (1, 3)])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_gradient_for_every_pool(activation, pool):
    """What fills no window is left out; the kernel need not be square."""
    check(make_layout(2, (3,), 2, kernel=(3, 2), pool=pool), ALL_RATES, activation)


@pytest.mark.parametrize("hidden", [(), (1,), (5, 4)])
def test_gradient_for_every_dense_head(hidden):
    rates = ALL_RATES | {"hidden": [0.5, 0.2][: len(hidden)]}
    check(make_layout(2), rates, hidden=hidden)


@pytest.mark.parametrize("n_rows", [1, 4])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_gradient_of_a_smaller_batch(activation, n_rows):
    """The last batch of an epoch takes the first rows of the masks."""
    check(make_layout(2), ALL_RATES, activation, n_rows=n_rows)


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
@all_ranks
def test_float32_is_close_to_float64(rank, activation):
    layout = make_layout(rank, n_convs=2)
    x, gradients = make_data(layout), []
    for dtype in (torch.float32, torch.float64):
        module, _ = make_module(layout, ALL_RATES, activation, dtype=dtype)
        module(x.to(dtype)).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten().double() for p in module.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


@spread(activation=ACTIVATIONS, rank=SHAPES, n_convs=[1, 2])
@torch.no_grad()
def test_evaluation_drops_nothing(rank, activation, n_convs):
    layout = make_layout(rank, n_convs=n_convs)
    module, _ = make_module(layout, ALL_RATES, activation)
    x = make_data(layout)
    parameters = make_parameters(layout)
    expected = plain(layout, parameters, x, lambda kind, site: torch.ones(()), activation)
    torch.testing.assert_close(module.eval()(x), expected, rtol=1e-11, atol=1e-11)
    samples = x.view(-1, *layout.input_shape)
    torch.testing.assert_close(module(samples), expected, rtol=1e-11, atol=1e-11)


# Masks


@all_ranks
def test_a_map_is_dropped_everywhere_or_nowhere(rank):
    layout, n_rows = make_layout(rank, (40, 30)), 200
    rates = NO_RATES | {"maps": [0.3, 0.6]}
    sources = make_sources(layout, n_rows=n_rows)
    parameters = make_parameters(layout)
    module = convolutional(
        *parameters, layout, "relu", "identity", DropoutSettings(rates), sources
    ).train()
    for block, shape in enumerate(layout.output_shapes):
        positions = shape[1:] if rank > 1 else (1, *shape[1:])
        layer = module.get_submodule(f"spatial_dropout_{block + 1}")
        maps = layer(torch.ones(n_rows, shape[0], *positions)).flatten(2)
        assert (maps == maps[:, :, :1]).all()
        kept, rate = (maps[:, :, 0] > 0).double().mean().item(), rates["maps"][block]
        assert abs(kept - (1 - rate)) < 5 * (rate * (1 - rate) / (n_rows * shape[0])) ** 0.5


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
def test_filters_and_dense_units_are_bounded_but_not_the_output(rank):
    layout = make_layout(rank)
    module, _ = make_module(layout, NO_RATES)
    pairs = bounded(module)
    units = [weight.square().sum(axes) for weight, axes in pairs]
    assert [len(squares) for squares in units] == [3, 4, 5]
    weights, _ = make_parameters(layout)
    for squares, weight in zip(units, weights):
        axes = tuple(range(1, weight.dim())) if weight.dim() > 2 else 0
        torch.testing.assert_close(squares, weight.square().sum(axes))


@all_ranks
@pytest.mark.parametrize("channels", [1, 2])
def test_channels_stay_innermost_in_memory(rank, channels):
    """Dropout on the inputs of grey images made training twice as slow."""
    layout = ConvLayout((channels, *SHAPES[rank][1:]), (3, 4), 1, (3,) * rank, (2,) * rank, "same")
    weights, biases = make_parameters(layout, dtype=torch.float32)
    settings = DropoutSettings(ALL_RATES, input_noise_std=0.1)
    module = convolutional(weights, biases, layout, "relu", "identity", settings).train()
    x, n_checked = torch.randn(N_ROWS, prod(layout.input_shape)), 0
    memory_format = torch.channels_last_3d if rank == 3 else torch.channels_last
    for name, layer in module.named_children():
        x = layer(x)
        if x.dim() > 2 and name >= "conv_1_1":
            assert x.is_contiguous(memory_format=memory_format), name
            n_checked += 1
    assert n_checked > 8
