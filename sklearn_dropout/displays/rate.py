"""Figure of the score against the dropout rate."""

import numpy as np

from ..checks.validation import check_matplotlib_support
from ..estimators.nesting import find_network
from ..model_selection.search import DropoutSearchCV
from .rate_results import (
    candidates_by_rate,
    chosen_metric,
    is_confounded,
    name_of_score,
    rate_parameter,
    scores_of,
)

DEFAULT_RATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


class DropoutRateDisplay:
    """Training and test score against the dropout rate, with a band.

    It is recommended to use :meth:`from_search` or :meth:`from_estimator` to create a display.
    All parameters are stored as attributes.

    Parameters
    ----------
    dropout_rates : array-like of shape (n_rates,)
        The rates, in increasing order.

    test_scores : ndarray of shape (n_rates, n_splits)
        Scores on test rows; a split may be repeated with several seeds.

    train_scores : ndarray of shape (n_rates, n_splits), default=None
        Scores on training rows, if recorded.

    param_name : str, default='dropout_rate'
        Name of the rate.

    score_name : str, default=None
        Name of the score.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        Mean training scores, if any, and mean test scores.
    fill_between_ : list of matplotlib PolyCollection or None
        Bands of one standard deviation over the splits on either side.

    See Also
    --------
    sklearn.model_selection.ValidationCurveDisplay : Scores against any parameter.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dropout import DropoutMLPClassifier, DropoutRateDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = DropoutMLPClassifier((16, 8), max_iter=20, random_state=0)
    >>> display = DropoutRateDisplay.from_estimator(clf, X, y, dropout_rates=[0.0, 0.2, 0.4])
    >>> display.test_scores.shape
    (3, 5)
    """

    def __init__(
        self,
        *,
        dropout_rates,
        test_scores,
        train_scores=None,
        param_name="dropout_rate",
        score_name=None,
    ):
        self.dropout_rates = dropout_rates
        self.test_scores = test_scores
        self.train_scores = train_scores
        self.param_name = param_name
        self.score_name = score_name

    def plot(
        self,
        ax=None,
        *,
        negate_score=False,
        score_name=None,
        std_display_style="fill_between",
        line_kw=None,
        fill_between_kw=None,
    ):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        negate_score : bool, default=False
            Whether to draw the negative of the scores, for those that begin with ``neg_``.
        score_name : str, default=None
            Label of the axis; ``None`` is what the scores are.
        std_display_style : {'fill_between'} or None, default='fill_between'
            Whether to draw a band of one standard deviation over the splits on either side.
        line_kw : dict, default=None
            For matplotlib's ``plot`` of the mean scores.
        fill_between_kw : dict, default=None
            For matplotlib's ``fill_between`` of the bands.

        Returns
        -------
        display : DropoutRateDisplay
            The display itself.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        if std_display_style not in ("fill_between", None):
            raise ValueError(
                f"std_display_style={std_display_style!r} is unknown. "
                "Choose 'fill_between' or None."
            )
        if ax is None:
            _, ax = plt.subplots()
        styles = (("Train", self.train_scores, "C1", "o"), ("Test", self.test_scores, "C0", "s"))
        self.lines_, bands = [], []
        for label, scores, color, marker in styles:
            if scores is None:
                continue
            scores = (-1 if negate_score else 1) * np.ma.masked_invalid(scores)
            mean, std = (values.filled(np.nan) for values in (scores.mean(1), scores.std(1)))
            style = {"label": label, "color": color, "marker": marker} | (line_kw or {})
            self.lines_ += ax.plot(self.dropout_rates, mean, **style)
            if std_display_style is not None:
                style = {"color": color, "alpha": 0.2, "lw": 0} | (fill_between_kw or {})
                bands.append(ax.fill_between(self.dropout_rates, mean - std, mean + std, **style))
        self.fill_between_ = bands or None
        score_name = self.score_name if score_name is None else score_name
        ax.set(xlabel=self.param_name, ylabel=label_of_score(score_name, negate_score))
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_search(cls, search, *, param_name=None, metric=None, fixed=None, ax=None, **kwargs):
        """Draw the scores of a search over dropout rates.

        If the search varied other parameters as well, each rate is shown with the values of its
        best mean test score, which makes it look slightly too good; `fixed` selects values instead.
        Candidates that differ only in `random_state` are repeats, and all of them are shown. If
        every rate has different values of the other parameters, as in a randomized search over
        several parameters, the points are not connected, since differences between them are not due
        to the rate alone.

        Parameters
        ----------
        search : DropoutSearchCV, GridSearchCV or the like
            Fitted; with ``return_train_score=True`` training scores are drawn, too.
        param_name : str, default=None
            Parameter of the rate, such as ``"mlp__dropout_rate"``; ``None`` is the only one in the
            search whose name ends in ``dropout_rate``. In lists of rates only that of one layer
            may vary (``[0, 0.1]``, ``[0, 0.2]``, ...), which is drawn.
        metric : str, default=None
            Score to draw, if the search has several; ``None`` is the one of `refit`.
        fixed : dict, default=None
            Values of other parameters that candidates must have.
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        **kwargs : dict
            For :meth:`plot`.

        Returns
        -------
        display : DropoutRateDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_search")
        if not hasattr(search, "cv_results_"):
            raise ValueError(f"search={search!r} has no cv_results_. Fit it first.")
        results = search.cv_results_
        param_name = rate_parameter(results["params"], param_name)
        metric = chosen_metric(search, metric)
        chosen = candidates_by_rate(results, param_name, metric, fixed or {})
        scores = {part: scores_of(results, chosen, part, metric) for part in ("train", "test")}
        display = cls(
            dropout_rates=np.array(list(chosen)),
            train_scores=scores["train"],
            test_scores=scores["test"],
            param_name=param_name,
            score_name=name_of_score(search, metric),
        )
        if is_confounded(results, param_name, fixed or {}):
            kwargs["line_kw"] = {"linestyle": "none"} | (kwargs.get("line_kw") or {})
            kwargs.setdefault("std_display_style", None)
        return display.plot(ax, **kwargs)

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        dropout_rates=DEFAULT_RATES,
        param_name=None,
        cv=None,
        scoring=None,
        groups=None,
        n_jobs=None,
        ax=None,
        **kwargs,
    ):
        """Cross-validate an estimator with several dropout rates and draw the scores.

        Parameters
        ----------
        estimator : estimator
            A network of this package, or a pipeline or target transformer that ends with one;
            with `param_name`, anything. Cloned before it is fitted.
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        dropout_rates : array-like of float, default=(0.0, 0.1, ..., 0.8)
            The rates to try, each in [0, 1).
        param_name : str, default=None
            Parameter of the rate; ``None`` is the network's `dropout_rate`.
        cv : int, cross-validation generator or iterable, default=None
            As in :class:`DropoutSearchCV`.
        scoring : str or callable, default=None
            One score; ``None`` is the estimator's own.
        groups : array-like of shape (n_samples,), default=None
            For a `cv` that keeps groups of rows together.
        n_jobs : int, default=None
            Workers, as in :class:`DropoutSearchCV`.
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        **kwargs : dict
            For :meth:`plot`.

        Returns
        -------
        display : DropoutRateDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if param_name is None:
            network, prefix = find_network(estimator)
            if network is None:
                raise TypeError(
                    f"estimator={estimator!r} does not end with a network of this package. "
                    "Pass the name of the parameter of the rate as param_name."
                )
            param_name = f"{prefix}dropout_rate"
        search = DropoutSearchCV(
            estimator,
            {param_name: list(dropout_rates)},
            scoring=scoring,
            n_jobs=n_jobs,
            refit=False,
            cv=cv,
            return_train_score=True,
            error_score="raise",
        )
        search.fit(X, y, **({} if groups is None else {"groups": groups}))
        return cls.from_search(search, param_name=param_name, ax=ax, **kwargs)


def label_of_score(name, negated):
    """Label of the score axis."""
    if name is None:
        return "Negative score" if negated else "Score"
    return name.removeprefix("neg_") if negated else name
