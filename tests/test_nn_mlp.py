"""Stacked perceptrons: the explicit gradient against autograd, the stack against its networks.

The oracle is a plain perceptron of one network in two-dimensional arrays, with masks as floating
point factors, differentiated by PyTorch. It shares nothing with the package but the masks' bits.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from sklearn_dropout.nn._activations import ACTIVATIONS
from sklearn_dropout.nn._losses import LOSSES
from sklearn_dropout.nn._masks import MaskSource
from sklearn_dropout.nn._mlp import StackedMLP
from sklearn_dropout.nn._mlp_dropout import MLPDropout

SEEDS = [0, 1, 2]
N_ROWS, N_FEATURES = 7, 5
# Columns 0, 2 and 4 form a group.
GROUP_OF_COLUMN = [0, 1, 0, 2, 0]

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
LOSS_FUNCTIONS = {
    "log_loss": lambda z, y: F.cross_entropy(z, y.argmax(1), reduction="none"),
    "binary_log_loss": lambda z, y: -(y * F.logsigmoid(z) + (1 - y) * F.logsigmoid(-z)).sum(1),
    "squared_error": lambda z, y: F.mse_loss(z, y, reduction="none").sum(1) / 2,
    "absolute_error": lambda z, y: F.l1_loss(z, y, reduction="none").sum(1),
    "huber": lambda z, y: F.smooth_l1_loss(z, y, reduction="none", beta=1.0).sum(1),
    "poisson": lambda z, y: F.poisson_nll_loss(z, y, reduction="none").sum(1),
}


# What a test is made of


@dataclass
class Rates:
    """Fractions dropped: of shape (n_networks,), (n_networks,) and (n_networks, n_hidden)."""

    elements: np.ndarray
    groups: np.ndarray
    hidden: np.ndarray

    def of(self, network):
        which = slice(network, network + 1)
        return Rates(self.elements[which], self.groups[which], self.hidden[which])


def make_rates(n_networks, n_hidden, hidden="none", inputs="none"):
    """Rates of each kind that a test may ask for."""
    ramp = np.linspace(0, 0.6, n_networks)
    per_layer = {
        "none": np.zeros(n_hidden),
        "half": np.full(n_hidden, 0.5),
        "mixed": np.array([0.3, 0.0, 0.6])[:n_hidden],
    }
    if hidden == "per network":
        hidden = np.outer(ramp, np.ones(n_hidden)) + np.linspace(0, 0.3, n_hidden)
    else:
        hidden = np.tile(per_layer[hidden], (n_networks, 1))
    some = ramp[::-1] + 0.1
    none = np.zeros(n_networks)
    return Rates(
        some if inputs in ("elements", "both") else none,
        0.5 * some if inputs in ("groups", "both") else none,
        hidden,
    )


def make_dropout(rates, layer_sizes, seed=0, dtype=torch.float64):
    """Dropout of a stack whose networks all read the streams of one seed."""
    network = torch.zeros(len(rates.elements), dtype=torch.int64)

    def source(rates, widths, use):
        bits = np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(use,)))
        return MaskSource(rates, widths, N_ROWS, [bits], network)

    return MLPDropout(
        source(rates.elements[:, None], layer_sizes[:1], 0),
        source(rates.groups[:, None], [max(GROUP_OF_COLUMN) + 1], 1),
        source(rates.hidden, layer_sizes[1:-1], 2),
        torch.tensor(GROUP_OF_COLUMN),
        dtype,
    )


def make_network(layer_sizes, n_networks, activation, loss, seed=0):
    """A stack in float64 with random weights and biases of order one."""
    network = StackedMLP(
        layer_sizes, n_networks, activation=activation, loss=loss, dtype=torch.float64
    )
    rng = np.random.default_rng(seed)
    network.parameters.copy_(torch.from_numpy(rng.normal(0, 0.6, network.parameters.numel())))
    return network


def make_data(n_networks, n_outputs, loss, seed=0, n_rows=N_ROWS):
    """Inputs and targets of a batch, others for each network."""
    rng = np.random.default_rng(seed + 1000)
    x = rng.normal(size=(n_networks, n_rows, N_FEATURES))
    shape = (n_networks, n_rows, n_outputs)
    y = {
        "log_loss": lambda: np.eye(n_outputs)[rng.integers(n_outputs, size=shape[:2])],
        "binary_log_loss": lambda: rng.integers(2, size=shape).astype(float),
        "poisson": lambda: rng.poisson(1.5, shape).astype(float),
    }.get(loss, lambda: rng.normal(0, 2, shape))()
    return torch.from_numpy(x), torch.from_numpy(y)


def row_weights(kind, n_networks, n_rows=N_ROWS):
    """Weights that sum to one for each network."""
    if kind == "uniform":
        return torch.full((1, 1, 1), 1 / n_rows, dtype=torch.float64)
    weight = np.random.default_rng(5).uniform(0.1, 1, (n_networks, n_rows, 1))
    weight[:, 1] = 0
    return torch.from_numpy(weight / weight.sum(1, keepdims=True))


def inverse_kept(rate):
    """The scale of what is kept, for a rate in multiples of 1 / 65536."""
    return 65536 / (65536 - round(rate * 65536))


def factors_of(masks, rates, network):
    """What each layer's input of one network is multiplied by, as floating point arrays."""
    inputs = inverse_kept(rates.elements[network]) * inverse_kept(rates.groups[network])
    scales = [inputs, *(inverse_kept(rate) for rate in rates.hidden[network])]
    return [
        1.0 if mask is None else mask[network].double() * scale
        for mask, scale in zip(masks.layers, scales, strict=True)
    ]


