"""Figure of the coverage of prediction intervals."""

import numpy as np
from scipy.stats import norm
from sklearn.compose import TransformedTargetRegressor
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ..checks.validation import check_matplotlib_support
from ..estimators.nesting import inputs_of_network, last_estimator

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


class IntervalCoverageDisplay:
    """Observed against nominal coverage of prediction intervals.

    Intervals with the right coverage are on the diagonal; those below it are too narrow, those
    above it too wide. It is recommended to use :meth:`from_estimator` to create a display. All
    parameters are stored as attributes.

    Parameters
    ----------
    nominal : ndarray of shape (n_levels,)
        Fraction of the targets that intervals should contain.
    found : ndarray of shape (n_levels,)
        Fraction that they contain.
    width : ndarray of shape (n_levels,)
        Mean width, in the units of the targets.
    n_samples : int
        Number of targets.
    estimator_name : str, default=None
        For the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
    diagonal_ : matplotlib Line2D
    band_ : matplotlib PolyCollection or None
        Contains 95 % of the observed fractions if the nominal coverage is right and targets are
        independent.

    See Also
    --------
    DropoutEnsembleRegressor : Intervals of guaranteed coverage.
    sklearn.calibration.CalibrationDisplay : Calibration of probabilities.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_dropout import DropoutMLPRegressor, IntervalCoverageDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = DropoutMLPRegressor((32,), random_state=0).fit(X[:300], y[:300])
    >>> display = IntervalCoverageDisplay.from_estimator(reg, X[300:], y[300:], random_state=0)
    >>> display.found.shape
    (10,)
    """

    def __init__(self, *, nominal, found, width, n_samples, estimator_name=None):
        self.nominal = nominal
        self.found = found
        self.width = width
        self.n_samples = n_samples
        self.estimator_name = estimator_name

    def plot(self, ax=None, *, name=None, show_band=True, **kwargs):
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure. Several estimators may share axes.
        name : str, default=None
            For the legend; ``None`` is `estimator_name`.
        show_band : bool, default=True
            Whether to draw the band of random variation around the diagonal.
        **kwargs : dict
            For matplotlib's ``plot`` of the curve.

        Returns
        -------
        display : IntervalCoverageDisplay
            The display itself.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        name = self.estimator_name if name is None else name
        levels = np.linspace(0, 1, 101)
        (self.diagonal_,) = ax.plot([0, 1], [0, 1], ls=":", color="black")
        self.band_ = None
        if show_band:
            spread = 1.96 * np.sqrt(levels * (1 - levels) / self.n_samples)
            band = np.clip([levels - spread, levels + spread], 0, 1)
            self.band_ = ax.fill_between(levels, *band, color="0.9", lw=0)
        (self.line_,) = ax.plot(
            self.nominal, self.found, **{"marker": "o", "ms": 4, "label": name} | kwargs
        )
        ax.set(xlabel="Nominal coverage", ylabel="Found coverage", aspect="equal")
        if name:
            ax.legend(loc="upper left")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, levels=LEVELS, random_state=None, ax=None, name=None, **kwargs
    ):
        """Compare the intervals of a fitted regressor with targets that it has not seen.

        Parameters
        ----------
        estimator : estimator
            Fitted, or a fitted ``Pipeline`` that ends with one. Intervals of an ensemble with `cv`
            are those of ``predict_interval``; those of other regressors with
            ``predict(X, return_std=True)`` are those of a normal distribution.
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            Targets.
        levels : array-like of float, default=(0.1, ..., 0.9, 0.95)
            Nominal coverages, in (0, 1).
        random_state : int, RandomState instance or None, default=None
            Determines dropout masks, if ``predict`` of the estimator takes a `random_state`.
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        name : str, default=None
            For the legend; ``None`` is the name of the class.
        **kwargs : dict
            For :meth:`plot`.

        Returns
        -------
        display : IntervalCoverageDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        last = last_estimator(estimator)
        if isinstance(last, TransformedTargetRegressor):
            raise TypeError(
                f"estimator={estimator!r} transforms y. Pass its regressor_, with y as transformed."
            )
        inputs = inputs_of_network(estimator, X)
        y, levels = np.asarray(y, dtype=float), np.asarray(levels, dtype=float)
        check_consistent_length(X, y)
        if y.ndim != 1:
            raise ValueError(f"y has shape {y.shape}; draw one output at a time, of shape (n,).")
        if not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"levels={levels.tolist()} must be above 0 and below 1.")
        bounds = [interval(inputs) for interval in _intervals(last, levels, random_state, inputs)]
        display = cls(
            nominal=levels,
            found=np.array([np.mean((low <= y) & (y <= high)) for low, high in bounds]),
            width=np.array([np.mean(high - low) for low, high in bounds]),
            n_samples=len(y),
            estimator_name=name or type(last).__name__,
        )
        return display.plot(ax, **kwargs)


def _intervals(estimator, levels, random_state, X):
    """For each level a function from inputs to bounds."""
    if getattr(estimator, "oob_prediction_", None) is not None:
        return [lambda X, level=level: estimator.predict_interval(X, level) for level in levels]
    if not hasattr(estimator, "predict"):
        raise TypeError(f"{estimator!r} does not predict.")
    options = {} if random_state is None else {"random_state": random_state}
    try:
        mean, std = estimator.predict(X, return_std=True, **options)
    except TypeError as error:
        raise TypeError(
            f"{type(estimator).__name__} has no intervals: it needs predict_interval, or "
            "predict(X, return_std=True)."
        ) from error
    factors = norm.ppf(0.5 + levels / 2)
    return [lambda _, f=factor: (mean - f * std, mean + f * std) for factor in factors]
