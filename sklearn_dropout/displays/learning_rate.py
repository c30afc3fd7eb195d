"""Figure of the loss against the learning rate."""

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.utils import indexable

from ..checks.random_state import seed_from
from ..checks.validation import _safe_indexing, check_matplotlib_support
from ..estimators.nesting import find_network, inputs_of_network, last_estimator

_TOO_HIGH = 4.0  # times the lowest loss
_SMOOTHING = 0.9


class LearningRateDisplay:
    """Training loss while the learning rate rises from step to step.

    A rate is too small if the loss hardly falls, and too large if it rises. Start with a rate from
    the steep part of the curve, well before its lowest point [1]_. The test is short and cheap; it
    does not replace a search. It is recommended to use :meth:`from_estimator` to create a display.
    All parameters are stored as attributes.

    Parameters
    ----------
    learning_rates : ndarray of shape (n_steps,)
        In increasing order.
    losses : ndarray of shape (n_steps,)
        Training loss of each step, with dropout on.
    smoothed : ndarray of shape (n_steps,)
        Exponential moving average of the losses.
    estimator_name : str, default=None
        For the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
        The smoothed losses.
    points_ : matplotlib Line2D
        The losses.

    References
    ----------
    .. [1] Smith, L. N. (2017). "Cyclical learning rates for training neural networks." WACV,
       section 3.3.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_dropout import DropoutMLPClassifier, LearningRateDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = DropoutMLPClassifier((32,), random_state=0)
    >>> display = LearningRateDisplay.from_estimator(clf, X / 16, y)
    >>> bool(1e-4 < display.steepest < 1)
    True
    """

    def __init__(self, *, learning_rates, losses, smoothed, estimator_name=None):
        self.learning_rates = learning_rates
        self.losses = losses
        self.smoothed = smoothed
        self.estimator_name = estimator_name

    @property
    def steepest(self):
        """Learning rate at which the smoothed loss falls fastest over the logarithm of the rate."""
        end = max(2, int(np.argmin(self.smoothed)) + 1)
        slope = np.gradient(self.smoothed[:end], np.log(self.learning_rates[:end]))
        return float(self.learning_rates[int(np.argmin(slope))])

    def plot(self, ax=None, **kwargs):
        """Draw the losses.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        **kwargs : dict
            For matplotlib's ``plot`` of the smoothed losses.

        Returns
        -------
        display : LearningRateDisplay
            The display itself.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        (self.points_,) = ax.plot(self.learning_rates, self.losses, ".", color="0.8")
        (self.line_,) = ax.plot(
            self.learning_rates, self.smoothed, **{"label": self.estimator_name} | kwargs
        )
        ax.set(xscale="log", xlabel="Learning rate", ylabel="Training loss (dropout on)")
        if self.estimator_name:
            ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        low=1e-5,
        high=10.0,
        n_steps=150,
        random_state=0,
        ax=None,
        name=None,
        **kwargs,
    ):
        """Train a copy of an estimator with a learning rate that increases at each step.

        Parameters
        ----------
        estimator : estimator
            A network of this package, or a pipeline that ends with one. It is cloned.
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        low, high : float, default=1e-5, 10
            Learning rates of the first and the last step; the steps between are spaced evenly on a
            logarithmic scale. The test ends when the loss is four times its lowest value.
        n_steps : int, default=150
            Number of steps, each on a new random batch.
        random_state : int, RandomState instance or None, default=0
            Determines the batches. The network has a `random_state` of its own.
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        name : str, default=None
            For the legend; ``None`` is the name of the class.
        **kwargs : dict
            For :meth:`plot`.

        Returns
        -------
        display : LearningRateDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if not 0 < low < high:
            raise ValueError(f"low={low!r} and high={high!r} must be above 0, and low below high.")
        network, _ = find_network(estimator)
        if network is None:
            raise TypeError(f"estimator={estimator!r} does not end with a network of this package.")
        if isinstance(last_estimator(estimator), TransformedTargetRegressor):
            raise TypeError(
                f"estimator={estimator!r} transforms y. Pass its regressor, with y as transformed."
            )
        X, y = indexable(X, y)
        X = inputs_of_network(estimator, X, lambda steps, X: clone(steps).fit_transform(X, y))
        network = clone(network).set_params(callbacks=None, early_stopping=False, verbose=0)
        rates = np.geomspace(low, high, n_steps)
        losses = _losses(network, X, y, rates, np.random.default_rng(seed_from(random_state)))
        display = cls(
            learning_rates=rates[: len(losses)],
            losses=losses,
            smoothed=_smoothed(losses),
            estimator_name=name or type(network).__name__,
        )
        return display.plot(ax, **kwargs)


def _losses(network, X, y, rates, rng):
    """Training loss of one step with each rate, until it is far too high."""
    n_rows = len(y)
    batch = min(n_rows, 200 if network.batch_size == "auto" else network.batch_size)
    network.set_params(batch_size=batch)
    options = {}
    if is_classifier(network) and np.ndim(y) == 1:
        options = {"classes": np.unique(y)}
    losses = []
    for rate in rates:
        rows = rng.choice(n_rows, batch, replace=False)
        network.set_params(learning_rate_init=float(rate))
        try:
            network.partial_fit(_safe_indexing(X, rows), _safe_indexing(y, rows), **options)
        except ValueError as error:
            if "diverged" not in str(error) or not losses:
                raise
            break
        losses.append(network.loss_)
        smoothed = _smoothed(np.array(losses))
        if len(losses) > 10 and abs(smoothed[-1]) > _TOO_HIGH * abs(smoothed).min():
            break
    return np.array(losses)


def _smoothed(losses):
    """Exponential moving average, corrected for the bias towards its start."""
    average, smoothed = 0.0, np.empty(len(losses))
    for k, loss in enumerate(losses):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        smoothed[k] = average / (1 - _SMOOTHING ** (k + 1))
    return smoothed
