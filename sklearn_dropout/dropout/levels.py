"""Numbers of dropout that both engines compute with: levels of a lane, and moments of the noise."""

from functools import cache
from statistics import NormalDist

import numpy as np

# Values of a 16-bit lane, each of which decides about one unit.
LEVELS = 1 << 16
# Bits of a lane that choose a normal number. The table fits into the fastest cache.
NORMAL_BITS = 12
# What saturated SELU units are near: - scale * alpha (Klambauer et al. 2017, eq. 14).
SELU_FLOOR = -1.7580993408473766


def dropped_levels(rates):
    """Number of the 65536 values of a lane that mean "drop", for rates in [0, 1)."""
    levels = np.rint(np.asarray(rates, dtype=np.float64) * LEVELS)
    return np.minimum(levels, LEVELS - 1).astype(np.int64)


def inverse_kept_fraction(rates):
    """Factor that keeps a dropped layer unbiased: 1 / (1 - rate), for the rate as rounded."""
    return LEVELS / (LEVELS - dropped_levels(rates))


def gaussian_std(rates):
    """Standard deviation of Gaussian dropout: sqrt(rate / (1 - rate)), for the rate as rounded."""
    levels = dropped_levels(rates)
    return np.sqrt(levels / (LEVELS - levels))


def alpha_terms(rates):
    """Numbers a and b of alpha dropout, which keeps mean 0 and variance 1 of SELU units.

    Kept units become ``a * h + b``, dropped ones ``a * SELU_FLOOR + b`` (Klambauer et al. 2017,
    section 2).
    """
    dropped = dropped_levels(rates) / LEVELS
    a = 1 / np.sqrt((1 - dropped) * (1 + dropped * SELU_FLOOR**2))
    return a, -a * dropped * SELU_FLOOR


@cache
def normal_numbers():
    """Quantiles of the normal distribution, equally likely, with mean 0 and variance 1.

    A lookup in a table costs a few times what a mask costs. Sums of lanes, or the method of Box and
    Muller, cost several times as much.

    Returns
    -------
    quantiles : float32 ndarray of shape (2 ** NORMAL_BITS,)
    """
    n = 1 << NORMAL_BITS
    upper = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n // 2, n)])
    quantiles = np.concatenate([-upper[::-1], upper])
    return (quantiles / quantiles.std()).astype(np.float32)
