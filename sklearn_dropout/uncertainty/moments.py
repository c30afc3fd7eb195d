"""Moments, entropies and likelihoods of samples of predictions.

Samples have shape (n_samples, n_rows, n_outputs): each consists of the predictions of one network,
drawn from the approximate posterior, for all rows [1]_. The reductions take them in blocks, so they
need not be in memory all at once.

References
----------
.. [1] Gal, Y., Ghahramani, Z. (2016). "Dropout as a Bayesian approximation: Representing model
   uncertainty in deep learning." ICML.
.. [2] Depeweg, S., Hernández-Lobato, J. M., Doshi-Velez, F., Udluft, S. (2018). "Decomposition of
   uncertainty in Bayesian deep learning for efficient and risk-sensitive learning." ICML.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import entr, logsumexp

# Samples whose likelihood is computed at a time.
_CHUNK_VALUES = 1 << 20


@dataclass(frozen=True)
class Uncertainty:
    """Predictions with their uncertainty, and the part of it that more training data can reduce.

    For regressors the uncertainties are standard deviations in the units of `y`, and
    ``total**2 = aleatoric**2 + epistemic**2`` (law of total variance). For classifiers they are
    entropies in nats, and ``total = aleatoric + epistemic`` [1]_.

    Attributes
    ----------
    mean : ndarray of shape (n_rows,), (n_rows, n_outputs) or (n_rows, n_classes)
        Mean of the samples: of targets, or of probabilities.
    total : ndarray of shape (n_rows,), or (n_rows, n_outputs or n_labels)
        Standard deviation of a new target; entropy of the mean probabilities.
    aleatoric : ndarray of the same shape
        Uncertainty that remains if the network is known: standard deviation of the noise; mean
        entropy of the samples.
    epistemic : ndarray of the same shape
        Uncertainty about the network, which more data can reduce: standard deviation of the
        samples; mutual information of label and network.

    References
    ----------
    .. [1] Depeweg, S., Hernández-Lobato, J. M., Doshi-Velez, F., Udluft, S. (2018).
       "Decomposition of uncertainty in Bayesian deep learning for efficient and risk-sensitive
       learning." ICML.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dropout import DropoutMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = DropoutMLPClassifier((16,), max_iter=50, random_state=0).fit(X, y)
    >>> uncertainty = clf.predict_uncertainty(X, random_state=0)
    >>> uncertainty.mean.shape, uncertainty.total.shape
    ((150, 3), (150,))
    >>> bool((uncertainty.epistemic <= uncertainty.total).all())
    True
    """

    mean: np.ndarray
    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray


def entropy(probabilities):
    """Entropy in nats of distributions along the last axis."""
    return entr(probabilities).sum(axis=-1)


def label_entropies(probabilities):
    """Entropy in nats of each of several labels, from their probabilities."""
    return entr(probabilities) + entr(1 - probabilities)


class TargetMoments:
    """Mean and variance of samples of targets that come in blocks.

    Sums are those of differences from the first sample of each row, so that variances are accurate
    beside a large mean, and exactly zero if all samples are equal.

    Parameters
    ----------
    n_rows, n_outputs : int
    """

    def __init__(self, n_rows, n_outputs):
        self._first = np.zeros((n_rows, n_outputs))
        self._sum = np.zeros((n_rows, n_outputs))
        self._squares = np.zeros((n_rows, n_outputs))
        self._n_samples = np.zeros((n_rows, 1))

    def add(self, rows, samples):
        """Add samples of shape (n, len(rows), n_outputs) of some rows (a slice)."""
        if not self._n_samples[rows].any():
            self._first[rows] = samples[0]
        difference = np.subtract(samples, self._first[rows], dtype=np.float64)
        self._sum[rows] += difference.sum(axis=0)
        self._squares[rows] += np.square(difference, out=difference).sum(axis=0)
        self._n_samples[rows] += len(samples)

    @property
    def mean(self):
        """Mean over the samples: ndarray of shape (n_rows, n_outputs)."""
        return self._first + self._sum / self._n_samples

    @property
    def variance(self):
        """Mean squared deviation from `mean`: ndarray of shape (n_rows, n_outputs)."""
        shift = self._sum / self._n_samples
        return np.maximum(self._squares / self._n_samples - shift**2, 0.0)

    def uncertainty(self, noise_variance, dtype=np.float64):
        """Apply the law of total variance [2]_.

        Parameters
        ----------
        noise_variance : ndarray that broadcasts to (n_rows, n_outputs)
            Expected variance of the targets around the samples.
        dtype : dtype, default=float64
        """
        variance = self.variance
        noise = np.broadcast_to(noise_variance, variance.shape)
        return _answer(dtype, self.mean, *map(np.sqrt, (noise + variance, noise, variance)))

    def uncertainty_of_heads(self, dtype=np.float64):
        """The same, if the second half of the outputs are variances of the targets.

        Parameters
        ----------
        dtype : dtype, default=float64
        """
        n = self._first.shape[1] // 2
        mean, variance, noise = self.mean[:, :n], self.variance[:, :n], self.mean[:, n:]
        return _answer(dtype, mean, *map(np.sqrt, (noise + variance, noise, variance)))


class ProbabilityMoments:
    """Mean probabilities and mean entropy of samples that come in blocks.

    Parameters
    ----------
    n_rows, n_classes : int
    multilabel : bool, default=False
        Whether each column is a label of its own, rather than one of several classes.
    """

    def __init__(self, n_rows, n_classes, multilabel=False):
        self._entropy = label_entropies if multilabel else entropy
        self._sum = np.zeros((n_rows, n_classes))
        self._entropies = np.zeros((n_rows, n_classes) if multilabel else n_rows)
        self._n_samples = np.zeros(n_rows)

    def add(self, rows, samples):
        """Add samples of shape (n, len(rows), n_classes) of some rows (a slice)."""
        samples = samples.astype(np.float64)
        self._sum[rows] += samples.sum(axis=0)
        self._entropies[rows] += self._entropy(samples).sum(axis=0)
        self._n_samples[rows] += len(samples)

    def uncertainty(self, dtype=np.float64):
        """Predictive entropy, expected entropy and mutual information [2]_.

        The mutual information cannot be negative; values that are negative by rounding become 0.
        """
        mean = self._sum / self._n_samples[:, None]
        total = self._entropy(mean)
        aleatoric = (self._entropies.T / self._n_samples).T
        return _answer(dtype, mean, total, aleatoric, np.maximum(total - aleatoric, 0.0))


def _answer(dtype, *parts):
    """Parts of an `Uncertainty` in a dtype, with one value for each row if there is one output."""
    parts = [part.astype(dtype) for part in parts]
    return Uncertainty(*(p[:, 0] if p.ndim == 2 and p.shape[1] == 1 else p for p in parts))


def predictive_log_likelihood(y, samples, noise_precision):
    r"""Mean log-likelihood of targets under a mixture of Gaussians around samples.

    For :math:`T` samples :math:`\hat y_t` with noise of precision :math:`\tau` [1]_ (eq. 8):
    :math:`\log \sum_t \exp(-\tau \|y - \hat y_t\|^2 / 2) - \log T - \frac12 \log 2\pi +
    \frac12 \log\tau`, averaged over the rows. Several outputs are independent given the sample.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or (n_rows, n_outputs)
        Targets.
    samples : array-like of shape (n_samples, n_rows, n_outputs) or (n_samples, n_rows)
        From `sample_predictions` of a regressor, in the units of `y`.
    noise_precision : float or array-like of shape (n_outputs,), or like `samples`
        Inverse variance of the noise, in the inverse squared units of `y`; above 0. That of a
        fitted regressor is ``1 / reg.noise_std_**2``. If the noise differs between rows, as
        with ``loss='gaussian'`` and ``loss='poisson'``, pass ``1 / std**2`` of ``samples, std =
        reg.sample_predictions(X, return_std=True)``.

    Returns
    -------
    log_likelihood : float
        In nats; higher is better.

    Raises
    ------
    ValueError
        If shapes do not match, or a precision is not a number above 0.

    References
    ----------
    .. [1] Gal, Y., Ghahramani, Z. (2016). "Dropout as a Bayesian approximation: Representing
       model uncertainty in deep learning." ICML, eq. 8.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dropout import predictive_log_likelihood
    >>> y, samples = np.zeros(3), np.zeros((10, 3, 1))
    >>> predictive_log_likelihood(y, samples, noise_precision=1.0)  # -log(2 pi) / 2
    -0.9189...
    """
    y, samples, precision = _checked(y, samples, noise_precision)
    n_samples, n_rows, n_outputs = samples.shape
    step = max(1, _CHUNK_VALUES // (n_samples * n_outputs))
    total = 0.0
    for start in range(0, n_rows, step):
        rows = slice(start, start + step)
        some = precision if precision.shape[1] == 1 else precision[:, rows]
        squares = np.square(samples[:, rows] - y[rows])
        total += logsumexp(0.5 * (np.log(some) - squares * some).sum(axis=-1), axis=0).sum()
    constant = 0.5 * n_outputs * np.log(2 * np.pi)
    return float(total / n_rows - np.log(n_samples) - constant)


def _checked(y, samples, noise_precision):
    """Arguments of `predictive_log_likelihood`, with axes for samples, rows (but `y`), outputs."""
    y, samples = np.asarray(y, dtype=np.float64), np.asarray(samples)
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim != 3 or 0 in samples.shape:
        raise ValueError(
            f"samples has shape {samples.shape}, but (n_samples, n_rows, n_outputs) is expected, "
            "none of them 0: pass what sample_predictions returns."
        )
    flat = samples.shape[2] == 1 and y.shape == samples.shape[1:2]
    if not flat and y.shape != samples.shape[1:]:
        raise ValueError(
            f"y has shape {y.shape}, but samples of shape {samples.shape} are for targets of shape "
            f"{samples.shape[1:]}. Pass the targets of the rows that were sampled."
        )
    precision = np.asarray(noise_precision, dtype=np.float64)
    if precision.shape == samples.shape[:2]:
        precision = precision[:, :, None]
    if precision.shape not in {(), (1,), samples.shape[2:], samples.shape}:
        raise ValueError(
            f"noise_precision has shape {precision.shape}, but there are {samples.shape[2]} "
            "outputs. Give one number for all of them, one for each, or one for each sample."
        )
    if not ((precision > 0) & np.isfinite(precision)).all():
        raise ValueError(
            f"noise_precision={noise_precision!r} must be above 0 and finite: it is the inverse "
            "variance of the noise."
        )
    precision = precision.reshape((1,) * (3 - precision.ndim) + precision.shape)
    return y.reshape(samples.shape[1:]), samples, precision
