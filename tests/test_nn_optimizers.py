"""Optimisers of a stack against those of PyTorch and scikit-learn, on the same gradients."""

import numpy as np
import pytest
import torch
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

from sklearn_dropout.nn._mlp import StackedMLP
from sklearn_dropout.nn._optimizers import (
    SGD,
    Adam,
    External,
    StackOptimizer,
    TorchOptimizer,
    flat_groups,
)

SEEDS = [0, 1, 2]
SIZES = (3, 4, 2)
# Learning rates of successive steps.
RATES = [0.1, 0.1, 0.03, 0.03, 0.5, 0.01]
ADAM = {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-6}

OPTIMIZERS = {
    "adam": lambda groups: Adam(groups, **ADAM),
    "adamw": lambda groups: Adam(groups, **ADAM, decoupled=True),
    "sgd": lambda groups: SGD(groups, momentum=0.9, nesterov=False),
    "nesterov": lambda groups: SGD(groups, momentum=0.9, nesterov=True),
}
all_optimizers = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def make_network(n_networks=1, seed=0, dtype=torch.float64):
    network = StackedMLP(SIZES, n_networks, dtype=dtype)
    rng = np.random.default_rng(seed)
    network.parameters.copy_(torch.from_numpy(rng.normal(size=network.parameters.shape)))
    return network


def one_of(stack, k):
    """Network `k` of a stack as a stack of one."""
    network = StackedMLP(SIZES, dtype=stack.parameters.dtype)
    network.load(0, *stack.export(k))
    return network


def layers(network):
    """Parameters and gradients of a stack, weights first."""
    return network.weights + network.biases, network.weight_gradients + network.bias_gradients


def set_gradient(network, step, seed=0):
    """Gradients of a step, some of them zero, the same for each call."""
    rng = np.random.default_rng([seed, step])
    gradient = rng.normal(size=network.gradient.shape) * (rng.random(network.gradient.shape) < 0.9)
    network.gradient.copy_(torch.from_numpy(gradient))


def set_rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate


def run(network, optimizer, steps, decay=0.0):
    """Take steps, each with its own gradient and learning rate."""
    for step in steps:
        set_gradient(network, step)
        set_rate(optimizer, RATES[step])
        optimizer.decay = decay
        optimizer.update()


def assert_equal_parameters(ours, theirs, rtol=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=1e-13)


# Each against its reference


def reference_run(network, optimizer_class, seed, decay, **options):
    """Parameters after the steps, by an optimiser of PyTorch on leaves of its own."""
    parameters, gradients = layers(network)
    leaves = [p.clone().requires_grad_() for p in parameters]
    n_layers = len(leaves) // 2
    groups = [
        {"params": leaves[:n_layers], "weight_decay": decay},
        {"params": leaves[n_layers:], "weight_decay": 0.0},
    ]
    optimizer = optimizer_class(groups, lr=RATES[0], **options)
    for step, rate in enumerate(RATES):
        set_gradient(network, step, seed)
        for leaf, gradient in zip(leaves, gradients):
            leaf.grad = gradient.clone()
        set_rate(optimizer, rate)
        optimizer.step()
    return torch.cat([leaf.detach().flatten() for leaf in leaves])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n_networks", [1, 3])
@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_equals_pytorch(decoupled, decay, n_networks, seed):
    network = make_network(n_networks, seed)
    reference = reference_run(
        network,
        torch.optim.AdamW if decoupled else torch.optim.Adam,
        seed,
        decay,
        betas=(ADAM["beta_1"], ADAM["beta_2"]),
        eps=ADAM["epsilon"],
        foreach=False,
    )
    groups = flat_groups(network, [RATES[0]] * n_networks, apart=True)
    optimizer = Adam(groups, **ADAM, decoupled=decoupled)
    before = network.parameters.clone()
    for step, rate in enumerate(RATES):
        set_gradient(network, step, seed)
        set_rate(optimizer, rate)
        optimizer.decay = decay
        optimizer.update()
    assert_equal_parameters(network.parameters, reference)
    assert not torch.isclose(network.parameters, before).any()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n_networks", [1, 3])
