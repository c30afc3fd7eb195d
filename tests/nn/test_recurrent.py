"""Recurrent networks: against PyTorch's layers, against NumPy step by step, and masks' laws.

Everything is in float64. Without dropout the oracle is ``torch.nn.LSTM``, ``GRU`` or ``RNN`` with
the same weights, differentiated by PyTorch; with dropout it is a computation of one sequence, one
step and one direction at a time in NumPy, which shares nothing with the package but the masks'
bits.
"""

import copy
import pickle

import numpy as np
import pytest
import torch
from _families import spread
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from sklearn_dropout.dropout.kinds import DropoutSettings
from sklearn_dropout.dropout.recurrent import PassMasks, mask_sources
from sklearn_dropout.dropout.streams import Streams
from sklearn_dropout.nn.activations import ACTIVATIONS
from sklearn_dropout.nn.initializers import INITIALIZERS, initial_recurrent_parameters
from sklearn_dropout.nn.layers import first_occurrences
from sklearn_dropout.nn.recurrent import layers as recurrent_layers
from sklearn_dropout.nn.recurrent import tape
from sklearn_dropout.nn.recurrent.module import (
    bounded,
    drop_by_pass,
    parameters_of,
    recurrent_network,
)
from sklearn_dropout.nn.recurrent.recurrence import Loop
from sklearn_dropout.nn.recurrent.sequences import Architecture

SEEDS = [0, 1, 2]
CELLS = ["lstm", "gru", "rnn"]
PLAIN = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
N_ROWS, N_STEPS, N_CHANNELS, N_TOKENS = 4, 6, 3, 9
LENGTHS = [6, 3, 1, 5]

cells = pytest.mark.parametrize("cell", CELLS)
depths = pytest.mark.parametrize("depth", [1, 2])
directions = pytest.mark.parametrize("bidirectional", [False, True])
KINDS = ["numbers", "tokens", "padded"]
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(params=["loop", "kernel"])
def way(request, monkeypatch):
    """Both ways through an LSTM."""
    if request.param == "loop":
        monkeypatch.setattr(recurrent_layers.LSTM, "_loops", lambda layer, x: True)
    return request.param


def architecture(cell, depth=1, bidirectional=False, kind="numbers", activation="tanh", n_out=2):
    return Architecture(
        cell=cell,
        hidden=(5, 4)[:depth],
        n_channels=N_CHANNELS,
        n_outputs=n_out,
        bidirectional=bidirectional,
        activation=activation,
        n_tokens=None if kind == "numbers" else N_TOKENS,
        mask_zero=kind == "padded",
    )


def make_parameters(shape, seed=0, dtype=torch.float64):
    """Random weights and biases of order one half."""
    rng = np.random.default_rng(seed)
    return [
        [torch.from_numpy(rng.normal(0, 0.5, each)).to(dtype) for each in shapes]
        for shapes in (shape.weight_shapes, shape.bias_shapes)
    ]


def make_rates(shape, rate=0.0, **others):
    n = len(shape.hidden)
    rates = {"input": [rate], "groups": [rate], "embedding": [rate]}
    return rates | {"hidden": [rate] * n, "recurrent": [rate] * n} | others


def make_module(shape, rates=None, per_step=False, seed=0, n_rows=N_ROWS, dtype=torch.float64):
    """A network in training mode, and the sources of its masks."""
    rates = make_rates(shape) if rates is None else rates
    sources = mask_sources(shape, N_STEPS, n_rows, per_step, Streams(seed), "cpu")
    parameters = make_parameters(shape, dtype=dtype)
    module = recurrent_network(
        shape, *parameters, "identity", DropoutSettings(rates), not per_step, sources
    )
    return module.train(), sources


def make_inputs(kind, seed=0, lengths=LENGTHS, n_steps=N_STEPS):
    """A table of sequences, and their lengths."""
    rng = np.random.default_rng(seed + 100)
    if kind == "numbers":
        x = rng.normal(size=(len(lengths), n_steps * N_CHANNELS))
        return torch.from_numpy(x), [n_steps] * len(lengths)
    x = rng.integers(1, N_TOKENS, size=(len(lengths), n_steps)).astype(float)
    if kind == "tokens":
        x[0, 0] = 0
        return torch.from_numpy(x), [n_steps] * len(lengths)
    for row, length in enumerate(lengths):
        x[row, length:] = 0
    return torch.from_numpy(x), lengths