def autograd(parameters, x, y, weight, factors, activation, loss):
    """Outputs and gradients of one perceptron: weights first, then biases."""
    parameters = [p.clone().requires_grad_() for p in parameters]
    n_layers = len(parameters) // 2
    h = x * factors[0]
    for layer in range(n_layers):
        z = F.linear(h, parameters[layer].T, parameters[n_layers + layer])
        if layer < n_layers - 1:
            h = ACTIVATION_LAYERS[activation]()(z) * factors[layer + 1]
    value = (LOSS_FUNCTIONS[loss](z, y) * weight.expand(len(x), 1)[:, 0]).sum()
    return z.detach(), torch.autograd.grad(value, parameters)


def assert_close(ours, theirs, atol=1e-10):
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=atol)


def check_gradient(
    layer_sizes, n_networks, activation, loss, rates, weights="varied", seed=0, n_rows=N_ROWS
):
    """Hold two steps to autograd: the second finds what the first left in the buffers."""
    network = make_network(layer_sizes, n_networks, activation, loss, seed)
    weight = row_weights(weights, n_networks, n_rows)
    steps = make_dropout(rates, layer_sizes, seed).draw(2)
    for step, masks in enumerate(steps):
        x, y = make_data(n_networks, layer_sizes[-1], loss, seed + step, n_rows)
        masks = masks.first(n_rows)
        z = torch.full_like(y, torch.nan)
        network.gradient.fill_(torch.nan)
        network.step(x, y, weight, masks, z)
        ours = network.weight_gradients + network.bias_gradients
        for k in range(n_networks):
            expected_z, expected = autograd(
                [p[k] for p in network.weights + network.biases],
                x[k],
                y[k],
                weight.expand(n_networks, -1, -1)[k],
                factors_of(masks, rates, k),
                activation,
                loss,
            )
            assert_close(z[k], expected_z)
            for gradient, reference in zip(ours, expected, strict=True):
                assert_close(gradient[k], reference)
            # A comparison with a gradient of zero would hold nothing.
            assert max(reference.abs().max() for reference in expected) > 1e-3


# The gradient


@pytest.mark.parametrize("n_networks", [1, 5])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_equals_autograd(activation, loss, n_networks):
    rates = make_rates(n_networks, 2, "per network", "both")
    check_gradient((N_FEATURES, 6, 4, 3), n_networks, activation, loss, rates)


