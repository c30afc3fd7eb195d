"""What drives a stack of networks: optimiser, penalty, learning rate, the rule for stopping."""

import numpy as np
import torch

from .nn._optimizers import SGD, Adam, External, flat_groups

_MIN_ADAPTIVE_RATE = 1e-6
_SMALL_NETWORK = 30_000
_LARGEST_DECAY = 1e30  # of float32


class Plateau:
    """Which networks have stopped to improve, by the rule of scikit-learn's MLP.

    Parameters
    ----------
    tol : float
        Smallest gain that counts.
    patience : float
        Epochs without such a gain that are tolerated.
    n_networks : int

    Attributes
    ----------
    best : ndarray of shape (n_networks,)
        Best value so far.
    """

    def __init__(self, tol, patience, n_networks):
        self.tol = tol
        self.patience = patience
        self.best = np.full(n_networks, -np.inf)
        self.n_stale = np.zeros(n_networks, dtype=int)

    def update(self, values):
        """Take the values of an epoch, higher is better.

        Returns
        -------
        improved, exhausted : bool ndarrays of shape (n_networks,)
        """
        self.n_stale = np.where(values < self.best + self.tol, self.n_stale + 1, 0)
        improved = values > self.best
        self.best = np.where(improved, values, self.best)
        return improved, self.n_stale > self.patience


def make_optimizer(network, learning_rates, recipe, penalty):
    """The optimiser that `recipe` names, for all networks of a stack."""
    if isinstance(recipe.solver, type):
        return External(network, learning_rates[0], recipe.solver)
    groups = flat_groups(network, learning_rates, apart=not penalty.in_gradient)
    if recipe.solver == "sgd":
        return SGD(groups, momentum=recipe.momentum, nesterov=recipe.nesterovs_momentum)
    return Adam(
        groups,
        beta_1=recipe.beta_1,
        beta_2=recipe.beta_2,
        epsilon=recipe.epsilon,
        decoupled=recipe.solver == "adamw",
    )


class LearningRate:
    """The learning rate over the epochs; schedules are for SGD, as in scikit-learn's MLP.

    Parameters
    ----------
    optimizer : StackOptimizer
    recipe : Recipe
    problem : Problem
    """

    def __init__(self, optimizer, recipe, problem):
        self.groups = optimizer.param_groups
        self.schedule = recipe.learning_rate if recipe.solver == "sgd" else "constant"
        self.power_t = recipe.power_t
        self.initial = [group["lr"] for group in self.groups]
        # By weight, so that a row of weight k counts like k rows.
        self.n_rows = problem.train.total_weight
        self.n_seen = problem.n_seen_before
        self._invert()

    def _invert(self):
        if self.schedule == "invscaling" and self.n_seen:
            try:
                factor = (self.n_seen + 1) ** self.power_t
            except OverflowError:
                factor = np.inf
            for group, initial in zip(self.groups, self.initial):
                group["lr"] = initial / factor

    def epoch_end(self):
        """Follow "invscaling": initial rate / (rows seen + 1) ** power_t."""
        self.n_seen += self.n_rows
        self._invert()

    def decrease(self):
        """Follow "adaptive": a fifth of the rate; False where it cannot or need not be less."""
        if self.schedule != "adaptive" or self.groups[0]["lr"] <= _MIN_ADAPTIVE_RATE:
            return False
        for group in self.groups:
            group["lr"] /= 5.0
        return True


