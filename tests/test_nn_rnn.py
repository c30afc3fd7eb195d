"""Recurrent networks: against PyTorch's layers, against NumPy step by step, and masks' laws.

Everything is in float64. Without dropout the oracle is ``torch.nn.LSTM``, ``GRU`` or ``RNN`` with
the same weights, differentiated by PyTorch; with dropout it is a computation of one sequence, one
step and one direction at a time in NumPy, which shares nothing with the package but the masks.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from sklearn_dropout.nn import _rnn, _tape
from sklearn_dropout.nn._activations import ACTIVATIONS
from sklearn_dropout.nn._initializers import INITIALIZERS, initial_recurrent_parameters
from sklearn_dropout.nn._losses import LOSSES
from sklearn_dropout.nn._masks import MaskSource
from sklearn_dropout.nn._rnn import Recurrent, StackedRNN
from sklearn_dropout.nn._rnn_dropout import (
    PassMasks,
    RNNDropout,
    SequenceMasks,
    first_occurrences,
)
from sklearn_dropout.nn._sequences import Architecture

SEEDS = [0, 1, 2]
CELLS = ["lstm", "gru", "rnn"]
PLAIN = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
N_ROWS, N_STEPS, N_CHANNELS, N_TOKENS = 4, 6, 3, 9
LENGTHS = [6, 3, 1, 5]

cells = pytest.mark.parametrize("cell", CELLS)
depths = pytest.mark.parametrize("depth", [1, 2])
directions = pytest.mark.parametrize("bidirectional", [False, True])
kinds = pytest.mark.parametrize("kind", ["numbers", "tokens", "padded"])


@pytest.fixture(params=["loop", "fused"])
def way(request, monkeypatch):
    """Both ways through an LSTM, however short the sequences are."""
    monkeypatch.setattr(_rnn, "_MANY_STEPS", 1 if request.param == "fused" else 1000)
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


def make_network(shape, drops=False, seed=0, loss="squared_error", n_steps=N_STEPS):
    """A network with random weights of order one half."""
    drops = [drops] * len(shape.hidden)
    network = StackedRNN(shape, drops, n_steps, loss=loss, dtype=torch.float64)
    rng = np.random.default_rng(seed)
    network.parameters.copy_(torch.from_numpy(rng.normal(0, 0.5, network.parameters.numel())))
    return network


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


def make_targets(n_out=2, seed=0, n_rows=N_ROWS):
    rng = np.random.default_rng(seed + 200)
    weight = rng.uniform(0.1, 1, (1, n_rows, 1))
    return (
        torch.from_numpy(rng.normal(size=(1, n_rows, n_out))),
        torch.from_numpy(weight / weight.sum()),
    )


def no_masks(shape):
    nothing, ones = [None] * len(shape.hidden), [1.0] * len(shape.hidden)
    sites = {"input": None, "spatial": None, "embedding": None}
    scales = dict.fromkeys(sites, 1.0)
    return SequenceMasks(
        sites | {"output": nothing, "recurrent": nothing},
        scales | {"output": ones, "recurrent": ones},
        shape.n_directions,
        torch.float64,
    )


def bit_source(rates, widths, seed, n_rows=N_ROWS):
    bits = np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(len(widths), sum(widths))))
    one = torch.zeros(1, dtype=torch.int64)
    return MaskSource(np.reshape(rates, (1, -1)), widths, n_rows, [bits], one)


def make_dropout(shape, per_step, seed=0, n_steps=N_STEPS, n_rows=N_ROWS, **rates):
    """Dropout with the given rates, all of them 0.4 by default."""
    n_layers = len(shape.hidden)
    times = n_steps if per_step else 1
    outputs = shape.widths[1:]
    widths = {
        "input": [times * shape.n_channels],
        "spatial": [shape.n_channels],
        "embedding": [n_steps],
        "output": [*(times * n for n in outputs[:-1]), outputs[-1]],
        "recurrent": [times * n for n in outputs],
    }
    rate = {kind: rates.get(kind, 0.4) for kind in widths}
    sources = {
        kind: bit_source(
            np.broadcast_to(rate[kind], n_layers if kind in ("output", "recurrent") else 1),
            w,
            [seed, place],
            n_rows,
        )
        for place, (kind, w) in enumerate(widths.items())
    }
    return RNNDropout(sources, n_steps, per_step, shape.n_directions, torch.float64)


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


@cells
@depths
@directions
@kinds
def test_outputs_and_gradient_equal_those_of_pytorch(cell, depth, bidirectional, kind, way):
    """Two steps on batches of other lengths: the second finds what the first left in buffers."""
    shape = architecture(cell, depth, bidirectional, kind)
    network = make_network(shape)
    assert network.uses_autograd == (way == "fused" and cell == "lstm")
    for seed, lengths in ((0, LENGTHS), (1, [2, 4, 4, 3])):
        x, lengths = make_inputs(kind, seed, lengths)
        y, weight = make_targets(seed=seed)
        z = torch.full_like(y, torch.nan)
        network.gradient.fill_(torch.nan)
        with torch.no_grad():
            network.step(x[None], y, weight, no_masks(shape), z)
        leaves = [p[0].clone().requires_grad_() for p in network.weights + network.biases]
        n = len(network.weights)
        expected = plain_outputs(shape, leaves[:n], leaves[n:], x, lengths)
        value = (0.5 * (expected - y[0]).square() * weight[0]).sum()
        assert_close(z[0], expected.detach())
        assert_close(network.forward(x[None])[0], expected.detach())
        gradients = torch.autograd.grad(value, leaves)
        for ours, theirs in zip(network.weight_gradients + network.bias_gradients, gradients):
            assert_close(ours[0], theirs)
        assert max(g.abs().max() for g in gradients) > 1e-2


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_every_loss_equals_finite_differences(loss):
    shape = architecture("gru", kind="padded", n_out=3)
    network = make_network(shape, drops=True, loss=loss)
    x, _ = make_inputs("padded")
    y, weight = make_targets(3)
    if "log" in loss or loss == "poisson":
        y = torch.nn.functional.one_hot(y.argmax(-1), 3).double()
    check_slope(network, x, y, weight, make_dropout(shape, False).draw(1)[0])


def check_slope(network, x, y, weight, masks):
    """Hold the gradient to the slope of the loss along a random direction."""
    start, z = network.parameters.clone(), torch.empty_like(y)
    direction = torch.from_numpy(np.random.default_rng(1).normal(size=start.shape))

    def value(distance):
        network.parameters.copy_(start + distance * direction)
        network.step(x[None], y, weight, masks, z)
        return (network.loss.rows(z, y) * weight[..., 0]).sum().item()

    value(0.0)
    slope = (network.gradient @ direction).item()
    difference = (value(1e-5) - value(-1e-5)) / 2e-5
    network.parameters.copy_(start)
    assert abs(slope) > 1e-3
    assert slope == pytest.approx(difference, rel=2e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@directions
def test_every_activation_of_a_simple_cell(activation, bidirectional):
    shape = architecture("rnn", 2, bidirectional, "padded", activation)
    network = make_network(shape, drops=True)
    x, lengths = make_inputs("padded")
    y, weight = make_targets()
    masks = make_dropout(shape, False).draw(1)[0]
    check_slope(network, x, y, weight, masks)
    z = torch.empty_like(y)
    network.step(x[None], y, weight, masks, z)
    np.testing.assert_allclose(z[0], in_numpy(network, x, lengths, masks), atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("drops", [False, True])
def test_float32_is_close_to_float64(activation, drops):
    """In arrays with strides, which some of PyTorch's float32 kernels leave as they are."""
    shape = architecture("rnn", 1, False, "padded", activation)
    double = make_network(shape, drops)
    single = StackedRNN(shape, [drops], N_STEPS)
    single.parameters.copy_(double.parameters)
    x, _ = make_inputs("padded", lengths=[6, 3, 1, 5] * 4)
    y, weight = make_targets(n_rows=16)
    found = []
    for network in (double, single):
        dtype = network.parameters.dtype
        masks = draw(shape, False, n_rows=16, recurrent=0.4 if drops else 0.0)[0]
        masks = replace(masks, dtype=dtype)
        z = torch.empty_like(y, dtype=dtype)
        network.step(x[None].to(dtype), y.to(dtype), weight.to(dtype), masks, z)
        found.append((z.double(), network.gradient.double()))
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