@pytest.mark.parametrize("n_networks", [1, 5])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("hidden", ["none", "half", "mixed", "per network"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
def test_gradient_at_every_depth_and_rate(activation, depth, hidden, n_outputs, n_networks):
    """Of a gate, and of activations that keep their output or their argument."""
    layer_sizes = (N_FEATURES, *(6, 4, 8)[:depth], n_outputs)
    rates = make_rates(n_networks, depth, hidden)
    check_gradient(layer_sizes, n_networks, activation, "squared_error", rates)


@pytest.mark.parametrize("n_networks", [1, 5])
@pytest.mark.parametrize("inputs", ["none", "elements", "groups", "both"])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_gradient_with_input_masks(activation, depth, inputs, n_networks):
    layer_sizes = (N_FEATURES, *(6, 4)[:depth], 3)
    rates = make_rates(n_networks, depth, "mixed", inputs)
    check_gradient(layer_sizes, n_networks, activation, "log_loss", rates)


@pytest.mark.parametrize("n_networks", [1, 5])
@pytest.mark.parametrize("weights", ["uniform", "varied"])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"log_loss"}))
def test_gradient_for_every_number_of_outputs_and_row_weight(loss, n_outputs, weights, n_networks):
    rates = make_rates(n_networks, 1, "half", "elements")
    check_gradient((N_FEATURES, 6, n_outputs), n_networks, "relu", loss, rates, weights)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("n_networks", [1, 2, 5])
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_gradient_of_narrow_layers(activation, n_networks, width):
    """A hidden layer of one unit takes the way of a single output."""
    rates = make_rates(n_networks, 2, "half")
    layer_sizes = (N_FEATURES, width, width, 1)
    for seed in SEEDS:
        check_gradient(layer_sizes, n_networks, activation, "squared_error", rates, seed=seed)


@pytest.mark.parametrize("n_networks", [1, 5])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("n_rows", [1, 4])
def test_gradient_of_a_smaller_batch(activation, n_networks, n_rows):
    """The last batch of an epoch takes the first rows of the masks."""
    rates = make_rates(n_networks, 2, "per network", "both")
    layer_sizes = (N_FEATURES, 6, 4, 2)
    check_gradient(
        layer_sizes, n_networks, activation, "squared_error", rates, "uniform", n_rows=n_rows
    )


@pytest.mark.parametrize("n_networks", [1, 5])
@pytest.mark.parametrize("rate", [2**-20, 0.98])
def test_gradient_at_extreme_rates(rate, n_networks):
    """A rate that rounds to zero has masks of ones; one near one, a large scale."""
    rates = make_rates(n_networks, 1)
    rates.hidden[:] = rate
    check_gradient((N_FEATURES, 40, 2), n_networks, "relu", "squared_error", rates)


def test_gradient_of_inputs_shared_by_the_stack():
    """Networks on the same batch may share its memory, which a step must not write to."""
    network = make_network((N_FEATURES, 6, 2), 5, "relu", "squared_error")
    x, y = make_data(1, 2, "squared_error")
    shared, copied = x.expand(5, -1, -1), x.repeat(5, 1, 1)
    masks = make_dropout(make_rates(5, 1, "per network", "both"), network.layer_sizes).draw(1)[0]
    weight, before = row_weights("uniform", 5), x.clone()
    z = torch.empty(5, N_ROWS, 2, dtype=torch.float64)
    network.step(shared, y.expand(5, -1, -1), weight, masks, z)
    gradient = network.gradient.clone()
    network.step(copied, y.repeat(5, 1, 1), weight, masks, z)
    assert_close(gradient, network.gradient, atol=1e-14)
    assert torch.equal(x, before)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_step_changes_neither_parameters_nor_masks_and_repeats_itself(activation):
    network = make_network((N_FEATURES, 6, 4, 2), 2, activation, "squared_error")
    x, y = make_data(2, 2, "squared_error")
    dropout = make_dropout(make_rates(2, 2, "mixed", "elements"), network.layer_sizes)
    masks, others = dropout.draw(2)
    inputs = [x, y, network.parameters, *(m for m in masks.layers if m is not None)]
    before = [tensor.clone() for tensor in inputs]
    weight, z, gradients = row_weights("uniform", 2), torch.empty_like(y), []
    for step in [masks, others, masks.first(3), masks]:
        n_rows = step.layers[0].shape[1]
        network.step(x[:, :n_rows], y[:, :n_rows], weight, step, z[:, :n_rows].clone())
        gradients.append(network.gradient.clone())
    assert torch.equal(gradients[0], gradients[3])
    assert not torch.equal(gradients[0], gradients[1])
    for tensor, copy in zip(inputs, before):
        assert torch.equal(tensor, copy)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_equals_finite_differences(loss):
    """Without autograd: the slope of the loss along a random direction."""
    network = make_network((N_FEATURES, 6, 4, 3), 1, "tanh", loss)
    x, y = make_data(1, 3, loss)
    masks = make_dropout(make_rates(1, 2, "half", "both"), network.layer_sizes).draw(1)[0]
    weight, z = row_weights("varied", 1), torch.empty_like(y)
    start = network.parameters.clone()
    direction = torch.from_numpy(np.random.default_rng(1).normal(size=start.shape))

    def value(distance):
        network.parameters.copy_(start + distance * direction)
        network.step(x, y, weight, masks, z)
        return (LOSSES[loss].rows(z, y) * weight[..., 0]).sum().item()

    value(0.0)
    slope = network.gradient @ direction
    difference = (value(1e-5) - value(-1e-5)) / 2e-5
    assert slope.item() == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32_is_close_to_float64(activation):
    """Both kinds of numbers go the same way."""
    rates = make_rates(3, 2, "mixed", "both")
    sizes = (N_FEATURES, 6, 4, 2)
    x, y = make_data(3, 2, "squared_error")
    gradients = []
    for dtype in (torch.float32, torch.float64):
        network = StackedMLP(sizes, 3, activation=activation, loss="squared_error", dtype=dtype)
        network.parameters.copy_(make_network(sizes, 3, activation, "squared_error").parameters)
        masks = make_dropout(rates, sizes, dtype=dtype).draw(1)[0]
        weight, z = row_weights("varied", 3).to(dtype), torch.empty_like(y, dtype=dtype)
        network.step(x.to(dtype), y.to(dtype), weight, masks, z)
        assert network.gradient.dtype == dtype
        gradients.append(network.gradient.double())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