def gradients_of(module, x, upstream):
    """Gradients of the sum of outputs times `upstream`, in the layout of `coefs_`."""
    module.zero_grad()
    (module(x) * upstream).sum().backward()
    shadow = copy.deepcopy(module)
    with torch.no_grad():
        for ours, trained in zip(shadow.parameters(), module.parameters(), strict=True):
            ours.copy_(torch.zeros_like(trained) if trained.grad is None else trained.grad)
        return [p for part in parameters_of(shadow) for p in part]


def make_upstream(n_rows=N_ROWS, n_out=2):
    return torch.from_numpy(np.random.default_rng(200).normal(size=(n_rows, n_out)))


def assert_close(ours, theirs, atol=1e-10):
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=atol)


# Without dropout: PyTorch's layers


def plain_outputs(shape, weights, biases, x, lengths):
    """Outputs of PyTorch's layers carrying the same weights."""
    embedding, layers, (out_weight, out_bias) = shape.split(weights, biases)
    x = x.unflatten(1, (-1, N_CHANNELS)) if embedding is None else embedding[x.long()]
    x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    for directions in layers:
        parameters = {}
        for suffix, (w_ih, w_hh, bias) in zip(("", "_reverse"), directions):
            b_ih, b_hh = bias.chunk(2) if shape.cell == "gru" else (bias, torch.zeros_like(bias))
            parameters |= {f"weight_ih_l0{suffix}": w_ih, f"weight_hh_l0{suffix}": w_hh}
            parameters |= {f"bias_ih_l0{suffix}": b_ih, f"bias_hh_l0{suffix}": b_hh}
        n_in, n_units = (w.shape[1] for w in directions[0][:2])
        layer = PLAIN[shape.cell](
            n_in, n_units, bidirectional=shape.bidirectional, dtype=torch.float64
        )
        x, last = torch.func.functional_call(layer, parameters, (x,))
    last = last[0] if isinstance(last, tuple) else last
    return last.transpose(0, 1).flatten(1) @ out_weight + out_bias


@spread(cell=CELLS, depth=[1, 2], bidirectional=[False, True], kind=KINDS)
def test_outputs_and_gradient_equal_those_of_pytorch(cell, depth, bidirectional, kind, way):
    """Two steps on batches of other lengths: the second finds what the first left in buffers."""
    shape = architecture(cell, depth, bidirectional, kind)
    module, _ = make_module(shape)
    for seed, lengths in ((0, LENGTHS), (1, [2, 4, 4, 3])):
        x, lengths = make_inputs(kind, seed, lengths)
        weights, biases = make_parameters(shape)
        leaves = [p.requires_grad_() for p in weights + biases]
        expected = plain_outputs(shape, weights, biases, x, lengths)
        gradients = torch.autograd.grad((expected * make_upstream()).sum(), leaves)
        assert_close(module(x), expected)
        for ours, theirs in zip(gradients_of(module, x, make_upstream()), gradients, strict=True):
            assert_close(ours, theirs)
        assert max(g.abs().max() for g in gradients) > 1e-2
        with torch.no_grad():
            assert_close(copy.deepcopy(module).eval()(x), expected)