# With dropout: NumPy, one sequence and one step at a time


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


def in_numpy(network, x, lengths, masks):
    """Outputs of a network with given masks."""
    shape = network.architecture
    as_array = [[p[0].numpy() for p in part] for part in (network.weights, network.biases)]
    embedding, layers, (out_weight, out_bias) = shape.split(*as_array)
    n_steps = max(lengths)
    outputs = []
    for row, length in enumerate(lengths):
        steps = x[row].numpy()
        if embedding is None:
            sequence = list(steps.reshape(-1, shape.n_channels))
        else:
            tokens = steps[:length].astype(int)
            sequence = [embedding[token] for token in tokens]
            if masks.sites["embedding"] is not None:
                kept = masks.sites["embedding"][0, row].numpy()
                first = [list(tokens).index(token) for token in tokens]
                scale = masks.scales["embedding"]
                sequence = [v * kept[t] * scale for v, t in zip(sequence, first)]
        sequence = [v * at(masks.input(n_steps), t, row) for t, v in enumerate(sequence)]
        for place, weights in enumerate(layers):
            recurrent = masks.recurrent(place, n_steps)
            ways = []
            for d, w in enumerate(weights):
                order = sequence[::-1] if d else sequence
                h = c = np.zeros(shape.hidden[place])
                states = []
                for t, v in enumerate(order):
                    m = 1.0 if recurrent is None else recurrent[t][d, row].numpy()
                    h, c = numpy_step(shape.cell, v, h, h * m, c, w, shape.activation)
                    states.append(h)
                ways.append(states)
            final = np.concatenate([states[-1] for states in ways])
            aligned = [ways[0]] + [states[::-1] for states in ways[1:]]
            sequence = [np.concatenate(parts) for parts in zip(*aligned)]
            output = masks.output(place, n_steps)
            sequence = [v * at(output, t, row) for t, v in enumerate(sequence)]
        outputs.append(final * at(output, 0, row) @ out_weight + out_bias)
    return np.array(outputs)