# The stack


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("activation", ["relu", "elu", "gelu"])
def test_a_stack_equals_its_networks(activation, seed):
    """The same weights on the same streams: the same masks and gradients."""
    sizes = (N_FEATURES, 6, 4, 2)
    rates = make_rates(5, 2, "per network", "both")
    stack = make_network(sizes, 5, activation, "huber", seed)
    x, y = make_data(5, 2, "huber", seed)
    weight, z = row_weights("varied", 5), torch.empty_like(y)
    together = make_dropout(rates, sizes, seed).draw(3)
    alone = [make_dropout(rates.of(k), sizes, seed).draw(3) for k in range(5)]
    for step in range(3):
        stack.step(x, y, weight, together[step], z)
        for k in range(5):
            which = slice(k, k + 1)
            for ours, theirs in zip(together[step].layers, alone[k][step].layers):
                mask = ours[which]
                assert mask.all() if theirs is None else torch.equal(mask, theirs)
            single = StackedMLP(sizes, activation=activation, loss="huber", dtype=torch.float64)
            single.load(0, *stack.export(k))
            single_z = torch.empty_like(y[which])
            single.step(x[which], y[which], weight[which], alone[k][step], single_z)
            assert_close(z[which], single_z, atol=1e-13)
            ours = stack.weight_gradients + stack.bias_gradients
            theirs = single.weight_gradients + single.bias_gradients
            for gradient, reference in zip(ours, theirs):
                assert_close(gradient[which], reference, atol=1e-13)


def plain_network(network, k, activation):
    """One network of a stack as PyTorch layers."""
    layers = OrderedDict()
    weights, biases = network.export(k)
    for layer, (weight, bias) in enumerate(zip(weights, biases)):
        linear = nn.Linear(*weight.shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))
        layers[f"linear{layer}"] = linear
        if layer < len(weights) - 1:
            layers[f"activation{layer}"] = ACTIVATION_LAYERS[activation]()
    return nn.Sequential(layers)


@pytest.mark.parametrize("n_networks", [1, 5])
@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.no_grad()
def test_forward_equals_plain_layers(activation, depth, n_networks):
    sizes = (N_FEATURES, *(6, 4, 8)[:depth], 2)
    network = make_network(sizes, n_networks, activation, "squared_error")
    x, _ = make_data(n_networks, 2, "squared_error")
    before = x.clone()
    z, shared = network.forward(x), network.forward(x[:1])
    assert torch.equal(x, before)
    assert z.shape == (n_networks, N_ROWS, 2)
    for k in range(n_networks):
        plain = plain_network(network, k, activation)
        assert_close(z[k], plain(x[k]), atol=1e-13)
        assert_close(shared[k], plain(x[0]), atol=1e-13)


