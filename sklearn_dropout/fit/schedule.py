"""Schedules of the learning rate, and the rule for early stopping."""

import numpy as np

_MIN_ADAPTIVE_RATE = 1e-6
# Of `torch.optim.lr_scheduler.OneCycleLR`, whose defaults these are.
_RISING, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25e4
_WARM_UP = 0.1  # part of the epochs


def _cosine(epoch, n_epochs):
    return 0.5 * (1 + np.cos(np.pi * epoch / n_epochs))


def _one_cycle(epoch, n_epochs):
    peak, last = _RISING * n_epochs - 1, n_epochs - 1
    with np.errstate(divide="ignore", invalid="ignore"):  # one of the two branches is used
        rising = _between(_FIRST, 1.0, epoch / peak)
        falling = _between(1.0, _LAST, (epoch - peak) / (last - peak))
    return np.where(epoch <= peak, rising, falling)


def _between(first, last, share):
    """Interpolate from the first number to the last along a cosine."""
    return last + (first - last) / 2 * (1 + np.cos(np.pi * share))


def _linear_warmup(epoch, n_epochs):
    return np.minimum(1, (epoch + 1) / max(1, round(_WARM_UP * n_epochs)))


# Schedules that depend on the epoch alone, as factors of `learning_rate_init`.
PLANNED = {"cosine": _cosine, "one_cycle": _one_cycle, "linear_warmup": _linear_warmup}


def planned_epochs(first, n_epochs, n_planned):
    """Indices of the next epochs in a schedule; beyond its end the last one is repeated."""
    return np.minimum(np.arange(first, first + n_epochs), n_planned - 1)


class Plateau:
    """Detects that training no longer improves, by the rule of scikit-learn's MLP.

    Parameters
    ----------
    tol : float
        Smallest gain that counts.
    patience : float
        Epochs without such a gain that are tolerated.

    Attributes
    ----------
    best : float
        Best value so far.
    """

    def __init__(self, tol, patience):
        self.tol = tol
        self.patience = patience
        self.best = -np.inf
        self.n_stale = 0

    def update(self, value):
        """Take the value of an epoch, higher is better.

        Returns
        -------
        improved, exhausted : bool
        """
        self.n_stale = self.n_stale + 1 if value < self.best + self.tol else 0
        improved = bool(value > self.best)
        self.best = value if improved else self.best
        return improved, self.n_stale > self.patience


class LearningRate:
    """Learning rates that depend on the training: schedules of scikit-learn's MLP, for SGD.

    Parameters
    ----------
    training : PerceptronTraining or ModuleTraining
        Has the attribute `learning_rate`.
    fit : Fit
    """

    def __init__(self, training, fit):
        recipe = fit.recipe
        self.training = training
        self.schedule = recipe.learning_rate if recipe.solver == "sgd" else "constant"
        self.power_t = recipe.power_t
        self.initial = recipe.learning_rate_init
        # By weight, so that a row of weight k counts like k rows.
        self.n_rows = fit.train.total_weight
        self.n_seen = fit.n_seen_before
        self._invert()

    def _invert(self):
        if self.schedule == "invscaling" and self.n_seen:
            try:
                factor = (self.n_seen + 1) ** self.power_t
            except OverflowError:
                factor = np.inf
            self.training.learning_rate = self.initial / factor

    def epoch_end(self):
        """Follow "invscaling": initial rate / (rows seen + 1) ** power_t."""
        self.n_seen += self.n_rows
        self._invert()

    def decrease(self):
        """Follow "adaptive": divide the rate by 5; False if it cannot be less."""
        if self.schedule != "adaptive" or self.training.learning_rate <= _MIN_ADAPTIVE_RATE:
            return False
        self.training.learning_rate /= 5.0
        return True


class Stopping:
    """Early stopping, learning-rate schedule and the best parameters.

    Parameters
    ----------
    training : PerceptronTraining or ModuleTraining
    fit : Fit

    Attributes
    ----------
    done : bool
        Whether early stopping has ended training.
    """

    def __init__(self, training, fit):
        recipe = fit.recipe
        self.training = training
        self.early = recipe.early_stopping
        self.watches_loss = recipe.learning_rate == "adaptive" and not self.early
        self.rate = LearningRate(training, fit)
        self.plateau = Plateau(recipe.tol, recipe.n_iter_no_change)
        self.best = None
        self.done = False

    def update(self, record):
        """Take the record of an epoch."""
        exhausted = False
        if self.early:
            improved, exhausted = self.plateau.update(record["valid_score"])
            if improved:
                self.best = self.training.copy_parameters()
        elif self.watches_loss:
            _, exhausted = self.plateau.update(-record["train_loss"])
        self.rate.epoch_end()
        if exhausted and self.rate.decrease():
            self.plateau.n_stale = 0
        elif self.early:
            self.done = exhausted

    def get_state(self):
        """State of an adaptive learning rate."""
        rate, plateau = float(self.training.learning_rate), self.plateau
        return {"rate": rate, "best": float(plateau.best), "n_stale": plateau.n_stale}

    def set_state(self, state):
        """Continue from what `get_state` returned, if the rate is adaptive."""
        if self.rate.schedule == "adaptive":
            self.plateau.best, self.plateau.n_stale = state["best"], state["n_stale"]
            self.training.learning_rate = state["rate"]

    def restore_best(self):
        """Go back to the parameters of the best validation score."""
        if self.best is not None:
            self.training.set_parameters(self.best)