def at(factor, step, row):
    if factor is None:
        return 1.0
    return factor[min(step, len(factor) - 1), row].numpy()


@cells
@depths
@directions
@kinds
@pytest.mark.parametrize("per_step", [False, True])
def test_dropped_outputs_equal_numpy(cell, depth, bidirectional, kind, per_step):
    shape = architecture(cell, depth, bidirectional, kind)
    network = make_network(shape, drops=True)
    x, lengths = make_inputs(kind)
    y, weight = make_targets()
    rates = {} if kind != "numbers" else {"embedding": 0.0}
    for masks in make_dropout(shape, per_step, **rates).draw(2):
        z = torch.full_like(y, torch.nan)
        network.step(x[None], y, weight, masks, z)
        np.testing.assert_allclose(z[0], in_numpy(network, x, lengths, masks), atol=1e-12)
        check_slope(network, x, y, weight, masks)


@pytest.mark.parametrize(
    "site", ["input", "spatial", "embedding", "output", "recurrent", "one layer", "none"]
)
@cells
def test_each_site_alone(cell, site):
    """Where others drop nothing there is no mask at all; a layer may drop alone."""
    shape = architecture(cell, 2, True, "padded")
    rates = dict.fromkeys(["input", "spatial", "embedding", "output", "recurrent"], 0.0)
    if site == "one layer":
        rates |= {"recurrent": [0.0, 0.6], "output": [0.5, 0.0]}
    elif site != "none":
        rates[site] = 0.5
    network = StackedRNN(shape, [site == "recurrent", "r" in site], N_STEPS, dtype=torch.float64)
    network.parameters.copy_(make_network(shape).parameters)
    x, lengths = make_inputs("padded")
    y, weight = make_targets()
    masks = make_dropout(shape, True, **rates).draw(1)[0]
    check_slope(network, x, y, weight, masks)
    z = torch.empty_like(y)
    network.step(x[None], y, weight, masks, z)
    np.testing.assert_allclose(z[0], in_numpy(network, x, lengths, masks), atol=1e-12)
    assert (site == "none") == bool((z - network.forward(x[None])).abs().max() < 1e-12)


