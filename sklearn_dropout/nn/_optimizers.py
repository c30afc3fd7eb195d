"""Optimisers of a stack: one update for all networks that share a learning rate and a penalty.

They are no ``torch.optim.Optimizer`` objects: making the first of these in a process takes a
second, and the hooks around each ``step`` cost as much as the update of a small network.
`TorchOptimizer` is one, for callbacks and learning-rate schedulers.
"""

from dataclasses import dataclass
from importlib import import_module
from itertools import chain, groupby

import numpy as np
import torch


@dataclass
class Group:
    """Parameters with one learning rate, each with its gradient.

    Attributes
    ----------
    parameters, gradients : lists of tensors
    learning_rate : float
    decayed : bool
        Whether the L2 penalty acts on them (weights, not biases).
    """

    parameters: list
    gradients: list
    learning_rate: float
    decayed: bool


def flat_groups(network, learning_rates, apart):
    """Groups of a stack: all weights and all biases, once for each run of equal rates.

    Parameters
    ----------
    network : Stack
    learning_rates : sequence of float, length n_networks
        Networks with equal rates must be neighbours.
    apart : bool
        Whether weights and biases go into groups of their own.
    """
    groups, start = [], 0
    for rate, run in groupby(learning_rates):
        stop = start + len(list(run))
        for decayed, parameters, gradients in network.parameter_pieces(start, stop, apart):
            groups.append(Group(parameters, gradients, rate, decayed))
        start = stop
    return groups


def _zeros_beside(groups):
    """Zeros laid out as the memory that the parameters are views of, and the same views of it.

    Returns
    -------
    flat : tensor
    views : list of lists of tensors
        For each group, one for each of its parameters.
    """
    first = groups[0]["params"][0]
    n_values = first.untyped_storage().nbytes() // first.element_size()
    flat = torch.zeros(n_values, dtype=first.dtype, device=first.device)
    views = [
        [flat.as_strided(p.size(), p.stride(), p.storage_offset()) for p in group["params"]]
        for group in groups
    ]
    return flat, views


def _fused_adam(decoupled):
    """PyTorch's one-pass Adam kernel, or the public function around it."""
    kernel = getattr(torch, "_fused_adamw_" if decoupled else "_fused_adam_", None)
    if kernel is not None:
        return kernel
    name = "adamw" if decoupled else "adam"  # torch.optim itself hides its modules
    public = getattr(import_module(f"torch.optim.{name}"), name)

    def update(params, grads, means, squares, maxima, steps, **options):
        # The public function counts the step itself.
        torch._foreach_sub_(steps, 1)
        public(params, grads, means, squares, maxima, steps, fused=True, **options)

    return update


def _to_array(thing):
    return thing.cpu().numpy().copy() if torch.is_tensor(thing) else thing


def _to_tensor(thing):
    return torch.from_numpy(thing.copy()) if isinstance(thing, np.ndarray) else thing


def _convert(state, leaf):
    """A copy of nested dicts and lists with `leaf` applied to what is in them."""
    if isinstance(state, dict):
        return {key: _convert(value, leaf) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_convert(value, leaf) for value in state)
    return leaf(state)


class StackOptimizer:
    """What the optimisers share; subclasses write `update`.

    Attributes
    ----------
    param_groups : list of dict
        As in ``torch.optim``: ``"params"``, their ``"gradients"``, ``"lr"``, and whether they are
        ``"decayed"``.
    decay : float
        Factor of the weights in the gradient of the L2 penalty; set before each step.
    """

    def __init__(self, groups):
        self.param_groups = [
            {
                "params": group.parameters,
                "gradients": group.gradients,
                "lr": group.learning_rate,
                "decayed": group.decayed,
            }
            for group in groups
        ]
        self.decay = 0.0

    def update(self):
        """Update the parameters in place from their gradients and `decay`."""
        raise NotImplementedError

    def follow(self, other, select):
        """Take over the state of the optimiser of a larger stack.

        Parameters
        ----------
        other : StackOptimizer of the same kind
        select : callable (flat) -> flat
            What belongs to the networks of this stack, of a tensor like the parameters.
        """
        for ours, theirs in zip(self._memory(), other._memory(), strict=True):
            ours.copy_(select(theirs) if theirs.dim() else theirs)

    def get_state(self):
        """What `set_state` needs to continue: NumPy arrays that share no memory.

        They do not depend on how the parameters are grouped, as long as they come in one order.
        """
        return {
            name: torch.cat([tensor.ravel() for tensor in tensors]).cpu().numpy()
            for name, tensors in self._state().items()
        }

    def set_state(self, state):
        """Continue from what `get_state` returned; the state of another kind is left alone."""
        if state.keys() != self._state().keys():
            return
        for name, tensors in self._state().items():
            pieces = torch.from_numpy(state[name]).split([tensor.numel() for tensor in tensors])
            for tensor, piece in zip(tensors, pieces, strict=True):
                tensor.copy_(piece.view(tensor.shape))


