"""Learning rates and dropout rates of the epochs of a call."""

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
        self.n_words = n_words
        self.learning_rates = None
        self.factors = _CONSTANT
        self._unscheduled = self._make_rows()

    def words(self):
        """Maximum number of random words of a step."""
        return int(self._unscheduled[0, at.PLAN_WORDS_INPUT : at.PLAN_LOWEST_INPUT].sum())

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
        stays = self.learning_rates is None and self.factors is _CONSTANT
        rows = self._unscheduled if stays else self._make_rows()
        rows[:, at.PLAN_RATE] = (
            learning_rate if self.learning_rates is None else self.learning_rates
        )
        return rows

    def _make_rows(self):
        """Rows that still lack the learning rates."""
        rates = np.multiply.outer(self.factors, self.rates)
        levels = dropped_levels(rates)
        factors, summands = self._terms(rates)
        planned = 1 if self.learning_rates is None else len(self.learning_rates)
        n_hidden = rates.shape[1] - 2
        rows = np.empty((max(planned, len(rates)), at.PLAN_HIDDEN + 3 * n_hidden))
        rows[:, at.PLAN_SCALE_INPUT : at.PLAN_WORDS_INPUT] = factors[:, :2]
        rows[:, at.PLAN_WORDS_INPUT : at.PLAN_LOWEST_INPUT] = self._words(levels)
        rows[:, at.PLAN_LOWEST_INPUT : at.PLAN_HIDDEN + n_hidden] = levels + _LOWEST_LANE
        rows[:, at.PLAN_HIDDEN + n_hidden : at.PLAN_HIDDEN + 2 * n_hidden] = factors[:, 2:]
        rows[:, at.PLAN_HIDDEN + 2 * n_hidden :] = summands
        return rows

    def _words(self, levels):
        """Random words that each place needs in a step, of shape (n_epochs, 3)."""
        drops = np.empty((len(levels), 3))
        drops[:, :2] = levels[:, :2] > 0
        drops[:, 2] = levels[:, 2:].any(axis=1)
        return drops * self.n_words

    def _terms(self, rates):
        """Factors of what is kept, or standard deviations of the noise; summands of hidden units.

        Returns
        -------
        factors : ndarray of shape (n_epochs, 2 + n_hidden_layers)
        summands : ndarray of shape (n_epochs, n_hidden_layers), or 0.0
            Of alpha dropout.
        """
        if self.dropout_type == "gaussian":
            return gaussian_std(rates), 0.0
        factors, summands = inverse_kept_fraction(rates), 0.0
        # An input that both its rate and that of its group keep is multiplied once.
        factors[:, :2] = factors[:, :1] * factors[:, 1:2]
        if self.dropout_type == "alpha":
            factors[:, 2:], summands = alpha_terms(rates[:, 2:])
        return factors, summands
