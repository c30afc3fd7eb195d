"""A perceptron as plain PyTorch layers."""

import io
from functools import partial
from itertools import pairwise
from math import prod

import numpy as np
import pytest
import torch
from _families import spread
from torch import nn

from sklearn_dropout.dropout.kinds import DropoutSettings
from sklearn_dropout.nn import FeatureGroupDropout
from sklearn_dropout.nn.activations import ACTIVATIONS
from sklearn_dropout.nn.conv_layout import ConvLayout
from sklearn_dropout.nn.losses import LOSSES, OUT_ACTIVATIONS
from sklearn_dropout.nn.mlp import forward
from sklearn_dropout.nn.module import convolutional, linear, perceptron
from sklearn_dropout.nn.recurrent.module import recurrent_network
from sklearn_dropout.nn.recurrent.sequences import Architecture

SIZES = (4, 6, 5, 3)
NONE = {"input": [0.0], "groups": [0.0], "hidden": [0.0, 0.0]}


def parameters(seed=0, sizes=SIZES, dtype=torch.float32):
    rng = torch.Generator().manual_seed(seed)
    weights = [
        torch.randn(n_in, n_out, generator=rng, dtype=dtype) for n_in, n_out in pairwise(sizes)
    ]
    return weights, [torch.randn(n_out, generator=rng, dtype=dtype) for n_out in sizes[1:]]


def make(rates=NONE, activation="relu", out_activation="softmax", groups=(0, 1, 2, 3), **options):
    weights, biases = parameters(**options)
    return perceptron(
        weights, biases, activation, out_activation, DropoutSettings(rates), np.array(groups)
    )


@spread(activation=ACTIVATIONS, out_activation=OUT_ACTIVATIONS)
def test_layers_compute_what_the_network_computes(activation, out_activation):
    weights, biases = parameters(dtype=torch.float64)
    module = make(activation=activation, out_activation=out_activation, dtype=torch.float64)
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = OUT_ACTIVATIONS[out_activation](forward(x, weights, biases, ACTIVATIONS[activation]))
    np.testing.assert_allclose(module(x).detach(), expected, rtol=1e-12, atol=1e-12)


def test_every_loss_has_a_layer_for_its_output_function():
    for loss in LOSSES.values():
        assert isinstance(make(out_activation=loss.out_activation)[-1], nn.Module)


@pytest.mark.parametrize(
    ("rates", "names"),
    [
        ({}, []),
        ({"input": [0.1]}, ["input_dropout"]),
        ({"groups": [0.2]}, ["spatial_dropout"]),
        ({"hidden": [0.0, 0.4]}, ["dropout_2"]),
        ({"hidden": [0.3, 0.0]}, ["dropout_1"]),
        (
            {"input": [0.1], "groups": [0.2], "hidden": [0.3, 0.4]},
            ["spatial_dropout", "input_dropout", "dropout_1", "dropout_2"],
        ),
    ],
)
def test_dropout_layers_are_where_rates_are_above_zero(rates, names):
    module = make(NONE | rates)
    children = dict(module.named_children())
    assert [name for name in children if "dropout" in name] == names
    for place in (1, 2):
        if f"dropout_{place}" in children:
            order = list(children)
            assert order.index(f"dropout_{place}") == order.index(f"activation_{place}") + 1
            assert children[f"dropout_{place}"].p == rates["hidden"][place - 1]
    if "spatial_dropout" in children:
        assert isinstance(children["spatial_dropout"], FeatureGroupDropout)
        assert children["spatial_dropout"].rate == 0.2
    assert [n for n in children if "dropout" not in n] == [
        "hidden_1",
        "activation_1",
        "hidden_2",
        "activation_2",
        "output",
        "out_activation",
    ]


def test_it_starts_in_evaluation_mode():
    module = make(NONE | {"input": [0.5], "hidden": [0.5, 0.5]})
    assert not any(layer.training for layer in module.modules())
    x = torch.ones(3, 4)
    assert torch.equal(module(x), module(x))


def test_it_drops_in_training_mode():
    weights, biases = parameters()
    rates = NONE | {"groups": [0.5]}
    module = perceptron(
        weights, biases, "relu", "identity", DropoutSettings(rates), np.array([0, 0, 1, 1])
    ).train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = module[0](torch.ones(500, 4))
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert torch.equal(dropped[:, 2], dropped[:, 3])
    assert sorted(set(dropped.flatten().tolist())) == [0.0, 2.0]
    assert not torch.equal(dropped[:, 0], dropped[:, 2])


def test_parameters_share_the_memory_of_the_network():
    weights, biases = parameters()
    module = perceptron(weights, biases, "tanh", "identity", DropoutSettings(NONE), np.arange(4))
    weights[0].fill_(0.5)
    assert (module.hidden_1.weight == 0.5).all()
    with torch.no_grad():
        module.output.bias.fill_(7.0)
    assert (biases[-1] == 7.0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linear(dtype):
    (weight,), (bias,) = parameters(sizes=(3, 2), dtype=dtype)
    layer = linear(weight, bias)
    assert (layer.in_features, layer.out_features) == (3, 2)
    assert layer.weight.dtype == layer.bias.dtype == dtype
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in layer.parameters())
    x = torch.ones(5, 3, dtype=dtype)
    torch.testing.assert_close(layer(x), x @ weight + bias)


def test_no_hidden_layer():
    module = make(NONE | {"hidden": []}, sizes=(4, 2), out_activation="exp")
    assert [name for name, _ in module.named_children()] == ["output", "out_activation"]
    assert (module(torch.zeros(3, 4)) > 0).all()