@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_equals_scikit_learn(nesterov, momentum, decay, n_networks, seed):
    network = make_network(n_networks, seed)
    parameters, gradients = layers(network)
    theirs = [p.numpy().copy() for p in parameters]
    reference = SGDOptimizer(theirs, RATES[0], momentum=momentum, nesterov=nesterov)
    groups = flat_groups(network, [RATES[0]] * n_networks, apart=True)
    optimizer = SGD(groups, momentum=momentum, nesterov=nesterov)
    for step, rate in enumerate(RATES):
        set_gradient(network, step, seed)
        penalty = [decay * p if p.ndim == 3 else 0 for p in theirs]
        reference.learning_rate = rate
        reference.update_params(theirs, [g.numpy() + added for g, added in zip(gradients, penalty)])
        set_rate(optimizer, rate)
        optimizer.decay = decay
        optimizer.update()
        for ours, expected in zip(parameters, theirs):
            np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-13)


def test_momentum_keeps_the_rate_of_its_step():
    """By hand: v = -0.1, then v = -0.05 - 0.2 * 2, where PyTorch would rescale the first."""
    network = StackedMLP((1, 1), dtype=torch.float64)
    optimizer = SGD(flat_groups(network, [0.1], apart=False), momentum=0.5, nesterov=False)
    for rate, gradient in [(0.1, 1.0), (0.2, 2.0)]:
        network.gradient.fill_(gradient)
        set_rate(optimizer, rate)
        optimizer.update()
    np.testing.assert_allclose(network.parameters, -0.1 + (-0.05 - 0.4), rtol=1e-14)


@pytest.mark.parametrize(
    "optimizer_class", [torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Rprop]
)
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_external_equals_the_optimizer_it_wraps(optimizer_class, decay):
    network = make_network()
    parameters, gradients = layers(network)
    leaves = [p[0].clone().requires_grad_() for p in parameters]
    reference = optimizer_class(leaves, lr=RATES[0])
    optimizer = External(network, RATES[0], optimizer_class)
    for step, rate in enumerate(RATES):
        set_gradient(network, step)
        for leaf, gradient in zip(leaves, gradients):
            leaf.grad = gradient[0] + (decay * leaf.detach() if leaf.ndim == 2 else 0)
        set_rate(reference, rate)
        reference.step()
        set_rate(optimizer, rate)
        optimizer.decay = decay
        optimizer.update()
        for ours, theirs in zip(parameters, leaves):
            assert_equal_parameters(ours[0], theirs.detach())


# What they have in common


@all_optimizers
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("rates", [[0.1] * 3, [0.1, 0.02, 0.3], [0.1, 0.1, 0.02], [0.02, 0.1, 0.1]])
def test_learning_rates_of_networks_equal_single_runs(make, rates, apart):
    stack = make_network(3)
    networks = [one_of(stack, k) for k in range(3)]
    singles = [make(flat_groups(network, [rate], apart)) for network, rate in zip(networks, rates)]
    optimizer = make(flat_groups(stack, rates, apart))
    n_runs = len(set(rates))
    assert len(optimizer.param_groups) == (1 if n_runs == 1 and not apart else 2 * n_runs)
    for step in range(4):
        set_gradient(stack, step)
        optimizer.update()
        for k, (network, single) in enumerate(zip(networks, singles)):
            for ours, theirs in zip(layers(stack)[1], layers(network)[1]):
                theirs.copy_(ours[k : k + 1])
            single.update()
            for ours, theirs in zip(layers(stack)[0], layers(network)[0]):
                assert_equal_parameters(ours[k], theirs[0])


@all_optimizers
def test_decay_acts_on_weights_alone(make):
    """Without gradients only what decays moves, towards zero."""
    network = make_network(2)
    optimizer = make(flat_groups(network, [0.1, 0.1], apart=True))
    before = network.parameters.clone()
    optimizer.decay = 0.3
    optimizer.update()
    n = network.n_weights
    moved = before - network.parameters
    assert torch.equal(moved[:n].sign(), before[:n].sign())
    assert not moved[n:].any()


@all_optimizers
@pytest.mark.parametrize("rates", [[0.1, 0.1], [0.1, 0.2]])
def test_state_continues_exactly(make, rates):
    network = make_network(2)
    optimizer = make(flat_groups(network, rates, apart=True))
    run(network, optimizer, range(3), decay=0.1)
    state, start = optimizer.get_state(), network.parameters.clone()
    run(network, optimizer, range(3, 6), decay=0.1)

    other = make_network(2)
    other.parameters.copy_(start)
    continued = make(flat_groups(other, rates, apart=True))
    continued.set_state(state)
    run(other, continued, range(3, 6), decay=0.1)
    assert torch.equal(other.parameters, network.parameters)

    other.parameters.copy_(start)
    run(other, make(flat_groups(other, rates, apart=True)), range(3, 6), decay=0.1)
    assert not torch.equal(other.parameters, network.parameters)