def check_slope(module, x):
    """Hold the gradient to the slope of the outputs along a random direction."""
    rng = np.random.default_rng(1)
    upstream = make_upstream(len(x))
    parameters = [p for p in module.parameters() if p.requires_grad]
    directions = [torch.from_numpy(rng.normal(size=p.shape)) for p in parameters]
    module.zero_grad()
    (module(x) * upstream).sum().backward()
    slope = sum((p.grad * d).sum() for p, d in zip(parameters, directions)).item()

    @torch.no_grad()
    def value(distance):
        for p, d in zip(parameters, directions):
            p.add_(d, alpha=distance)
        found = (module(x) * upstream).sum().item()
        for p, d in zip(parameters, directions):
            p.sub_(d, alpha=distance)
        return found

    difference = (value(1e-5) - value(-1e-5)) / 2e-5
    assert abs(slope) > 1e-3
    assert slope == pytest.approx(difference, rel=2e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@directions
def test_every_activation_of_a_simple_cell(activation, bidirectional):
    shape = architecture("rnn", 2, bidirectional, "padded", activation)
    rates = make_rates(shape, 0.4)
    module, sources = make_module(shape, rates)
    x, lengths = make_inputs("padded")
    check_slope(module, x)
    found = in_numpy(shape, module, x, lengths, Masks(sources, rates, False))
    np.testing.assert_allclose(module(x).detach(), found, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_float32_is_close_to_float64(activation, rate):
    """In arrays with strides, which some of PyTorch's float32 kernels leave as they are."""
    shape = architecture("rnn", 1, False, "padded", activation)
    x, _ = make_inputs("padded", lengths=[6, 3, 1, 5] * 4)
    found = []
    for dtype in (torch.float64, torch.float32):
        module, _ = make_module(shape, make_rates(shape, rate), n_rows=16, dtype=dtype)
        found.append(gradients_of(module, x, make_upstream(16)))
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs.double(), rtol=1e-3, atol=1e-3)


# With dropout: NumPy, one sequence and one step at a time


class Masks:
    """What single numbers are multiplied by, from the bits of the sources."""

    def __init__(self, sources, rates, per_step):
        self.sources, self.rates, self.per_step = sources, rates, per_step

    def __call__(self, kind, site, step, row, each_step=False):
        rate = self.rates[kind][site]
        if not rate:
            return 1.0
        lanes = self.sources[kind].lanes(site)[row].numpy()
        levels = round(rate * 65536)
        factor = (lanes >= levels - 32768) * (65536 / (65536 - levels))
        return factor.reshape(N_STEPS, -1)[step] if each_step and self.per_step else factor


def logistic(x):
    return 1 / (1 + np.exp(-x))


def numpy_step(cell, x, h, dropped, c, weights, activation):
    """New hidden and cell state of one unit-vector each; `dropped` is h as it enters the gates."""
    w_ih, w_hh, bias = weights
    n = len(h)
    if cell == "rnn":
        z = torch.from_numpy(w_ih @ x + bias + w_hh @ dropped)
        out = torch.empty_like(z)
        ACTIVATIONS[activation].forward(z, out)
        return out.numpy(), c
    if cell == "gru":
        a, b = w_ih @ x + bias[: 3 * n], w_hh @ dropped + bias[3 * n :]
        r, z = logistic(a[:n] + b[:n]), logistic(a[n : 2 * n] + b[n : 2 * n])
        new = np.tanh(a[2 * n :] + r * b[2 * n :])
        return (1 - z) * new + z * h, c
    i, f, g, o = np.split(w_ih @ x + w_hh @ dropped + bias, 4)
    c = logistic(f) * c + logistic(i) * np.tanh(g)
    return logistic(o) * np.tanh(c), c


def in_numpy(shape, module, x, lengths, masks):
    """Outputs of a network with given masks."""
    as_array = [[p.numpy() for p in part] for part in parameters_of(module)]
    embedding, layers, (out_weight, out_bias) = shape.split(*as_array)
    outputs, n_layers = [], len(layers)
    for row, length in enumerate(lengths):
        steps = x[row].numpy()
        if embedding is None:
            sequence = list(steps.reshape(-1, shape.n_channels))
        else:
            tokens = list(steps[:length].astype(int))
            kept = np.broadcast_to(masks("embedding", 0, 0, row), N_STEPS)
            sequence = [embedding[token] * kept[tokens.index(token)] for token in tokens]
        sequence = [
            v * masks("groups", 0, t, row) * masks("input", 0, t, row, True)
            for t, v in enumerate(sequence)
        ]
        for place, weights in enumerate(layers):
            ways = []
            for d, w in enumerate(weights):
                n = shape.hidden[place]
                h, c = np.zeros(n), np.zeros(n)
                states = []
                for t, v in enumerate(sequence[::-1] if d else sequence):
                    m = np.broadcast_to(masks("recurrent", place, t, row, True), n * len(weights))
                    h, c = numpy_step(
                        shape.cell, v, h, h * m[d * n : (d + 1) * n], c, w, shape.activation
                    )
                    states.append(h)
                ways.append(states)
            final = np.concatenate([states[-1] for states in ways])
            aligned = [ways[0]] + [states[::-1] for states in ways[1:]]
            if place < n_layers - 1:
                sequence = [
                    np.concatenate(parts) * masks("hidden", place, t, row, True)
                    for t, parts in enumerate(zip(*aligned))
                ]
        outputs.append(final * masks("hidden", n_layers - 1, 0, row) @ out_weight + out_bias)
    return np.array(outputs)


@spread(cell=CELLS, depth=[1, 2], bidirectional=[False, True], kind=KINDS, per_step=[False, True])
def test_dropped_outputs_equal_numpy(cell, depth, bidirectional, kind, per_step):
    shape = architecture(cell, depth, bidirectional, kind)
    rates = make_rates(shape, 0.4)
    module, sources = make_module(shape, rates, per_step)
    x, lengths = make_inputs(kind)
    for _ in range(2):
        for source in sources.values():
            source.next_step()
        found = in_numpy(shape, module, x, lengths, Masks(sources, rates, per_step))
        np.testing.assert_allclose(module(x).detach(), found, atol=1e-12)
        check_slope(module, x)
    few = x[:2]
    np.testing.assert_allclose(module(few).detach(), found[:2], atol=1e-12)


@pytest.mark.parametrize(
    "site", ["input", "groups", "embedding", "hidden", "recurrent", "one layer", "none"]
)
@cells
def test_each_site_alone(cell, site):
    """Without dropout elsewhere there are no masks; a single layer may drop."""
    shape = architecture(cell, 2, True, "padded")
    rates = make_rates(shape)
    if site == "one layer":
        rates |= {"recurrent": [0.0, 0.6], "hidden": [0.5, 0.0]}
    elif site != "none":
        rates |= {site: [0.5] * len(rates[site])}
    module, sources = make_module(shape, rates, per_step=True)
    x, lengths = make_inputs("padded")
    check_slope(module, x)
    found = in_numpy(shape, module, x, lengths, Masks(sources, rates, True))
    np.testing.assert_allclose(module(x).detach(), found, atol=1e-12)
    z = module(x)
    assert (site == "none") == bool((z - module.eval()(x)).abs().max() < 1e-12)


# The loop


@cells
@pytest.mark.parametrize("size", [1, 200])
def test_gradient_does_not_depend_on_how_steps_are_cut(cell, size, monkeypatch):
    shape = architecture(cell, 2, True, "padded")
    x, _ = make_inputs("padded")
    gradients = []
    for values in (size, 1 << 17):
        monkeypatch.setattr(tape, "_CHUNK_VALUES", values)
        module, _ = make_module(shape, make_rates(shape, 0.4))
        gradients.append(gradients_of(module, x, make_upstream()))
    for one, other in zip(*gradients):
        assert torch.equal(one, other)


@cells
def test_a_step_repeats_itself_and_changes_no_inputs(cell):
    shape = architecture(cell, 2, True, "padded")
    module, sources = make_module(shape, make_rates(shape, 0.4))
    x, _ = make_inputs("padded")
    before, found = x.clone(), []
    for n in (N_ROWS, 2, N_ROWS):
        found.append(gradients_of(module, x[:n], make_upstream(n)))
    assert all(torch.equal(one, other) for one, other in zip(found[0], found[2]))
    sources["recurrent"].next_step()
    other = gradients_of(module, x, make_upstream())
    assert not torch.equal(found[0][1], other[1])
    assert torch.equal(x, before)


@cells
def test_two_passes_before_a_gradient_do_not_disturb_each_other(cell):
    shape = architecture(cell, 2, True, "padded")
    module, _ = make_module(shape, make_rates(shape, 0.4))
    (one, _), (other, _) = make_inputs("padded"), make_inputs("padded", 1, [2, 4, 4, 3])
    expected = [gradients_of(module, x, make_upstream()) for x in (one, other)]
    module.zero_grad()
    first, second = module(one), module(other)
    values = first.detach().clone(), second.detach().clone()
    ((first + second) * make_upstream()).sum().backward()
    total = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    assert total.abs().sum() > 0
    weight = module.output.weight.grad.t()
    n = len(shape.weight_shapes) - 1
    assert_close(weight, expected[0][n] + expected[1][n])
    assert_close(module.recurrent.embedding.weight.grad, expected[0][0] + expected[1][0])
    for z, value in zip((first, second), values):
        assert torch.equal(z, value)


def test_a_second_gradient_of_one_pass_is_refused():
    module, _ = make_module(architecture("gru"))
    x, _ = make_inputs("numbers")
    value = module(x).sum()
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once after each forward pass"):
        value.backward()


def test_frozen_weights_have_no_gradient():
    module, _ = make_module(architecture("gru", 2))
    layer = module.recurrent.layers.recurrent_1
    layer.weight_hh_l0.requires_grad_(False)
    module(make_inputs("numbers")[0]).sum().backward()
    assert layer.weight_hh_l0.grad is None
    assert layer.weight_ih_l0.grad.abs().sum() > 0


@cells
@pytest.mark.parametrize("per_step", [False, True])
def test_recurrent_connections_are_dropped_without_sources_too(cell, per_step):
    shape = architecture(cell, 1, True)
    rates = make_rates(shape, recurrent=[0.5])
    module = recurrent_network(
        shape, *make_parameters(shape), "identity", DropoutSettings(rates), not per_step
    )
    x, _ = make_inputs("numbers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert torch.equal(module(x), module(x))
        module.train()
        assert not torch.allclose(module(x), module(x))
        module.recurrent.layers.recurrent_1.recurrent_dropout.p = 0
        assert_close(module(x), module.eval()(x))


@cells
def test_copies_leave_sources_and_memory_behind(cell):
    shape = architecture(cell, 1, True, "padded")
    module, _ = make_module(shape, make_rates(shape, 0.4))
    x, _ = make_inputs("padded")
    module(x).sum().backward()
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        layer = twin.recurrent.layers.recurrent_1
        assert isinstance(layer._loop, Loop)
        assert layer._loop._tapes == {}
        assert layer.recurrent_dropout.source is None
        assert torch.equal(twin.eval()(x), module.eval()(x))
        module.train()
    assert not any("source" in name for name in module.state_dict())


def test_loaded_and_replaced_parameters_act():
    shape = architecture("lstm")
    module, _ = make_module(shape)
    x, _ = make_inputs("numbers")
    other = recurrent_network(
        shape, *make_parameters(shape, 1), "identity", DropoutSettings(make_rates(shape)), True
    )
    module.load_state_dict(other.state_dict(), assign=True)
    for twin in (module.train(), module.eval()):
        assert_close(twin(x).detach(), other(x).detach())
    for ours, theirs in zip(parameters_of(module), make_parameters(shape, 1)):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))


