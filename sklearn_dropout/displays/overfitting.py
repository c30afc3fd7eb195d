"""Figure of training and test scores."""

import numpy as np

from ..checks.validation import check_matplotlib_support
from .rate import label_of_score


class OverfittingDisplay:
    """Training and test scores of several estimators, and the gap between them.

    It is recommended to use :meth:`from_comparison` to create a display. All parameters are
    stored as attributes.

    Parameters
    ----------
    names : list of str
        Of the estimators, drawn from top to bottom.

    train_scores, test_scores : ndarray of shape (n_estimators, n_splits)
        Scores; greater is better.

    test_intervals : ndarray of shape (n_estimators, 2)
        Confidence intervals of the mean test scores.

    score_name : str, default=None
        Name of the score.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    gaps_ : matplotlib LineCollection
        From mean test score to mean training score, one line for each estimator.
    lines_ : list of matplotlib Line2D
        Mean training scores, then mean test scores.
    errorbar_ : matplotlib LineCollection or None
        Confidence intervals of the mean test scores.

    See Also
    --------
    compare_overfitting : Compare estimators.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from sklearn_dropout import OverfittingDisplay, compare_overfitting
    >>> X, y = load_iris(return_X_y=True)
    >>> trees = {f"depth {d}": DecisionTreeClassifier(max_depth=d, random_state=0) for d in (1, 5)}
    >>> comparison = compare_overfitting(trees, X, y)
    >>> display = OverfittingDisplay.from_comparison(comparison)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['depth 1 (baseline)', 'depth 5']
    """

    def __init__(self, *, names, train_scores, test_scores, test_intervals=None, score_name=None):
        self.names = names
        self.train_scores = train_scores
        self.test_scores = test_scores
        self.test_intervals = test_intervals
        self.score_name = score_name

    def plot(self, ax=None, *, negate_score=False, score_name=None, line_kw=None, gap_kw=None):
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        negate_score : bool, default=False
            Whether to draw the negative of the scores, for those that begin with ``neg_``.
        score_name : str, default=None
            Label of the axis; ``None`` is the name of the score.
        line_kw : dict, default=None
            For matplotlib's ``plot`` of the mean scores.
        gap_kw : dict, default=None
            For matplotlib's ``hlines`` of the gaps.

        Returns
        -------
        display : OverfittingDisplay
            The display itself.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        sign = -1 if negate_score else 1
        heights = np.arange(len(self.names))
        train, test = (sign * s.mean(axis=1) for s in (self.train_scores, self.test_scores))
        gap_kw = {"color": "0.8", "lw": 5, "zorder": 1} | (gap_kw or {})
        self.gaps_ = ax.hlines(heights, test, train, **{"label": "Gap"} | gap_kw)
        self.errorbar_ = None
        if self.test_intervals is not None:
            low, high = sign * np.asarray(self.test_intervals).T
            self.errorbar_ = ax.hlines(
                heights, low, high, color="C0", lw=1.5, label="Test, 95 % confidence interval"
            )
        styles = (("Train", train, "C1", "o"), ("Test", test, "C0", "s"))
        self.lines_ = [
            ax.plot(
                means,
                heights,
                **{"label": label, "color": color, "marker": marker, "ls": "none"}
                | (line_kw or {}),
            )[0]
            for label, means, color, marker in styles
        ]
        ax.set_yticks(heights, self.names)
        ax.set_ylim(len(self.names) - 0.5, -0.5)
        ax.set_xlabel(
            label_of_score(self.score_name if score_name is None else score_name, negate_score)
        )
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_comparison(
        cls, comparison, *, negate_score=False, score_name=None, ax=None, line_kw=None, gap_kw=None
    ):
        """Draw the result of :func:`compare_overfitting`.

        Parameters
        ----------
        comparison : OverfittingComparison
            The comparison.
        negate_score : bool, default=False
            Whether to draw the negative of the scores, for those that begin with ``neg_``.
        score_name : str, default=None
            Label of the axis; ``None`` is the name of the score.
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        line_kw : dict, default=None
            For matplotlib's ``plot`` of the mean scores.
        gap_kw : dict, default=None
            For matplotlib's ``hlines`` of the gaps.

        Returns
        -------
        display : OverfittingDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_comparison")
        several = len(comparison.names) > 1
        display = cls(
            names=[
                f"{name} (baseline)" if several and name == comparison.baseline else name
                for name in comparison.names
            ],
            train_scores=comparison.train_scores,
            test_scores=comparison.test_scores,
            test_intervals=np.array(
                [
                    (comparison.means["test"][name].low, comparison.means["test"][name].high)
                    for name in comparison.names
                ]
            ),
            score_name=comparison.score_name,
        )
        return display.plot(
            ax, negate_score=negate_score, score_name=score_name, line_kw=line_kw, gap_kw=gap_kw
        )