def test_state_of_external_continues_exactly():
    network = make_network()
    optimizer = External(network, 0.1, torch.optim.RMSprop)
    run(network, optimizer, range(3))
    state, start = optimizer.get_state(), network.parameters.clone()
    run(network, optimizer, range(3, 6))
    other = make_network()
    other.parameters.copy_(start)
    continued = External(other, 0.1, torch.optim.RMSprop)
    continued.set_state(state)
    run(other, continued, range(3, 6))
    assert torch.equal(other.parameters, network.parameters)


@all_optimizers
def test_state_shares_no_memory(make):
    network = make_network()
    optimizer = make(flat_groups(network, [0.1], apart=False))
    run(network, optimizer, range(2))
    state = optimizer.get_state()
    copies = {name: array.copy() for name, array in state.items()}
    assert all(array.any() for array in state.values())
    for _ in range(2):
        run(network, optimizer, range(2, 4))
        for name, array in state.items():
            assert isinstance(array, np.ndarray)
            np.testing.assert_array_equal(array, copies[name])
        optimizer.set_state(state)


@all_optimizers
def test_state_does_not_depend_on_how_parameters_are_grouped(make):
    one, other = make_network(), make_network()
    joint = make(flat_groups(one, [0.1], apart=False))
    apart = make(flat_groups(other, [0.1], apart=True))
    run(one, joint, range(2))
    other.parameters.copy_(one.parameters)
    apart.set_state(joint.get_state())
    for network, optimizer in ((one, joint), (other, apart)):
        run(network, optimizer, range(2, 4))
    assert torch.equal(one.parameters, other.parameters)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("rates", [[0.1, 0.1], [0.1, 0.2]])
def test_adam_without_its_kernel_is_the_same(monkeypatch, decoupled, rates):
    """The kernel's name is private to PyTorch; the public function takes its place."""
    networks = [make_network(2), make_network(2)]
    groups = [flat_groups(network, rates, apart=True) for network in networks]
    with_kernel = Adam(groups[0], **ADAM, decoupled=decoupled)
    # The public function calls the kernel, so it may be missing only while we look for it.
    with monkeypatch.context() as patch:
        patch.delattr(torch, "_fused_adam_")
        patch.delattr(torch, "_fused_adamw_")
        without = Adam(groups[1], **ADAM, decoupled=decoupled)
    assert without._kernel is not with_kernel._kernel
    for step in range(4):
        for network, optimizer in zip(networks, [with_kernel, without]):
            set_gradient(network, step)
            optimizer.decay = 0.1
            optimizer.update()
        assert torch.equal(networks[0].parameters, networks[1].parameters)


def test_an_optimizer_must_say_how_it_updates():
    network = make_network()
    with pytest.raises(NotImplementedError):
        StackOptimizer(flat_groups(network, [0.1], apart=False)).update()


# As PyTorch sees them


def test_a_scheduler_of_pytorch_sets_the_learning_rates():
    network = make_network(2)
    optimizer = SGD(flat_groups(network, [0.1, 0.4], apart=True), momentum=0.0, nesterov=False)
    wrapped = TorchOptimizer(optimizer)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(wrapped, 0.5)
    assert wrapped.param_groups is optimizer.param_groups
    for factor in (1.0, 0.5, 0.25):
        network.gradient.fill_(1.0)
        before = network.parameters.clone()
        wrapped.step()
        scheduler.step()
        moved = StackedMLP(SIZES, 2, dtype=torch.float64)
        moved.parameters.copy_(before - network.parameters)
        for part in moved.weights + moved.biases:
            np.testing.assert_allclose(part[0], 0.1 * factor, rtol=1e-12)
            np.testing.assert_allclose(part[1], 0.4 * factor, rtol=1e-12)


@all_optimizers
def test_the_wrapper_takes_the_same_steps(make):
    networks = [make_network(), make_network()]
    optimizers = [make(flat_groups(network, [0.1], apart=False)) for network in networks]
    wrapped = TorchOptimizer(optimizers[1])
    for step in range(3):
        for network in networks:
            set_gradient(network, step)
        optimizers[0].update()
        wrapped.step()
    assert torch.equal(networks[0].parameters, networks[1].parameters)
    assert wrapped.optimizer is optimizers[1]