class L2Penalty:
    """The L2 penalty of scikit-learn's MLP: alpha / 2 / (weight of the batch) * sum of squares.

    Parameters
    ----------
    network : Stack
    alphas : list of float
        One for each network.
    decoupled : bool
        AdamW: alpha is the decay itself and no part of the loss.

    Attributes
    ----------
    in_gradient : bool
        Whether `decay` adds the penalty to the gradient, which is cheaper for small networks and
        needed where networks differ; else the optimiser does it within its update.
    """

    def __init__(self, network, alphas, decoupled=False):
        self.network = network
        self.alphas = np.asarray(alphas, dtype=float)
        self.decoupled = decoupled
        self._equal = bool((self.alphas == self.alphas[0]).all())
        if decoupled and not self._equal:
            raise ValueError("AdamW has one decay for a whole stack.")
        self._in_loss = bool(self.alphas.any()) and not decoupled
        small = network.n_weights < _SMALL_NETWORK or not self.alphas.any()
        self.in_gradient = not decoupled and (small or not self._equal)

    def record(self):
        """What `values` needs of the weights as they are now."""
        return self.network.squared_norms() if self._in_loss else None

    def values(self, recorded):
        """What the penalty adds to the loss, times the weight of the batch.

        Parameters
        ----------
        recorded : list
            By `record`, before each step.

        Returns
        -------
        values : ndarray of shape (n_steps, n_networks)
        """
        if not self._in_loss:
            return np.zeros((len(recorded), len(self.alphas)))
        if torch.is_tensor(recorded[0]):
            recorded = torch.stack(recorded).cpu().numpy()
        return 0.5 * self.alphas * np.asarray(recorded)

    def decay(self, total_weight):
        """Add the penalty to the gradient, or leave it to the optimiser.

        Parameters
        ----------
        total_weight : ndarray of shape (n_networks,) or (1,)
            Sum of the sample weights in the batch.

        Returns
        -------
        decay : float
            Factor of the weights that the optimiser has to add to their gradient.
        """
        if self.decoupled:
            return float(self.alphas[0])
        if self._equal and len(total_weight) == 1:
            decay = float(self.alphas[0] / total_weight[0])
            if decay > _LARGEST_DECAY:
                raise ValueError(
                    f"sample_weight has a sum of {total_weight[0]} in a batch, beside which "
                    f"alpha={float(self.alphas[0])!r} is out of proportion. Use weights that are "
                    "not so small, or alpha=0."
                )
            if not self.in_gradient:
                return decay
            if decay:
                self.network.add_penalty(decay)
            return 0.0
        decay = torch.from_numpy(
            np.broadcast_to(self.alphas / total_weight, self.alphas.shape).copy()
        )
        self.network.add_penalty(decay.to(self.network.parameters))
        return 0.0


class Stopping:
    """Early stopping, learning-rate schedule and the best weights of each network.

    Parameters
    ----------
    trainer : Trainer

    Attributes
    ----------
    active : bool ndarray of shape (n_networks,)
        Which networks are not done.
    """

    def __init__(self, trainer):
        recipe, problems = trainer.recipe, trainer.problems
        self.network = trainer.network
        self.early = recipe.early_stopping
        self.watches_loss = recipe.learning_rate == "adaptive" and not self.early
        self.rate = LearningRate(trainer.optimizer, recipe, problems[0])
        self.plateau = Plateau(recipe.tol, recipe.n_iter_no_change, len(problems))
        self.best = self.network.parameters.clone() if self.early else None
        self.active = np.ones(len(problems), dtype=bool)

    def update(self, record):
        """Take the record of an epoch."""
        exhausted = np.zeros_like(self.active)
        if self.early:
            improved, exhausted = self.plateau.update(record["valid_score"])
            self.network.save(self.best, improved & self.active)
        elif self.watches_loss:
            _, exhausted = self.plateau.update(-record["train_loss"])
        self.rate.epoch_end()
        if exhausted.any() and self.rate.decrease():
            self.plateau.n_stale[:] = 0
        elif self.early:
            self.active &= ~exhausted

    def follow(self, other, places):
        """Go on from where some networks of another stack are."""
        self.plateau.best = other.plateau.best[places]
        self.plateau.n_stale = other.plateau.n_stale[places]
        if self.early:
            self.best.copy_(other.network.select(other.best, places))

    def get_state(self):
        """Where an adaptive learning rate has come to."""
        rates = [group["lr"] for group in self.rate.groups]
        return {"rates": rates, "best": self.plateau.best, "n_stale": self.plateau.n_stale}

    def set_state(self, state):
        """Continue from what `get_state` returned, where the rate is adaptive."""
        if self.rate.schedule == "adaptive" and len(state["rates"]) == len(self.rate.groups):
            self.plateau.best, self.plateau.n_stale = state["best"], state["n_stale"]
            for group, rate in zip(self.rate.groups, state["rates"]):
                group["lr"] = rate

    def restore_best(self):
        """Go back to the weights of the best validation score."""
        if self.early and np.isfinite(self.plateau.best).any():
            self.network.parameters.copy_(self.best)