@cells
@directions
@pytest.mark.parametrize("dropped", [False, True])
def test_more_padding_changes_nothing(cell, bidirectional, dropped):
    shape = architecture(cell, 2, bidirectional, "padded")
    rates = make_rates(shape, 0.4 if dropped else 0.0)
    module, _ = make_module(shape, rates)
    x, lengths = make_inputs("padded")
    more = torch.cat([x, torch.zeros(N_ROWS, 5, dtype=x.dtype)], 1)
    assert torch.equal(module(x), module(more))
    before = torch.cat([torch.zeros(N_ROWS, 2, dtype=x.dtype), x], 1)
    assert torch.equal(module(x), module(before))
    if not dropped:
        for row, length in enumerate(lengths):
            assert_close(module(x[row : row + 1, :length]), module(x)[row : row + 1])


def test_padding_has_no_gradient():
    shape = architecture("lstm", 2, True, "padded")
    rates = make_rates(shape, hidden=[0.4, 0.4], recurrent=[0.4, 0.4])
    module, _ = make_module(shape, rates)
    x, _ = make_inputs("padded")
    gradient = gradients_of(module, x, make_upstream())[0]
    assert not gradient[0].any()
    present = sorted(set(x.long().flatten().tolist()) - {0})
    assert gradient[present].abs().sum(1).gt(0).all()