@pytest.mark.parametrize("n_networks", [1, 5])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_the_mean_over_masks_of_a_linear_output_is_the_forward_pass(activation, n_networks):
    """Dropped units are made up for: one hidden layer, dropped, enters a linear output.

    Within 5 standard errors of the mean over 4,000 masks.
    """
    sizes = (N_FEATURES, 8, 2)
    network = make_network(sizes, n_networks, activation, "squared_error")
    x, y = make_data(n_networks, 2, "squared_error")
    outputs, z = [], torch.empty_like(y)
    rates = make_rates(n_networks, 1)
    rates.hidden[:] = 0.4
    for masks in make_dropout(rates, sizes).draw(4000):
        network.step(x, y, row_weights("uniform", 1), masks, z)
        outputs.append(z.clone())
    outputs = torch.stack(outputs)
    errors = outputs.std(0) / len(outputs) ** 0.5
    assert ((outputs.mean(0) - network.forward(x)).abs() <= 5 * errors + 1e-12).all()


# Parameters


def test_parameters_are_views_of_one_vector():
    network = make_network((3, 4, 2), 5, "relu", "squared_error")
    pieces = [p.flatten() for p in network.weights + network.biases]
    assert torch.equal(torch.cat(pieces), network.parameters)
    assert network.n_weights == 5 * (12 + 8)
    assert network.n_layers == 2
    network.parameters.zero_()
    network.gradient.fill_(1.0)
    assert not any(p.any() for p in network.weights + network.biases)
    assert all(g.all() for g in network.weight_gradients + network.bias_gradients)


def exported(stack, k):
    weights, biases = stack.export(k)
    return weights + biases