def test_state_survives_a_round_trip(tmp_path):
    module = make(NONE | {"groups": [0.5], "hidden": [0.5, 0.5]})
    torch.save(module.state_dict(), tmp_path / "network.pt")
    other = make(NONE | {"groups": [0.5], "hidden": [0.5, 0.5]}, seed=1)
    x = torch.ones(2, 4)
    assert not torch.equal(other(x), module(x))
    other.load_state_dict(torch.load(tmp_path / "network.pt"))
    assert torch.equal(other(x), module(x))


def test_it_can_be_traced():
    module = make(NONE | {"input": [0.5], "groups": [0.5], "hidden": [0.5, 0.5]})
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
    exported = torch.export.export(module, (x,)).module()
    torch.testing.assert_close(exported(x), module(x))


# Every family: graphs for any number of rows


RATES = {
    "input": [0.1],
    "groups": [0.1],
    "embedding": [0.1],
    "maps": [0.1, 0.1],
    "elements": [0.1, 0.1],
}


def draw(rng, shapes):
    return [0.4 * torch.randn(shape, generator=rng) for shape in shapes]


def perceptron_and_rows(rng):
    rates = RATES | {"hidden": [0.1, 0.1]}
    return make(rates), lambda n: torch.randn(n, 4, generator=rng)


def convolutional_and_rows(rng, shape):
    rank = len(shape) - 1
    layout = ConvLayout(shape, (3, 4), 1, (2,) * rank, (2,) * rank, "same")
    weights = draw(rng, [*layout.conv_shapes, (layout.n_outputs, 5), (5, 3)])
    biases = draw(rng, [(3,), (4,), (5,), (3,)])
    rates = RATES | {"hidden": [0.1]}
    module = convolutional(weights, biases, layout, "gelu", "softmax", DropoutSettings(rates))
    return module, lambda n: torch.randn(n, prod(shape), generator=rng)


def recurrent_and_rows(rng, cell, kind, bidirectional):
    cell, _, activation = cell.partition(" ")
    shape = Architecture(
        cell=cell,
        hidden=(5, 4),
        n_channels=3,
        n_outputs=2,
        bidirectional=bidirectional,
        activation=activation or "tanh",
        n_tokens=None if kind in ("numbers", "masked") else 9,
        mask_zero=kind == "padded",
        mask_value=-9.0 if kind == "masked" else None,
    )
    parameters = draw(rng, shape.weight_shapes), draw(rng, shape.bias_shapes)
    rates = RATES | {"hidden": [0.1, 0.1], "recurrent": [0.1, 0.1]}
    dropout = DropoutSettings(rates)
    module = recurrent_network(shape, *parameters, "identity", dropout, True)

    def rows(n):
        if kind == "numbers":
            return torch.randn(n, 7 * 3, generator=rng)
        if kind == "masked":
            numbers = torch.randn(n, 7, 3, generator=rng)
            for row in range(n):
                numbers[row, : row % 5] = -9.0
            return numbers
        tokens = torch.randint(1, 9, (n, 7), generator=rng).float()
        for row in range(n if kind == "padded" else 0):
            tokens[row, : row % 5] = 0
        return tokens

    return module, rows


NETWORKS = {
    "perceptron": perceptron_and_rows,
    "signals": partial(convolutional_and_rows, shape=(2, 8)),
    "images": partial(convolutional_and_rows, shape=(2, 6, 6)),
    "volumes": partial(convolutional_and_rows, shape=(1, 4, 4, 4)),
} | {
    f"{cell} of {kind}{' both ways' * both_ways}": partial(
        recurrent_and_rows, cell=cell, kind=kind, bidirectional=both_ways
    )
    for cell in ("lstm", "gru", "rnn", "rnn elu")
    for kind in ("numbers", "masked", "tokens", "padded")
    for both_ways in (False, True)
}
# Exporting takes long: one of each kind.
FEW = ["perceptron", "images", "rnn of tokens", "lstm of masked both ways"]
networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
few_networks = pytest.mark.parametrize("network", [NETWORKS[name] for name in FEW], ids=FEW)


@networks
@pytest.mark.filterwarnings("ignore")
def test_traced_graphs_take_any_number_of_rows(network):
    module, rows = network(torch.Generator().manual_seed(0))
    traced, x = torch.jit.trace(module, rows(3)), rows(8)
    torch.testing.assert_close(traced(x), module(x))


@few_networks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(
    torch.__version__.startswith("2.6"), reason="its exporter cannot follow recurrent layers"
)
def test_exported_graphs_take_any_number_of_rows(network):
    module, rows = network(torch.Generator().manual_seed(0))
    n_rows = torch.export.Dim("n_rows", min=1, max=1000)
    exported = torch.export.export(module, (rows(3),), dynamic_shapes=({0: n_rows},)).module()
    x = rows(8)
    torch.testing.assert_close(exported(x), module(x))


@few_networks
@pytest.mark.filterwarnings("ignore")
def test_onnx_graphs_take_any_number_of_rows(network):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    module, rows = network(torch.Generator().manual_seed(0))
    file, axes = io.BytesIO(), {"x": {0: "n_rows"}, "z": {0: "n_rows"}}
    options = {"input_names": ["x"], "output_names": ["z"], "dynamic_axes": axes}
    torch.onnx.export(module, (rows(3),), file, dynamo=False, **options)
    x = rows(8)
    (z,) = runtime.InferenceSession(file.getvalue()).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(z, module(x).detach(), atol=1e-5)
