"""What a training run is given and what it gives back."""

from dataclasses import dataclass

import numpy as np

from ._random import Streams
from ._samples import Sample


@dataclass(frozen=True)
class Recipe:
    """What all networks of a stack share; the names are those of the estimators' parameters."""

    batch_size: int
    max_iter: int
    shuffle: bool
    solver: object
    beta_1: float
    beta_2: float
    epsilon: float
    momentum: float
    nesterovs_momentum: bool
    learning_rate: str
    power_t: float
    early_stopping: bool
    n_iter_no_change: float
    tol: float
    device: str


@dataclass
class Problem:
    """What one network is to learn, and the numbers in which networks of a stack may differ.

    Attributes
    ----------
    train : Sample
    valid : Sample or None
    seed : int
        Of the initial weights.
    streams : Streams
        Of batches and masks.
    learning_rate_init, alpha : float
    max_norm : float
        Infinity for none.
    score : str or None
        Key of ``_evaluation.SCORES``: what to record in each epoch on each sample.
    scorers : dict, default=None
        Instead of `score`: ``{"train" or "valid": callable (weights, biases) -> float}``.
    n_epochs_before : int
    n_seen_before : float
        Epochs of earlier calls that this one continues, and the weight of the rows they have seen.
    training_state : tuple, default=None
        State of the optimiser and of an adaptive learning rate, to continue from.
    """

    train: Sample
    valid: Sample | None
    seed: int
    streams: Streams
    learning_rate_init: float
    alpha: float
    max_norm: float = np.inf
    score: str | None = None
    scorers: dict | None = None
    n_epochs_before: int = 0
    n_seen_before: float = 0.0
    training_state: tuple | None = None


@dataclass
class Outcome:
    """What became of one network.

    Attributes
    ----------
    weights, biases : lists of ndarrays
    curves : dict of lists of float, one value for each epoch
        ``train_loss`` and, where recorded, ``valid_loss``, ``train_score``, ``valid_score``.
    error : str
        Why training failed; empty where it did not.
    training_state : tuple or None
        For a later problem to continue from; ``None`` in stacks of several networks.
    noise : ndarray of shape (n_outputs,), default=None
        Of a loss of numbers: variance of the targets around the outputs (as a multiple of the mean,
        where ``Loss.noise`` says so) in the network's units.
    """

    weights: list
    biases: list
    curves: dict
    error: str
    training_state: tuple | None
    noise: np.ndarray | None = None
