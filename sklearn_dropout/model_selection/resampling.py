"""Statistics of scores on resampled data, whose training sets overlap."""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class ResampledMean:
    """The mean of scores, or of differences of scores, over the splits of a resampling.

    Attributes
    ----------
    mean : float
    low, high : float
        Confidence interval of the mean.
    statistic : float
        Mean over its standard error, which follows Student's t.
    p_value : float
        Two-sided, for a mean of zero.
    """

    mean: float
    low: float
    high: float
    statistic: float
    p_value: float


def resampled_mean(values, test_to_train, confidence_level=0.95):
    """Mean over splits with the corrected resampled t-test [1]_.

    Training sets of different splits share rows, so their scores are correlated, and the usual
    variance of a mean, ``s**2 / n``, is too small. Nadeau and Bengio replace it by
    ``(1 / n + n_test / n_train) * s**2``, with n - 1 degrees of freedom.

    Parameters
    ----------
    values : array-like of shape (n_splits,)
        Scores, or paired differences of scores, at least two.
    test_to_train : float
        Test rows over training rows.
    confidence_level : float, default=0.95
        Of the interval.

    Returns
    -------
    result : ResampledMean
        Statistic and p-value are NaN if all splits have the same nonzero value: it does not tell
        how much values vary.

    References
    ----------
    .. [1] Nadeau, C., Bengio, Y. (2003). "Inference for the generalization error." Machine
       Learning 52, 239-281 (section 3, the variance of equation 9).

    Examples
    --------
    >>> from sklearn_dropout.model_selection.resampling import resampled_mean
    >>> result = resampled_mean([0.02, 0.05, -0.01, 0.04], test_to_train=0.25)
    >>> round(result.statistic, 3), round(result.p_value, 3)
    (1.336, 0.274)
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n < 2:
        raise ValueError(f"values has {n} splits; the variance needs at least 2.")
    mean = values.mean()
    error = np.sqrt(values.var(ddof=1) * (1 / n + test_to_train))
    if error <= 1e-9 * abs(mean):  # equal in all splits: their variance is unknown
        statistic, p_value = (0.0, 1.0) if mean == 0 else (np.nan, np.nan)
    else:
        statistic = mean / error
        p_value = 2 * stats.t.sf(abs(statistic), n - 1)
    half = error * stats.t.ppf((1 + confidence_level) / 2, n - 1)
    return ResampledMean(*map(float, (mean, mean - half, mean + half, statistic, p_value)))


def holm(p_values):
    """P-values adjusted for the number of tests by Holm's step-down method [1]_.

    Rejecting hypotheses with an adjusted p-value below 5 % keeps the probability of any false
    rejection below 5 %, however the tests depend on each other.

    Parameters
    ----------
    p_values : array-like of shape (n_tests,)

    Returns
    -------
    adjusted : ndarray of shape (n_tests,)

    References
    ----------
    .. [1] Holm, S. (1979). "A simple sequentially rejective multiple test procedure."
       Scandinavian Journal of Statistics 6, 65-70.

    Examples
    --------
    >>> from sklearn_dropout.model_selection.resampling import holm
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(p_values[order] * factors)
    return np.minimum(adjusted, 1)
