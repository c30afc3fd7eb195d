"""Schedules of dropout rates: factors of all rates over the course of a training run."""

import numpy as np

_SHARPNESS = 10  # Morerio et al. 2017, section 4: gamma = 10 / T
_EARLY = 1 / 6  # Liu et al. 2023, section 5: 50 of 300 epochs


def _constant(progress):
    return np.ones_like(progress)


def _linear(progress):
    return 1 - progress


def _early(progress):
    return np.maximum(1 - progress / _EARLY, 0.0)


def _late(progress):
    return np.where(progress < _EARLY, 0.0, 1.0)


def _curriculum(progress):
    return 1 - np.exp(-_SHARPNESS * progress)


def _flat_cos(progress):
    return 0.5 * (1 + np.cos(np.pi * (np.maximum(1, 2 * progress) - 1)))


SCHEDULES = {
    "constant": _constant,
    "linear": _linear,
    "early": _early,
    "late": _late,
    "curriculum": _curriculum,
    "flat_cos": _flat_cos,
}


def rate_factors(schedule, n_epochs):
    """Factor of all dropout rates in each epoch.

    Parameters
    ----------
    schedule : key of SCHEDULES, or callable (progress) -> factor
        Progress is the fraction of the epochs that are done, from 0 to below 1; factors are from
        0 to 1.
    n_epochs : int

    Returns
    -------
    factors : float64 ndarray of shape (n_epochs,)
    """
    progress = np.arange(n_epochs) / n_epochs
    if not callable(schedule):
        return SCHEDULES[schedule](progress)
    factors = [schedule(float(p)) for p in progress]
    for p, factor in zip(progress, factors):
        if not (np.isscalar(factor) and np.isreal(factor) and 0 <= factor <= 1):
            raise ValueError(
                f"dropout_schedule={schedule!r} gives {factor!r} at progress {p:.4g}. It must give "
                "a number from 0 to 1, the factor of the dropout rates."
            )
    return np.array(factors, dtype=np.float64)
