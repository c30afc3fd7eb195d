"""Learning rates and dropout rates of the epochs of a call."""

from functools import lru_cache

import numpy as np

from ..dropout.levels import (
    LEVELS,
    alpha_terms,
    dropped_levels,
    gaussian_std,
    inverse_kept_fraction,
)
from . import layout as at

PLACES = "input", "groups", "hidden"
_CONSTANT = np.ones(1)
_LOWEST_LANE = -(LEVELS // 2)


class Plan:
    """Rates of the next epochs.

    Parameters
    ----------
    rates : dict of ndarrays
        Dropout rates of each of PLACES: one, or for "hidden" one for each hidden layer.
    dropout_type : {"bernoulli", "gaussian", "alpha"}
    n_words : list of int
        Random words of each place in a step, if its rate is not zero.

    Attributes
    ----------
    learning_rates : float64 ndarray of shape (n_epochs,), or None
        None for a constant one.
    factors : float64 ndarray of shape (n_epochs,) or (1,)
        Factors of all dropout rates.
    """

    def __init__(self, rates, dropout_type, n_words):
        self.rates = np.concatenate([rates[name] for name in PLACES], axis=None)
        self.dropout_type = dropout_type
        self.n_words = tuple(n_words)
        self.learning_rates = None
        self.factors = _CONSTANT
        self._constant = _constant_row(tuple(self.rates.tolist()), dropout_type, self.n_words)

    def words(self):
        """Maximum number of random words of a step."""
        return int(self._constant[0, at.PLAN_WORDS_INPUT : at.PLAN_LOWEST_INPUT].sum())

    def rows(self, learning_rate):
        """Rows for the compiled loop, one for each epoch, or a single one for all epochs.

        Parameters
        ----------
        learning_rate : float
            Used unless another one is planned.

        Returns
        -------
        rows : float64 ndarray of shape (n_rows, n_columns)
        """
        planned = learning_rate if self.learning_rates is None else self.learning_rates
        if self.factors is _CONSTANT:
            rows = self._constant.repeat(np.size(planned), axis=0)
        else:
            rates = np.multiply.outer(self.factors, self.rates)
            rows = _make_rows(rates, self.dropout_type, self.n_words)
        rows[:, at.PLAN_RATE] = planned
        return rows


@lru_cache(1024)  # a search trains networks with the same rates on many folds
def _constant_row(rates, dropout_type, n_words):
    """The row of rates that stay, read-only and without the learning rate."""
    row = _make_rows(np.array([rates]), dropout_type, n_words)
    row.flags.writeable = False
    return row


def _make_rows(rates, dropout_type, n_words):
    """Rows that still lack the learning rates.

    Parameters
    ----------
    rates : float64 ndarray of shape (n_rows, 2 + n_hidden_layers)
    dropout_type, n_words : as for `Plan`
    """
    levels = dropped_levels(rates)
    factors, summands = _terms(rates, dropout_type)
    n_hidden = rates.shape[1] - 2
    rows = np.empty((len(rates), at.PLAN_HIDDEN + 3 * n_hidden))
    rows[:, at.PLAN_SCALE_INPUT : at.PLAN_WORDS_INPUT] = factors[:, :2]
    rows[:, at.PLAN_WORDS_INPUT : at.PLAN_LOWEST_INPUT] = _drops(levels) * n_words
    rows[:, at.PLAN_LOWEST_INPUT : at.PLAN_HIDDEN + n_hidden] = levels + _LOWEST_LANE
    rows[:, at.PLAN_HIDDEN + n_hidden : at.PLAN_HIDDEN + 2 * n_hidden] = factors[:, 2:]
    rows[:, at.PLAN_HIDDEN + 2 * n_hidden :] = summands
    return rows


def _drops(levels):
    """Whether each place drops anything: bool ndarray of shape (n_rows, 3)."""
    return np.column_stack([levels[:, :2] > 0, levels[:, 2:].any(axis=1)])


def _terms(rates, dropout_type):
    """Factors of what is kept, or standard deviations of the noise; summands of hidden units.

    Returns
    -------
    factors : ndarray of shape (n_rows, 2 + n_hidden_layers)
    summands : ndarray of shape (n_rows, n_hidden_layers), or 0.0
        Of alpha dropout.
    """
    if dropout_type == "gaussian":
        return gaussian_std(rates), 0.0
    factors, summands = inverse_kept_fraction(rates), 0.0
    # An input that both its rate and that of its group keep is multiplied once.
    factors[:, :2] = factors[:, :1] * factors[:, 1:2]
    if dropout_type == "alpha":
        factors[:, 2:], summands = alpha_terms(rates[:, 2:])
    return factors, summands