@cells
@pytest.mark.parametrize("size", [1, 200])
def test_gradient_does_not_depend_on_how_steps_are_cut(cell, size, monkeypatch):
    shape = architecture(cell, 2, True, "padded")
    x, _ = make_inputs("padded")
    y, weight = make_targets()
    gradients = []
    for values in (size, 1 << 17):
        monkeypatch.setattr(_tape, "_CHUNK_VALUES", values)
        network = make_network(shape, drops=True)
        masks = make_dropout(shape, False).draw(1)[0]
        network.step(x[None], y, weight, masks, torch.empty_like(y))
        gradients.append(network.gradient.clone())
    assert torch.equal(*gradients)


@cells
def test_a_step_repeats_itself_and_changes_no_inputs(cell):
    shape = architecture(cell, 2, True, "padded")
    network = make_network(shape, drops=True)
    x, _ = make_inputs("padded")
    y, weight = make_targets()
    first, other = make_dropout(shape, False).draw(2)
    inputs = [x, y, weight, network.parameters]
    before, gradients = [t.clone() for t in inputs], []
    for masks in (first, other, first.first(2), first):
        n = 2 if masks.rows is not None else N_ROWS
        network.step(x[None, :n], y[:, :n], weight[:, :n], masks, torch.empty_like(y[:, :n]))
        gradients.append(network.gradient.clone())
    assert torch.equal(gradients[0], gradients[3])
    assert not torch.equal(gradients[0], gradients[1])
    for tensor, copy in zip(inputs, before):
        assert torch.equal(tensor, copy)


@cells
@directions
@pytest.mark.parametrize("dropped", [False, True])
def test_more_padding_changes_nothing(cell, bidirectional, dropped):
    shape = architecture(cell, 2, bidirectional, "padded")
    network = make_network(shape)
    x, lengths = make_inputs("padded")
    more = torch.cat([x, torch.zeros(N_ROWS, 5, dtype=x.dtype)], 1)
    arguments = [p[0] for p in network.weights], [p[0] for p in network.biases]
    masks = make_dropout(shape, False).draw(1)[0] if dropped else None
    run = Recurrent(shape, [dropped, dropped]).forward
    assert torch.equal(run(x, *arguments, masks), run(more, *arguments, masks))
    if not dropped:
        for row, length in enumerate(lengths):
            alone = run(x[row : row + 1, :length], *arguments)
            assert_close(alone, run(x, *arguments)[row : row + 1])


def test_padding_has_no_gradient():
    shape = architecture("lstm", 2, True, "padded")
    network = make_network(shape, drops=True)
    x, _ = make_inputs("padded")
    y, weight = make_targets()
    masks = make_dropout(shape, False, embedding=0.0, input=0.0, spatial=0.0).draw(1)[0]
    network.step(x[None], y, weight, masks, torch.empty_like(y))
    gradient = network.weight_gradients[0][0]
    assert not gradient[0].any()
    present = sorted(set(x.long().flatten().tolist()) - {0})
    assert gradient[present].abs().sum(1).gt(0).all()


# Masks


def draw(shape, per_step, n=1, seed=0, n_rows=200, **rates):
    return make_dropout(shape, per_step, seed, n_rows=n_rows, **rates).draw(n)


