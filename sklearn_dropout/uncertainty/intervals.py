"""Intervals and sets of labels of guaranteed coverage, from predictions of left-out rows.

The networks of one fold have left each row out. Their errors on these rows determine how wide
intervals for new rows must be.

References
----------
Barber, R. F., Candès, E. J., Ramdas, A., Tibshirani, R. J. (2021). "Predictive inference with the
jackknife+." Annals of Statistics 49, 486-507. Romano, Y., Sesia, M., Candès, E. J. (2020).
"Classification with valid and adaptive coverage." NeurIPS 33.
"""

import numpy as np

# Values computed at a time.
_CHUNK_VALUES = 1 << 20


def cv_plus_interval(mean, scale, fold_of_row, residuals, coverage):
    """Bounds of new targets by CV+ (Barber et al. 2021, eq. 11).

    The lower bound is the floor(alpha (n + 1))-th smallest of ``mean - residual * scale``, and the
    upper one the ceil((1 - alpha) (n + 1))-th smallest of ``mean + residual * scale``, over the n
    training rows, whose mean is that of the networks which left the row out. They contain new
    targets with a probability of at least 1 - 2 alpha (up to a term that vanishes with the size of
    the folds), and of about 1 - alpha in practice, whatever the networks, if rows are exchangeable.

    Parameters
    ----------
    mean, scale : ndarrays of shape (n_folds, n_new)
        Of new rows, by the networks that left out each fold; scales are 1 or standard deviations.
    fold_of_row : int ndarray of shape (n_rows,)
    residuals : ndarray of shape (n_rows,)
        Absolute errors on left-out training rows, divided by their scale.
    coverage : float
        1 - alpha.

    Returns
    -------
    lower, upper : ndarrays of shape (n_new,)
        Infinite if there are too few rows for the coverage.
    """
    n_rows, n_new = len(residuals), mean.shape[1]
    # Rounding errors must not turn 0.95 * 20 into more than 19.
    upper_rank = int(np.ceil(round(coverage * (n_rows + 1), 9)))
    bounds = np.full((2, n_new), [[-np.inf], [np.inf]])
    if upper_rank > n_rows:
        return bounds
    lower_rank = n_rows + 1 - upper_rank
    step = max(1, _CHUNK_VALUES // n_rows)
    for start in range(0, n_new, step):
        new = slice(start, start + step)
        middle, width = mean[fold_of_row, new], residuals[:, None] * scale[fold_of_row, new]
        bounds[0, new] = np.partition(middle - width, lower_rank - 1, axis=0)[lower_rank - 1]
        bounds[1, new] = np.partition(middle + width, upper_rank - 1, axis=0)[upper_rank - 1]
    # If networks disagree by more than their errors, an interval of low coverage can be empty.
    empty = bounds[0] > bounds[1]
    bounds[:, empty] = bounds[:, empty].mean(axis=0)
    return bounds


def adaptive_scores(probabilities):
    """For each class the probability of all more probable classes, plus half of its own.

    Scores of adaptive prediction sets (Romano et al. 2020, eq. 5) with 1/2 in place of a random
    number from 0 to 1, so that sets are the same in each call. The guarantee holds for any score;
    with this one the most probable class enters a set first.

    Parameters
    ----------
    probabilities : ndarray of shape (..., n_classes)

    Returns
    -------
    scores : ndarray of the same shape
    """
    order = np.argsort(-probabilities, axis=-1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=-1)
    scores = np.empty_like(ordered)
    np.put_along_axis(scores, order, ordered.cumsum(axis=-1) - ordered / 2, axis=-1)
    return scores


def cv_plus_set(probabilities, fold_of_row, scores, coverage):
    """Labels that a new row may have (Romano et al. 2020, eq. 9, the sets of CV+).

    Parameters
    ----------
    probabilities : ndarray of shape (n_folds, n_new, n_classes)
        Of new rows, by the networks that left out each fold.
    fold_of_row : int ndarray of shape (n_rows,)
    scores : ndarray of shape (n_rows,)
        Of the classes of the training rows, by the networks that left them out.
    coverage : float

    Returns
    -------
    sets : bool ndarray of shape (n_new, n_classes)
        At least the most probable class of each row.
    """
    n_folds, n_new, n_classes = probabilities.shape
    new_scores = adaptive_scores(probabilities)
    below = np.zeros((n_new, n_classes), dtype=np.int64)
    for fold in range(n_folds):
        known = np.sort(scores[fold_of_row == fold])
        below += np.searchsorted(known, new_scores[fold], side="left")
    sets = below < round(coverage * (len(scores) + 1), 9)
    sets[np.arange(n_new), probabilities.mean(axis=0).argmax(axis=1)] = True
    return sets
