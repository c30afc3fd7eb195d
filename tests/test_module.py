"""A perceptron as plain PyTorch layers."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_dropout._module import linear, perceptron
from sklearn_dropout.nn import FeatureGroupDropout
from sklearn_dropout.nn._activations import ACTIVATIONS
from sklearn_dropout.nn._losses import LOSSES, OUT_ACTIVATIONS
from sklearn_dropout.nn._mlp import forward

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
    return perceptron(weights, biases, activation, out_activation, rates, np.array(groups))


@pytest.mark.parametrize("out_activation", OUT_ACTIVATIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_layers_compute_what_the_stack_computes(activation, out_activation):
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
    module = perceptron(weights, biases, "relu", "identity", rates, np.array([0, 0, 1, 1])).train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = module[0](torch.ones(500, 4))
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert torch.equal(dropped[:, 2], dropped[:, 3])
    assert sorted(set(dropped.flatten().tolist())) == [0.0, 2.0]
    assert not torch.equal(dropped[:, 0], dropped[:, 2])


def test_parameters_share_the_memory_of_the_network():
    weights, biases = parameters()
    module = perceptron(weights, biases, "tanh", "identity", NONE, np.arange(4))
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
