"""The stages of a fit, in order: its call, the checked data, the fit ready to run, its outcome."""

from dataclasses import dataclass, field

import numpy as np

from ..dropout.kinds import DropoutSettings
from ..dropout.streams import Streams
from .samples import Sample


@dataclass
class FitCall:
    """The arguments of a call of `fit` or `partial_fit`.

    Attributes
    ----------
    X, y, sample_weight : as in `fit`
    validation : tuple (X_val, y_val, sample_weight_val)
    partial : bool, default=False
        Whether this is `partial_fit`: one epoch that continues the previous call.
    classes : array-like, default=None
        For the first call of `partial_fit`.
    """

    X: object
    y: object
    sample_weight: object = None
    validation: tuple = (None, None, None)
    partial: bool = False
    classes: object = None


@dataclass
class CheckedData:
    """The checked data of a call, and what every network learns from them.

    Attributes
    ----------
    X, y, weight : as in `Sample`, before rows are chosen
    learned : dict
        Attributes of the learner.
    key : tuple
        Parameters of the learner that the checks depend on.
    """

    X: object
    y: np.ndarray
    weight: np.ndarray | None
    learned: dict
    key: tuple = ()


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the names are those of the estimators' parameters.

    Attributes
    ----------
    max_norm : float
        Infinity for no bound.
    max_iter : int
        Epochs of this call.
    n_planned : int
        Epochs that schedules span.
    dropout_factors : ndarray of shape (n_planned,), or None
        Factor of all dropout rates in each of these epochs; ``None`` for constant rates.
    """

    learning_rate_init: float
    alpha: float
    max_norm: float
    batch_size: int
    max_iter: int
    n_planned: int
    shuffle: bool
    solver: object
    beta_1: float
    beta_2: float
    epsilon: float
    momentum: float
    nesterovs_momentum: bool
    learning_rate: str
    dropout_factors: np.ndarray | None
    power_t: float
    early_stopping: bool
    n_iter_no_change: float
    tol: float
    device: str


def nothing_shared(name, key, compute):
    """The result of `compute`, which a fit on its own shares with no other."""
    return compute()


@dataclass
class Fit:
    """A fit that is ready to run.

    Attributes
    ----------
    estimator : DropoutNetwork
        Untouched until `finish`.
    learner : DropoutNetwork
        Its shallow copy, with the attributes that are known before training: classes, scales,
        checked parameters.
    partial : bool
        Whether this is a call of `partial_fit`.
    checked : CheckedData
    train : Sample
    valid : Sample or None
    recipe : Recipe
    dropout : DropoutSettings
    loss : Loss
    dtype : dtype
        Of the fitted weights: that of the data as given, so that predicting similar data needs no
        conversion.
    learned : dict
        Attributes of `learner` that are known before training. Fits of the same rows share all of
        them but the dropout rates.
    seed : int
        Of the initial weights.
    streams : Streams
        Of batches and masks.
    score : str or None
        Key of ``evaluation.SCORES``: the score to record after each epoch on each sample.
    scorers : dict or None
        Instead of `score`: ``{"train" or "valid": callable (weights, biases) -> float}``.
    parameters : (weights, biases) or None
        Initial parameters; ``None`` draws new ones.
    n_epochs_before : int
    n_seen_before : float
        Epochs of the earlier calls that this one continues, and the weight of the rows seen there.
    training_state : tuple, default=None
        State of the optimiser and of an adaptive learning rate, to continue from.
    monitor : Monitor, default=None
        Of a run with callbacks: holds its history.
    shared : callable (name, key, compute) -> result
        A result that fits of a search share if its name, and the key of all that it depends on, are
        equal; not to be changed.
    """

    estimator: object
    learner: object
    partial: bool
    checked: CheckedData
    train: Sample
    valid: Sample | None
    recipe: Recipe
    dropout: DropoutSettings
    loss: object
    dtype: type
    learned: dict
    seed: int
    streams: Streams
    score: str | None = None
    scorers: dict | None = None
    parameters: tuple | None = None
    n_epochs_before: int = 0
    n_seen_before: float = 0.0
    training_state: tuple | None = None
    monitor: object = None
    shared: object = nothing_shared

    @property
    def continues(self):
        """Whether the fit continues an earlier one."""
        return self.parameters is not None

    @property
    def largest_batch(self):
        """Number of rows of the largest batch."""
        return min(self.recipe.batch_size, self.train.n_rows)

    def finish(self, outcome):
        """Give the estimator the fitted attributes; a failed run raises and changes nothing."""
        if outcome.error:
            raise ValueError(outcome.error)
        self.learner._keep(self, outcome)
        self.estimator.__dict__ = dict(vars(self.learner))  # at once, whatever interrupts


@dataclass
class Outcome:
    """The result of a training run.

    Attributes
    ----------
    weights, biases : lists of ndarrays
    curves : dict of lists of float, one value for each epoch
        ``train_loss`` and, where recorded, ``valid_loss``, ``train_score``, ``valid_score``.
    error : str
        Why training failed; empty if it did not.
    training_state : tuple or None
        For the next call of ``partial_fit`` to continue from.
    noise : ndarray of shape (n_outputs,), default=None
        Of a regression loss: variance of the targets around the outputs (or its ratio to the mean,
        depending on ``Loss.noise``) in the units of the network.
    rates : list of ((place, site), rate)
        Dropout rates that were learned.
    """

    weights: list
    biases: list
    curves: dict
    error: str
    training_state: tuple | None
    noise: np.ndarray | None = None
    rates: list = field(default_factory=list)