class Adam(StackOptimizer):
    """Adam, or AdamW where the decay is decoupled from the gradient.

    References
    ----------
    Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
    """

    def __init__(self, groups, *, beta_1, beta_2, epsilon, decoupled=False):
        super().__init__(groups)
        self._options = {
            "beta1": beta_1,
            "beta2": beta_2,
            "eps": epsilon,
            "amsgrad": False,
            "maximize": False,
        }
        self._kernel = _fused_adam(decoupled)
        self._flat_first, self._first = _zeros_beside(self.param_groups)
        self._flat_second, self._second = _zeros_beside(self.param_groups)
        device = self.param_groups[0]["params"][0].device
        self._count = torch.zeros((), dtype=torch.float32, device=device)
        # In NumPy, where an addition to one number costs less.
        self._counter = self._count.numpy() if device.type == "cpu" else self._count

    def update(self):
        """See `StackOptimizer.update`."""
        self._counter += 1
        for group, first, second in zip(self.param_groups, self._first, self._second):
            self._kernel(
                group["params"],
                group["gradients"],
                first,
                second,
                [],
                [self._count] * len(first),
                lr=group["lr"],
                weight_decay=self.decay if group["decayed"] else 0.0,
                **self._options,
            )

    def _memory(self):
        return self._count, self._flat_first, self._flat_second

    def _state(self):
        return {
            "count": [self._count],
            "first_moment": list(chain(*self._first)),
            "second_moment": list(chain(*self._second)),
        }


class SGD(StackOptimizer):
    """Stochastic gradient descent with momentum, as scikit-learn's MLP defines it.

    The learning rate is part of the velocity, ``v = momentum * v - lr * g``, which differs from
    ``torch.optim.SGD`` where the rate changes.
    """

    def __init__(self, groups, *, momentum, nesterov):
        super().__init__(groups)
        self._momentum = momentum
        self._nesterov = nesterov
        self._flat_velocity, self._velocity = _zeros_beside(self.param_groups)

    def update(self):
        """See `StackOptimizer.update`."""
        for group, velocities in zip(self.param_groups, self._velocity):
            step = -group["lr"]
            for p, g, v in zip(group["params"], group["gradients"], velocities):
                if self.decay and group["decayed"]:
                    g.add_(p, alpha=self.decay)
                v.mul_(self._momentum).add_(g, alpha=step)
                if self._nesterov:
                    p.add_(v, alpha=self._momentum).add_(g, alpha=step)
                else:
                    p.add_(v)

    def _memory(self):
        return (self._flat_velocity,)

    def _state(self):
        return {"velocity": list(chain(*self._velocity))}


class External(StackOptimizer):
    """Any ``torch.optim.Optimizer`` class, for one network, a tensor for each layer.

    Parameters
    ----------
    network : Stack
        With one network.
    learning_rate : float
    optimizer_class : type
        Made with ``lr=learning_rate`` and its own defaults.
    """

    def __init__(self, network, learning_rate, optimizer_class):
        if network.n_networks != 1:
            raise ValueError(f"A stack of {network.n_networks} networks: give each its optimiser.")
        pieces = [
            (True, network.weights, network.weight_gradients),
            (False, network.biases, network.bias_gradients),
        ]
        groups = [
            Group([p[0] for p in params], [g[0] for g in grads], learning_rate, decayed)
            for decayed, params, grads in pieces
        ]
        super().__init__(groups)
        for group in groups:
            for p, g in zip(group.parameters, group.gradients):
                p.grad = g
        self._optimizer = optimizer_class(
            [{"params": group.parameters} for group in groups], lr=learning_rate
        )

    def update(self):
        """See `StackOptimizer.update`."""
        for ours, theirs in zip(self.param_groups, self._optimizer.param_groups):
            theirs["lr"] = ours["lr"]
            if self.decay and ours["decayed"]:
                for p, g in zip(ours["params"], ours["gradients"]):
                    g.add_(p, alpha=self.decay)
        self._optimizer.step()

    def get_state(self):
        """State of the wrapped optimiser."""
        return {str(type(self._optimizer)): _convert(self._optimizer.state_dict(), _to_array)}

    def set_state(self, state):
        """Continue from what `get_state` returned; the state of another kind is left alone."""
        kind = str(type(self._optimizer))
        if kind in state:
            self._optimizer.load_state_dict(_convert(state[kind], _to_tensor))


class TorchOptimizer(torch.optim.Optimizer):
    """A ``torch.optim.Optimizer`` around one of the above, with the same ``param_groups``."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        super().__init__([{"params": group["params"]} for group in optimizer.param_groups], {})
        self.param_groups = optimizer.param_groups

    def step(self, closure=None):
        """Update the parameters from their gradients; call `closure` first, if any."""
        loss = None if closure is None else closure()
        self.optimizer.update()
        return loss

    def state_dict(self):
        """What `load_state_dict` needs to continue."""
        rates = [group["lr"] for group in self.param_groups]
        return {"state": _convert(self.optimizer.get_state(), _to_tensor), "lr": rates}

    def load_state_dict(self, state_dict):
        """Continue from what `state_dict` returned."""
        self.optimizer.set_state(_convert(state_dict["state"], _to_array))
        for group, rate in zip(self.param_groups, state_dict["lr"], strict=True):
            group["lr"] = rate