# Masks


def recurrent_factors(module, layer, n_rows=200):
    """Factors of all steps, (n_steps, n_directions, n_rows, n_units)."""
    layer = module.recurrent.layers.get_submodule(f"recurrent_{layer + 1}")
    return torch.stack(layer._recurrent_masks(torch.zeros(n_rows, N_STEPS, 1).double()))


@directions
@pytest.mark.parametrize("seed", SEEDS)
def test_a_variational_mask_serves_all_steps_and_one_sequence(bidirectional, seed):
    shape = architecture("lstm", 2, bidirectional, "padded")
    module, _ = make_module(shape, make_rates(shape, 0.4), seed=seed, n_rows=200)
    for layer in range(2):
        steps = recurrent_factors(module, layer)
        assert (steps == steps[0]).all()
        rows = steps[0].transpose(0, 1).flatten(1)
        assert len(rows.unique(dim=0)) > 10
    first, second = (recurrent_factors(module, layer)[0, 0, :, :4] for layer in range(2))
    assert 0.3 < (first == second).double().mean() < 0.7
    if bidirectional:
        one, other = recurrent_factors(module, 0)[0]
        assert 0.3 < (one == other).double().mean() < 0.7


@directions
@pytest.mark.parametrize("seed", SEEDS)
def test_fresh_masks_differ_between_steps(bidirectional, seed):
    shape = architecture("gru", 2, bidirectional, "padded")
    rates = make_rates(shape, 0.4)
    module, _ = make_module(shape, rates, per_step=True, seed=seed, n_rows=200)
    layers = module.recurrent.layers
    found = [recurrent_factors(module, layer) for layer in range(2)]
    for layer, width in ((layers.input_dropout, N_CHANNELS), (layers.dropout_1, shape.widths[1])):
        found.append(layer(torch.ones(200, N_STEPS, width)).transpose(0, 1))
    for factor in found:
        same = (factor[1:] == factor[:-1]).double().mean()
        assert abs(same - (0.4**2 + 0.6**2)) < 0.06


