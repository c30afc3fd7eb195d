"""The optimisers of networks that train as PyTorch modules."""

import torch


class SGD(torch.optim.Optimizer):
    """Stochastic gradient descent with momentum, as scikit-learn's MLP defines it.

    The learning rate is part of the velocity, ``v = momentum * v - lr * g``, which differs from
    ``torch.optim.SGD`` if the rate changes.

    Parameters
    ----------
    params : iterable of parameters, or of groups of them
    lr : float
    momentum : float, default=0.0
    nesterov : bool, default=False
    weight_decay : float, default=0.0
        Factor of the parameters that is added to their gradient.
    """

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        options = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
        }
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure=None):
        """Update the parameters from their gradients; call `closure` first, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group)
        return loss

    def _update(self, p, group):
        gradient = p.grad
        if group["weight_decay"]:
            gradient = gradient.add(p, alpha=group["weight_decay"])
        state = self.state[p]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(p)
        velocity = state["velocity"].mul_(group["momentum"]).add_(gradient, alpha=-group["lr"])
        if group["nesterov"]:
            p.add_(velocity, alpha=group["momentum"]).add_(gradient, alpha=-group["lr"])
        else:
            p.add_(velocity)


def make_optimizer(module, recipe):
    """The optimiser of a recipe; that of AdamW has a group for weights and one for biases.

    Parameters
    ----------
    module : nn.Module
    recipe : Recipe
    """
    parameters = list(module.parameters())
    learning_rate = recipe.learning_rate_init
    if isinstance(recipe.solver, type):
        return recipe.solver(parameters, lr=learning_rate)
    if recipe.solver == "sgd":
        options = {"momentum": recipe.momentum, "nesterov": recipe.nesterovs_momentum}
        return SGD(parameters, learning_rate, **options)
    options = {"betas": (recipe.beta_1, recipe.beta_2), "eps": recipe.epsilon, "fused": True}
    if recipe.solver == "adam":
        return torch.optim.Adam(parameters, learning_rate, **options)
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": recipe.alpha},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, learning_rate, **options)


# State of the optimisers for each parameter, by the names that both engines use.
_MEMORY = {"first_moment": "exp_avg", "second_moment": "exp_avg_sq", "velocity": "velocity"}


def memory_of(optimizer, parameters):
    """State of a named optimiser, by the names that both engines use.

    Returns
    -------
    memory : dict
        Lists of tensors like the parameters; ``"count"``, the number of updates, if it counts them.
    """
    names = ["velocity"] if isinstance(optimizer, SGD) else ["first_moment", "second_moment"]
    memory = {
        name: [optimizer.state[p].get(_MEMORY[name], torch.zeros_like(p)) for p in parameters]
        for name in names
    }
    if "velocity" not in memory:
        steps = [float(optimizer.state[p]["step"]) for p in parameters if optimizer.state[p]]
        memory["count"] = max(steps, default=0.0)
    return memory


def remember(optimizer, parameters, memory):
    """Let a named optimiser continue from the result of `memory_of`."""
    for index, p in enumerate(parameters):
        state = optimizer.state[p]
        for name, values in memory.items():
            if name == "count":
                state["step"] = torch.tensor(float(values), device=p.device)
            else:
                state[_MEMORY[name]] = values[index].detach().clone().view_as(p)