@pytest.mark.parametrize("network", [0, 2])
def test_load_and_export_are_inverse(network):
    stack = make_network((3, 4, 2), 3, "relu", "squared_error")
    others = {k: exported(stack, k) for k in range(3) if k != network}
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape) for shape in [(3, 4), (4, 2)]]
    biases = [rng.normal(size=n) for n in [4, 2]]
    stack.load(network, weights, biases)
    for ours, theirs in zip(exported(stack, network), weights + biases, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for k, arrays in others.items():
        for ours, theirs in zip(exported(stack, k), arrays, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_exported_arrays_share_no_memory():
    stack = make_network((3, 4, 2), 1, "relu", "squared_error")
    arrays = exported(stack, 0)
    stack.parameters.zero_()
    assert all(array.all() for array in arrays)


@pytest.mark.parametrize("shapes", [[(3, 4)], [(3, 4), (4, 2), (2, 2)], [(3, 5), (5, 2)]])
def test_load_refuses_other_architectures(shapes):
    stack = StackedMLP((3, 4, 2), dtype=torch.float64)
    with pytest.raises((ValueError, RuntimeError)):
        stack.load(0, [np.ones(shape) for shape in shapes], [np.ones(n) for _, n in shapes])


@pytest.mark.parametrize("which", [[0, 0, 0], [1, 1, 1], [1, 0, 1], [0, 1, 0]])
def test_save_copies_the_networks_asked_for(which):
    which = np.array(which, dtype=bool)
    stack = make_network((3, 4, 2), 3, "relu", "squared_error", seed=1)
    into = make_network((3, 4, 2), 3, "relu", "squared_error", seed=2)
    expected = [exported(stack if which[k] else into, k) for k in range(3)]
    stack.save(into.parameters, which)
    stack.parameters.zero_()
    for k in range(3):
        for ours, theirs in zip(exported(into, k), expected[k], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(("start", "stop"), [(0, 3), (0, 1), (1, 3)])
def test_parameter_pieces_cover_the_networks_once(start, stop, apart):
    stack = StackedMLP((3, 4, 2), 3, dtype=torch.float64)
    pieces = stack.parameter_pieces(start, stop, apart)
    for is_weight, parameters, gradients in pieces:
        for p, g in zip(parameters, gradients, strict=True):
            assert p.is_contiguous()
            assert g.is_contiguous()
            p.add_(1.0 if is_weight else 2.0)
            g.add_(3.0 if is_weight else 4.0)
    together = not apart and (start, stop) == (0, 3)
    assert len(pieces) == (1 if together else 2)
    inside = torch.zeros(3, dtype=torch.bool)
    inside[start:stop] = True
    for tensors, weight_value, bias_value in [
        ((stack.weights, stack.biases), 1.0, 1.0 if together else 2.0),
        ((stack.weight_gradients, stack.bias_gradients), 3.0, 3.0 if together else 4.0),
    ]:
        for part, value in zip(tensors, (weight_value, bias_value)):
            for tensor in part:
                assert (tensor[inside] == value).all()
                assert (tensor[~inside] == 0).all()


@pytest.mark.parametrize("n_networks", [1, 3])
def test_squared_norms_are_those_of_the_weights(n_networks):
    stack = make_network((3, 4, 2), n_networks, "relu", "squared_error")
    out = stack.squared_norms()
    assert out.shape == (n_networks,)
    for k in range(n_networks):
        expected = sum((weight**2).sum() for weight in stack.export(k)[0])
        assert out[k].item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("n_networks", [1, 3])
@pytest.mark.parametrize("per_network", [False, True])
def test_penalty_is_the_gradient_of_half_the_squared_norms(n_networks, per_network):
    stack = make_network((3, 4, 2), n_networks, "relu", "squared_error")
    decay = np.linspace(0.5, 0.0, n_networks) if per_network else np.full(n_networks, 0.3)
    stack.gradient.copy_(
        torch.from_numpy(np.random.default_rng(3).normal(size=stack.gradient.shape))
    )
    before = stack.gradient.clone()
    stack.add_penalty(torch.from_numpy(decay)[:, None, None] if per_network else 0.3)

    weights = [w.clone().requires_grad_() for w in stack.weights]
    value = sum((w**2).sum((1, 2)) for w in weights) @ torch.from_numpy(decay) / 2
    added = torch.cat([g.flatten() for g in torch.autograd.grad(value, weights)])
    assert added.any()
    assert_close(stack.gradient[: stack.n_weights], before[: stack.n_weights] + added, atol=1e-15)
    assert torch.equal(stack.gradient[stack.n_weights :], before[stack.n_weights :])


# Max-norm


def column_norms(weight):
    return weight.square().sum(1, keepdim=True).sqrt()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bounds", [[1.3], [0.3, torch.inf, 1.2]])
def test_clipped_norms_are_bounded(seed, bounds):
    """A unit above the bound keeps its direction, one below it keeps everything."""
    stack = make_network((5, 6, 4, 2), len(bounds), "relu", "squared_error", seed)
    before = [w.clone() for w in stack.weights]
    biases = [b.clone() for b in stack.biases]
    max_norm = torch.tensor(bounds, dtype=torch.float64)[:, None, None]
    clipped = torch.cat([(column_norms(w) > max_norm).flatten() for w in before[:-1]])
    assert 0 < clipped.sum() < len(clipped)
    stack.clip_norms(max_norm)
    for ours, theirs in zip(stack.weights[:-1], before[:-1]):
        norms = column_norms(theirs)
        above = norms > max_norm
        assert (column_norms(ours) <= max_norm * (1 + 1e-15)).all()
        expected = torch.where(above, theirs * max_norm.clamp(max=1e9) / norms, theirs)
        assert_close(ours, expected, atol=1e-15)
        untouched = (~above).expand_as(theirs)
        assert torch.equal(ours[untouched], theirs[untouched])
    assert torch.equal(stack.weights[-1], before[-1])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(stack.biases, biases))


@pytest.mark.parametrize("bound", [0.5, torch.inf])
def test_clipping_leaves_zero_weights_zero(bound):
    stack = make_network((5, 6, 2), 2, "relu", "squared_error")
    stack.weights[0][0] = 0.0
    stack.weights[0][1, :, 3] = 0.0
    stack.clip_norms(torch.full((2, 1, 1), bound, dtype=torch.float64))
    assert not stack.weights[0][0].any()
    assert not stack.weights[0][1, :, 3].any()
    assert torch.isfinite(stack.parameters).all()
    assert stack.weights[0][1].any()


def test_clipping_a_network_without_hidden_layers_does_nothing():
    stack = make_network((5, 2), 2, "relu", "squared_error")
    before = stack.parameters.clone()
    stack.clip_norms(torch.full((2, 1, 1), 1e-3, dtype=torch.float64))
    assert torch.equal(stack.parameters, before)