@directions
@pytest.mark.parametrize("seed", SEEDS)
def test_a_variational_mask_serves_all_steps_and_one_sequence(bidirectional, seed):
    shape = architecture("lstm", 2, bidirectional, "padded")
    (masks,) = draw(shape, False, seed=seed)
    assert masks.input(N_STEPS).shape == (1, 200, N_CHANNELS)
    assert masks.output(0, N_STEPS).shape == (1, 200, shape.widths[1])
    for layer in range(2):
        steps = masks.recurrent(layer, N_STEPS)
        assert len(steps) == N_STEPS
        assert all(torch.equal(step, steps[0]) for step in steps)
        assert steps[0].shape == (shape.n_directions, 200, shape.hidden[layer])
        rows = steps[0].transpose(0, 1).flatten(1)
        assert len(rows.unique(dim=0)) > 10
    first, second = (masks.recurrent(layer, 1)[0][0, :, :4] for layer in range(2))
    assert 0.3 < (first == second).double().mean() < 0.7
    if bidirectional:
        one, other = masks.recurrent(0, 1)[0]
        assert 0.3 < (one == other).double().mean() < 0.7


@directions
@pytest.mark.parametrize("seed", SEEDS)
def test_fresh_masks_differ_between_steps(bidirectional, seed):
    shape = architecture("gru", 2, bidirectional, "padded")
    (masks,) = draw(shape, True, seed=seed, spatial=0.0)
    found = [masks.input(N_STEPS), masks.output(0, N_STEPS)]
    found += [torch.stack(masks.recurrent(layer, N_STEPS)) for layer in range(2)]
    for factor in found:
        assert len(factor) == N_STEPS
        same = (factor[1:] == factor[:-1]).double().mean()
        assert abs(same - (0.4**2 + 0.6**2)) < 0.06
    assert len(masks.output(1, N_STEPS)) == 1  # only the last state is used


@pytest.mark.parametrize("per_step", [False, True])
def test_channels_are_dropped_for_all_steps(per_step):
    shape = architecture("lstm")
    (masks,) = draw(shape, per_step, input=0.0, spatial=0.5)
    factor = masks.input(N_STEPS)
    assert factor.shape == (1, 200, N_CHANNELS)
    assert factor.unique().tolist() == [0.0, 2.0]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_kept_units_are_scaled_so_that_the_mean_stays(rate, per_step, seed):
    shape = architecture("lstm", 2, True, "padded")
    rates = dict.fromkeys(["input", "spatial", "embedding", "output", "recurrent"], rate)
    (masks,) = draw(shape, per_step, seed=seed, n_rows=4000, **(rates | {"spatial": 0.0}))
    factors = [masks.input(N_STEPS), masks.output(0, N_STEPS), masks.output(1, N_STEPS)]
    factors += [masks.recurrent(layer, N_STEPS)[0] for layer in range(2)]
    factors.append(masks.tokens(torch.arange(N_STEPS)[:, None].expand(-1, 4000)))
    kept = 65536 / (65536 - round(rate * 65536))
    for factor in factors:
        assert factor.unique().tolist() == [0.0, kept]
        error = (rate / (1 - rate) / factor.numel()) ** 0.5
        assert abs(factor.mean() - 1) < 5 * error


@pytest.mark.parametrize("seed", SEEDS)
def test_a_token_is_dropped_wherever_it_occurs(seed):
    shape = architecture("lstm", kind="padded")
    (masks,) = draw(shape, False, seed=seed)
    tokens = torch.from_numpy(np.random.default_rng(seed).integers(0, 3, (N_STEPS, 200)))
    factor = masks.tokens(tokens)[..., 0]
    kept = torch.full((3, 200), torch.nan, dtype=factor.dtype)
    for token in range(3):
        for row in range(200):
            values = factor[tokens[:, row] == token, row]
            assert len(values.unique()) <= 1
            if len(values):
                kept[token, row] = values[0]
    both = kept.isfinite().all(0)
    same = (kept[0] == kept[1])[both].double().mean()
    assert abs(same - (0.4**2 + 0.6**2)) < 5 * (0.25 / both.sum()) ** 0.5


def test_first_occurrences_by_hand():
    tokens = torch.tensor([[3, 5, 3, 0, 5, 3], [1, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5]])
    expected = [[0, 1, 0, 3, 1, 0], [0] * 6, [0, 1, 2, 3, 4, 5]]
    assert first_occurrences(tokens.T).T.tolist() == expected


