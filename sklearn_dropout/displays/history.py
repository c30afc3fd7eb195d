"""Figure of the training of a network."""

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..checks.validation import check_matplotlib_support
from ..estimators.base import DropoutNetwork


def fitted_network(estimator):
    """The fitted network in a search, a pipeline or a target transformer."""
    check_is_fitted(estimator)
    if hasattr(estimator, "best_estimator_"):
        return fitted_network(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        return fitted_network(estimator.steps[-1][1])
    if isinstance(estimator, TransformedTargetRegressor):
        return fitted_network(estimator.regressor_)
    if not isinstance(estimator, DropoutNetwork):
        raise TypeError(
            f"estimator={estimator!r} has no training history. Give a fitted network of this "
            "package, or a pipeline or search that ends with one."
        )
    return estimator


_COLORS = {"Validation": {"color": "C0"}}
_COLORS |= {label: {"color": "C1"} for label in ("Train", "Train (dropout on)")}


class TrainingHistoryDisplay:
    """Training and validation curves of a network.

    It is recommended to use :meth:`from_estimator` to create a display. All parameters are stored
    as attributes.

    Parameters
    ----------
    epochs : array-like of shape (n_epochs,)
        Numbers of the epochs.

    train_loss, valid_loss : array-like of shape (n_epochs,), default=None
        Losses of each epoch; ``None`` or NaN if missing. The training loss is recorded with dropout
        on, so it may be larger than the validation loss.

    train_score, valid_score : array-like of shape (n_epochs,), default=None
        Scores after each epoch, with dropout off.

    dropout_rate : array-like of shape (n_epochs,) or (n_epochs, n_layers), default=None
        Dropout rates of the hidden layers in each epoch.

    best_epoch : int, default=None
        Epoch whose weights early stopping restored.

    score_name : str, default=None
        Name of the score.

    estimator_name : str, default=None
        Prefix of the labels.

    dropout_on : bool, default=True
        Whether the legend says that the training loss is with dropout on.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        The curves: training, then validation; or the rate of each layer.
    best_line_ : matplotlib Line2D or None
        Vertical line at `best_epoch`.

    See Also
    --------
    DropoutRateDisplay : Scores against the dropout rate.
    OverfittingDisplay : Training and test scores of several estimators.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_dropout import DropoutMLPClassifier, TrainingHistoryDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)
    >>> clf = DropoutMLPClassifier((16,), max_iter=20, random_state=0)
    >>> clf = clf.fit(X_train, y_train, X_val=X_val, y_val=y_val)
    >>> display = TrainingHistoryDisplay.from_estimator(clf)
    >>> [line.get_label() for line in display.lines_]
    ['Train (dropout on)', 'Validation']
    """

    def __init__(
        self,
        *,
        epochs,
        train_loss=None,
        valid_loss=None,
        train_score=None,
        valid_score=None,
        dropout_rate=None,
        best_epoch=None,
        score_name=None,
        estimator_name=None,
        dropout_on=True,
    ):
        self.epochs = epochs
        self.train_loss = train_loss
        self.valid_loss = valid_loss
        self.train_score = train_score
        self.valid_score = valid_score
        self.dropout_rate = dropout_rate
        self.best_epoch = best_epoch
        self.score_name = score_name
        self.estimator_name = estimator_name
        self.dropout_on = dropout_on

    def plot(self, ax=None, *, quantity="loss", name=None, line_kw=None):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        quantity : {'loss', 'score', 'dropout_rate'}, default='loss'
            Quantity to draw; rates are recorded if a `dropout_schedule` changes them.
        name : str, default=None
            Prefix of the labels; ``None`` is `estimator_name`.
        line_kw : dict, default=None
            For matplotlib's ``plot`` of the curves.

        Returns
        -------
        display : TrainingHistoryDisplay
            The display itself.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        curves = self._curves(quantity)
        if ax is None:
            _, ax = plt.subplots()
        name = self.estimator_name if name is None else name
        prefix = "" if name is None else f"{name}: "
        self.lines_ = []
        for label, curve in curves.items():
            style = {"label": prefix + label} | _COLORS.get(label, {}) | (line_kw or {})
            self.lines_ += ax.plot(self.epochs, curve, **style)
        self.best_line_ = None
        if self.best_epoch is not None:
            label = f"{prefix}Best epoch"
            self.best_line_ = ax.axvline(self.best_epoch, color="0.5", ls="--", lw=1, label=label)
        names = {"loss": "Loss", "score": self.score_name or "Score"}
        ax.set(xlabel="Epoch", ylabel=names.get(quantity, "Dropout rate"))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _curves(self, quantity):
        """Labels and values of the curves to draw."""
        if quantity == "dropout_rate":
            return self._rates()
        if quantity not in ("loss", "score"):
            raise ValueError(
                f"quantity={quantity!r} is unknown. Choose 'loss', 'score' or 'dropout_rate'."
            )
        noisy = quantity == "loss" and self.dropout_on
        train = "Train (dropout on)" if noisy else "Train"
        curves = {
            train: getattr(self, f"train_{quantity}"),
            "Validation": getattr(self, f"valid_{quantity}"),
        }
        curves = {label: curve for label, curve in curves.items() if curve is not None}
        if not curves:
            raise ValueError(
                f"There is no {quantity} to draw: none was recorded. Fit with `scoring`, or with "
                "validation data (`X_val`, `y_val`, or early_stopping=True)."
            )
        return curves

    def _rates(self):
        """Labels and dropout rates of the hidden layers, or of all if they are equal."""
        if self.dropout_rate is None:
            raise ValueError(
                "There is no dropout_rate to draw: rates are recorded if a dropout_schedule "
                "other than 'constant' changes them."
            )
        rates = np.asarray(self.dropout_rate, dtype=float)
        if rates.ndim == 1:
            return {"Hidden layers": rates}
        return {f"Hidden layer {k}": layer for k, layer in enumerate(rates.T, 1)}

    @classmethod
    def from_estimator(cls, estimator, *, quantity="loss", name=None, ax=None, line_kw=None):
        """Draw the history of a fitted network.

        Parameters
        ----------
        estimator : estimator
            A fitted network of this package; or a pipeline, a target transformer or a refitted
            search that ends with one.
        quantity : {'loss', 'score', 'dropout_rate'}, default='loss'
            Quantity to draw; rates are recorded if a `dropout_schedule` changes them.
        name : str, default=None
            Prefix of the labels.
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        line_kw : dict, default=None
            For matplotlib's ``plot`` of the curves.

        Returns
        -------
        display : TrainingHistoryDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        network = fitted_network(estimator)
        rows = list(network.history_)
        curves = {
            key: [row.get(key, np.nan) for row in rows]
            for key in ("train_loss", "valid_loss", "train_score", "valid_score", "dropout_rate")
            if any(key in row for row in rows)
        }
        best, first = None, len(rows) - network.n_iter_  # of the last fit, with warm_start
        scores = curves.get("valid_score", [])[first:]
        stopped_early = network.best_loss_ is None
        if stopped_early and not np.isnan(scores).all():
            best = rows[first + int(np.nanargmax(scores))]["epoch"]
        display = cls(
            epochs=[row["epoch"] for row in rows],
            best_epoch=best,
            score_name=_score_name(network),
            estimator_name=name,
            dropout_on=any(rates.any() for rates in network._fitted_dropout.rates.values()),
            **curves,
        )
        return display.plot(ax, quantity=quantity, line_kw=line_kw)


def _score_name(network):
    """Name of the score that a network records in each epoch."""
    scoring = network._default_scoring if network.scoring is None else network.scoring
    return scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "Score")
