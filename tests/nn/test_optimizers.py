"""Optimisers of modules: scikit-learn's rule for SGD, and what an optimiser remembers."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer
from torch import nn

from sklearn_dropout.nn.optimizers import SGD, make_optimizer, memory_of, remember


@dataclass
class Recipe:
    solver: object = "adam"
    learning_rate_init: float = 0.01
    alpha: float = 0.1
    beta_1: float = 0.8
    beta_2: float = 0.99
    epsilon: float = 1e-7
    momentum: float = 0.7
    nesterovs_momentum: bool = True


def make_module(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def step(module, optimizer, seed):
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((5, 3)).astype(np.float32))
    optimizer.zero_grad()
    module(x).square().sum().backward()
    optimizer.step()


@pytest.fixture(autouse=True)
def generator_of_torch_is_left_alone():
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_equals_scikit_learn(nesterov, momentum):
    rng = np.random.default_rng(0)
    theirs = [rng.standard_normal((3, 2)), rng.standard_normal(2)]
    ours = [nn.Parameter(torch.tensor(p)) for p in theirs]
    reference = SGDOptimizer(theirs, 0.1, "constant", momentum, nesterov)
    optimizer = SGD(ours, 0.1, momentum, nesterov)
    for rate in (0.1, 0.1, 0.02, 0.02):  # the rate of a step stays in the velocity
        reference.learning_rate = optimizer.param_groups[0]["lr"] = rate
        gradients = [rng.standard_normal(p.shape) for p in theirs]
        for p, gradient in zip(ours, gradients):
            p.grad = torch.tensor(gradient)
        reference.update_params(theirs, gradients)
        optimizer.step()
    for p, expected in zip(ours, theirs):
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-12)


def test_weight_decay_of_sgd_is_added_to_the_gradient():
    p = nn.Parameter(torch.tensor([2.0]))
    p.grad = torch.tensor([1.0])
    SGD([p], 0.1, weight_decay=0.5).step()
    assert p.item() == pytest.approx(2.0 - 0.1 * (1.0 + 0.5 * 2.0))


def test_closure_of_sgd_is_called():
    p = nn.Parameter(torch.tensor([2.0]))

    def closure():
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert SGD([p], 0.1).step(closure).item() == 4.0
    assert p.item() == pytest.approx(1.6)


def test_decay_of_adamw_acts_on_weights_alone():
    module = make_module()
    optimizer = make_optimizer(module, Recipe("adamw", alpha=0.3))
    weights, biases = optimizer.param_groups
    assert weights["weight_decay"] == 0.3
    assert biases["weight_decay"] == 0.0
    assert {p.dim() for p in weights["params"]} == {2}
    assert {p.dim() for p in biases["params"]} == {1}


def test_an_optimizer_class_is_made_with_its_own_defaults():
    optimizer = make_optimizer(make_module(), Recipe(torch.optim.RMSprop))
    assert type(optimizer) is torch.optim.RMSprop
    assert optimizer.defaults["alpha"] == 0.99


@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_memory_continues_exactly(solver):
    module, other = make_module(), make_module()
    recipe = Recipe(solver)
    optimizer = make_optimizer(module, recipe)
    for seed in range(3):
        step(module, optimizer, seed)
    other.load_state_dict(module.state_dict())
    continued = make_optimizer(other, recipe)
    remember(continued, list(other.parameters()), memory_of(optimizer, list(module.parameters())))
    for seed in range(3, 6):
        step(module, optimizer, seed)
        step(other, continued, seed)
    for ours, theirs in zip(other.parameters(), module.parameters()):
        assert torch.equal(ours, theirs)


def test_memory_before_the_first_step_is_zero():
    module = make_module()
    parameters = list(module.parameters())
    memory = memory_of(make_optimizer(module, Recipe()), parameters)
    assert memory["count"] == 0
    assert not any(t.any() for name in ("first_moment", "second_moment") for t in memory[name])