@pytest.mark.parametrize("per_step", [False, True])
def test_masks_do_not_depend_on_how_many_are_drawn_at_once(per_step):
    shape = architecture("lstm", 2, True, "padded")
    together = draw(shape, per_step, 5, n_rows=3)
    dropout = make_dropout(shape, per_step, n_rows=3)
    apart = [*dropout.draw(2), *dropout.draw(1), *dropout.draw(2)]
    for one, other in zip(together, apart, strict=True):
        assert torch.equal(one.input(N_STEPS), other.input(N_STEPS))
        for layer in range(2):
            assert torch.equal(one.output(layer, N_STEPS), other.output(layer, N_STEPS))
            pairs = zip(one.recurrent(layer, N_STEPS), other.recurrent(layer, N_STEPS))
            assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(together[0].input(N_STEPS), together[1].input(N_STEPS))


def test_the_first_rows_keep_their_masks():
    shape = architecture("lstm", 2, True, "padded")
    (masks,) = draw(shape, True, n_rows=8)
    few = masks.first(3)
    assert torch.equal(few.input(4), masks.input(4)[:, :3])
    assert torch.equal(few.output(0, 4), masks.output(0, 4)[:, :3])
    assert torch.equal(few.recurrent(1, 4)[2], masks.recurrent(1, 4)[2][:, :3])
    tokens = torch.randint(0, 5, (4, 8), generator=torch.Generator().manual_seed(0))
    assert torch.equal(few.tokens(tokens[:, :3]), masks.tokens(tokens)[:, :3])


def test_masks_of_passes_grow_with_the_sequences():
    shape = architecture("lstm", 1, False, "padded")

    def source(rate, widths, use):
        bits = [np.random.SFC64([use, each]) for each in range(7)]
        return MaskSource(np.tile(rate, (7, 1)), widths, 1, bits, torch.arange(7))

    def make():
        once = {"spatial": ([0.3], [3]), "embedding": ([0.3], [N_TOKENS]), "last": ([0.3], [5])}
        each = {"input": ([0.3], [3]), "output": ([], []), "recurrent": ([0.3], [5])}
        parts = (
            {kind: source(*v, use) for use, (kind, v) in enumerate(p.items())} for p in (once, each)
        )
        return PassMasks(7, *parts, shape.n_directions)

    short, long = make(), make()
    short.reach(2)
    short.reach(6)
    long.reach(6)
    one, other = (m.of(range(2, 5), 3, torch.float64) for m in (short, long))
    assert torch.equal(one.input(6), other.input(6))
    assert one.input(6).shape == (6, 9, 3)
    by_pass = one.input(6).unflatten(1, (3, 3))
    assert torch.equal(by_pass[:, :, :1].expand(-1, -1, 3, -1), by_pass)
    tokens = torch.arange(6)[:, None].expand(-1, 9)
    assert torch.equal(one.tokens(tokens), other.tokens(tokens))
    assert not torch.equal(*one.input(6)[:2])


# Initial weights


@cells
@pytest.mark.parametrize("weight_init", INITIALIZERS)
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
                "normal": 0.05,
                "uniform": 0.05 / 3**0.5,
            }[weight_init]
            assert w_ih.std() == pytest.approx(spread, rel=0.2)
            expected = np.zeros_like(bias)
            if cell == "lstm":
                expected[n : 2 * n] = 1
            np.testing.assert_array_equal(bias, expected)


def test_max_norm_bounds_rows_of_kernels_alone():
    shape = architecture("lstm", 2, True, "padded")
    network = make_network(shape)
    network.parameters.mul_(4)
    before = [w.clone() for w in network.weights]
    network.clip_norms(torch.tensor([1.5], dtype=torch.float64))
    assert torch.equal(network.weights[0], before[0])
    assert torch.equal(network.weights[-1], before[-1])
    for ours, old in zip(network.weights[1:-1], before[1:-1]):
        norms, olds = ours.norm(dim=2), old.norm(dim=2)
        assert (norms <= 1.5 + 1e-12).all()
        assert (olds > 1.5).any()
        assert_close(ours, old * (1.5 / olds).clamp(max=1).unsqueeze(-1))