def test_first_occurrences_by_hand():
    tokens = torch.tensor([[3, 5, 3, 0, 5, 3], [1, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5]])
    expected = [[0, 1, 0, 3, 1, 0], [0] * 6, [0, 1, 2, 3, 4, 5]]
    assert first_occurrences(tokens).tolist() == expected


@pytest.mark.parametrize("per_step", [False, True])
def test_passes_grow_with_the_sequences(per_step):
    """Each is one thinned network, for any number of passes and any batch."""
    shape = architecture("lstm", 2, True, "padded")
    rates = make_rates(shape, 0.4)

    def make(n_samples=7):
        return PassMasks(rates, shape, n_samples, per_step, Streams(0))

    def outputs(masks, x, passes):
        sources = masks.sources(x.shape[1])
        parameters = make_parameters(shape)
        module = recurrent_network(
            shape, *parameters, "identity", DropoutSettings(rates), not per_step, sources
        )
        drop_by_pass(module)
        for source in sources.values():
            source.passes = torch.tensor(passes).repeat_interleave(len(x))
        return module(x.repeat(len(passes), 1)).detach().view(len(passes), len(x), -1)

    x, _ = make_inputs("padded")
    short, long = make(), make()
    outputs(short, x[2:3, :1], [0])
    expected = outputs(long, x, range(7))
    assert_close(outputs(short, x, range(7)), expected)
    assert_close(outputs(make(), x, [3, 5]), expected[[3, 5]])
    assert_close(outputs(make(), x[1:2], [4]), expected[4:5, 1:2])
    assert not torch.allclose(expected[0], expected[1])


# Parameters


@spread(weight_init=INITIALIZERS, cell=CELLS)
def test_initial_weights(cell, weight_init):
    shape = Architecture(cell, (24, 16), 8, 3, bidirectional=True, n_tokens=500)
    rng = np.random.default_rng(0)
    weights, biases = initial_recurrent_parameters(shape, weight_init, rng)
    assert [w.shape for w in weights] == shape.weight_shapes
    assert [b.shape for b in biases] == shape.bias_shapes
    embedding, layers, (_, out_bias) = shape.split(weights, biases)
    assert 0.045 < np.abs(embedding).max() <= 0.05
    assert not out_bias.any()
    for layer in layers:
        for w_ih, w_hh, bias in layer:
            n = w_hh.shape[1]
            np.testing.assert_allclose(w_hh.T @ w_hh, np.eye(n), atol=1e-12)
            n_in, n_out = w_ih.shape[::-1]
            spread = {
                "glorot_uniform": (2 / (n_in + n_out)) ** 0.5,
                "glorot_normal": (2 / (n_in + n_out)) ** 0.5,
                "he_uniform": (2 / n_in) ** 0.5,
                "he_normal": (2 / n_in) ** 0.5,
                "lecun_uniform": (1 / n_in) ** 0.5,
                "lecun_normal": (1 / n_in) ** 0.5,
                "normal": 0.05,
                "uniform": 0.05 / 3**0.5,
            }[weight_init]
            assert w_ih.std() == pytest.approx(spread, rel=0.2)
            expected = np.zeros_like(bias)
            if cell == "lstm":
                expected[n : 2 * n] = 1
            np.testing.assert_array_equal(bias, expected)


def test_rows_of_kernels_are_bounded_alone():
    shape = architecture("lstm", 2, True, "padded")
    module, _ = make_module(shape)
    weights, _ = make_parameters(shape)
    for (ours, axes), theirs in zip(bounded(module), weights[1:-1], strict=True):
        assert torch.equal(ours, theirs)
        assert axes == (1,)


@cells
def test_parameters_are_the_memory_that_is_given(cell):
    shape = architecture(cell, 2, True, "padded")
    weights, biases = make_parameters(shape)
    module = recurrent_network(
        shape, weights, biases, "identity", DropoutSettings(make_rates(shape)), True
    )
    for ours, theirs in zip(parameters_of(module)[0], weights, strict=True):
        assert ours.data_ptr() == theirs.data_ptr()
    biases[0].fill_(3.0)
    assert (parameters_of(module)[1][0] == 3.0).all()
    n_free = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert n_free == sum(p.numel() for p in weights + biases)
