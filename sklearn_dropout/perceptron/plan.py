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
        self.rates = {name: np.atleast_1d(rates[name]) for name in PLACES}
        self.dropout_type = dropout_type
        self.n_words = n_words
        self.learning_rates = None
        self.factors = _CONSTANT
        self._made = None  # learning rate and rows of the last call, if nothing was planned

    def words(self):
        """Maximum number of random words of a step."""
        drops = [dropped_levels(self.rates[name]).any() for name in PLACES]
        return sum(n for n, drop in zip(self.n_words, drops) if drop)

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
        if not stays or self._made is None or self._made[0] != learning_rate:
            self._made = learning_rate, self._make_rows(learning_rate)
        return self._made[1]

    def _make_rows(self, learning_rate):
        rates = {name: self.factors[:, None] * self.rates[name] for name in PLACES}
        levels = {name: dropped_levels(rates[name]) for name in PLACES}
        n_hidden = levels["hidden"].shape[1]
        planned = 1 if self.learning_rates is None else len(self.learning_rates)
        rows = np.zeros((max(planned, len(self.factors)), at.PLAN_HIDDEN + 3 * n_hidden))
        known = self.learning_rates is not None
        rows[:, at.PLAN_RATE] = self.learning_rates if known else learning_rate
        for place, name in enumerate(PLACES):
            drops = levels[name].any(axis=1)
            rows[:, at.PLAN_WORDS_INPUT + place] = np.where(drops, self.n_words[place], 0)
        rows[:, at.PLAN_LOWEST_INPUT] = levels["input"][:, 0] + _LOWEST_LANE
        rows[:, at.PLAN_LOWEST_GROUPS] = levels["groups"][:, 0] + _LOWEST_LANE
        rows[:, [at.PLAN_SCALE_INPUT, at.PLAN_SCALE_GROUPS]] = self._of_inputs(rates)
        rows[:, at.PLAN_HIDDEN :] = np.hstack(
            [levels["hidden"] + _LOWEST_LANE, *self._of_hidden(rates["hidden"])]
        )
        return rows

    def _of_inputs(self, rates):
        """Factors of kept inputs and groups, or standard deviations of their noise."""
        if self.dropout_type == "gaussian":
            return np.hstack([gaussian_std(rates[name]) for name in PLACES[:2]])
        # An input that both keep is multiplied once.
        both = inverse_kept_fraction(rates["input"]) * inverse_kept_fraction(rates["groups"])
        return np.hstack([both, both])

    def _of_hidden(self, rates):
        """The same for hidden units; for alpha dropout `a` and `b` of `alpha_terms`."""
        if self.dropout_type == "alpha":
            return alpha_terms(rates)
        scale = gaussian_std if self.dropout_type == "gaussian" else inverse_kept_fraction
        return scale(rates), np.zeros_like(rates)
