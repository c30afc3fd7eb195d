"""The result of a comparison of overfitting: numbers, sentences and tables."""

from dataclasses import dataclass, field
from html import escape

import numpy as np

from ..checks.validation import check_pandas_support
from .resampling import holm, resampled_mean

SIGNIFICANCE = 0.05


@dataclass(eq=False, repr=False)
class OverfittingComparison:
    """Training score, test score and gap of estimators over the splits of a cross-validation.

    Made by :func:`compare_overfitting`. Printed, it is a table of scores and a table of
    differences from the baseline. A difference is called significant if the corrected resampled
    t-test [1]_ rejects equality: two-sided, at 5 %, with p-values adjusted by Holm's method for
    the number of estimators beside the baseline, separately for test scores and for gaps.
    Intervals belong to each difference alone. Estimators beside the baseline are not compared with
    each other. The correction was derived for test scores. For gaps, whose training scores overlap
    more than test scores do, the same formula is an approximation, and its intervals may be too
    narrow.

    Parameters
    ----------
    names : list of str
        Of the estimators.
    train_scores, test_scores : ndarray of shape (n_estimators, n_splits)
        Greater is better.
    n_train, n_test : int ndarray of shape (n_splits,)
        Rows of each split.
    n_repeats : int
        How often the folds cover the data; 0 if the splits are not folds.
    baseline : str
        Name of the estimator that the others are compared with.
    score_name : str
        Name of the score.

    Attributes
    ----------
    gaps : ndarray of shape (n_estimators, n_splits)
        Training score minus test score.
    means : dict of str to dict of str to ResampledMean
        ``means["test"][name]``: mean over the splits with its 95 % confidence interval, of
        ``"train"``, ``"test"`` and ``"gap"``.
    differences : dict of str to dict of str to ResampledMean
        ``differences["test"][name]``: test score of an estimator minus that of the baseline, with
        interval, statistic and p-value of this comparison alone; the same for ``"gap"``.
    adjusted_p_values : dict of str to dict of str to float
        Those p-values adjusted by Holm's method.

    See Also
    --------
    compare_overfitting : Compare estimators.
    OverfittingDisplay : Draw a comparison.

    References
    ----------
    .. [1] Nadeau, C., Bengio, Y. (2003). "Inference for the generalization error." Machine
       Learning 52, 239-281.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from sklearn_dropout import compare_overfitting
    >>> X, y = load_iris(return_X_y=True)
    >>> trees = {f"depth {d}": DecisionTreeClassifier(max_depth=d, random_state=0) for d in (1, 5)}
    >>> print(compare_overfitting(trees, X, y))
    accuracy: 5 folds x 10 repeats, 120 training and 30 test rows
    mean ± standard deviation over the splits
    gap = train - test
    <BLANKLINE>
                        train          test           gap
    depth 1 (baseline)  0.667 ± 0.000  0.667 ± 0.000  0.000 ± 0.000
    depth 5             0.997 ± 0.004  0.945 ± 0.037  0.051 ± 0.039
    <BLANKLINE>
    Differences from depth 1, corrected resampled t-test (two-sided p)
    <BLANKLINE>
             score       difference  95 % interval     p-value    conclusion
    depth 5  test score  +0.279      [+0.240, +0.318]  p < 0.001  higher
    depth 5  gap         +0.051      [+0.011, +0.092]  p = 0.014  larger
    """

    names: list
    train_scores: np.ndarray
    test_scores: np.ndarray
    n_train: np.ndarray
    n_test: np.ndarray
    n_repeats: int
    baseline: str
    score_name: str
    means: dict = field(init=False)
    differences: dict = field(init=False)
    adjusted_p_values: dict = field(init=False)

    def __post_init__(self):
        ratio = self.n_test.mean() / self.n_train.mean()
        parts = {"train": self.train_scores, "test": self.test_scores, "gap": self.gaps}
        self.means = {
            part: {name: resampled_mean(row, ratio) for name, row in zip(self.names, scores)}
            for part, scores in parts.items()
        }
        reference = self.names.index(self.baseline)
        self.differences, self.adjusted_p_values = {}, {}
        for part in ("test", "gap"):
            found = {
                name: resampled_mean(row - parts[part][reference], ratio)
                for name, row in zip(self.names, parts[part])
                if name != self.baseline
            }
            self.differences[part] = found
            adjusted = holm([result.p_value for result in found.values()])
            self.adjusted_p_values[part] = dict(zip(found, adjusted.tolist()))

    @property
    def gaps(self):
        """Training score minus test score, of shape (n_estimators, n_splits)."""
        return self.train_scores - self.test_scores

    def to_frame(self):
        """The comparison as a table.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each estimator: mean, standard deviation over the splits (``_std``) and
            confidence interval (``_low``, ``_high``) of train, test and gap; then differences
            from the baseline with interval, statistic (``_t``), p-value (``_p``) and adjusted
            p-value (``_p_adjusted``), which the baseline does not have.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = check_pandas_support("OverfittingComparison.to_frame")
        rows = {}
        for index, name in enumerate(self.names):
            row = rows[name] = {}
            for part, means in self.means.items():
                found, std = means[name], self._std(part)[index]
                row |= {part: found.mean, f"{part}_std": std}
                row |= {f"{part}_low": found.low, f"{part}_high": found.high}
            for part, differences in self.differences.items():
                found, key = differences.get(name), f"{part}_difference"
                values = [np.nan] * 6
                if found is not None:
                    values = [found.mean, found.low, found.high, found.statistic, found.p_value]
                    values.append(self.adjusted_p_values[part][name])
                endings = ("", "_low", "_high", "_t", "_p", "_p_adjusted")
                row |= {key + ending: value for ending, value in zip(endings, values)}
        return pandas.DataFrame.from_dict(rows, orient="index")

    def plot(self, ax=None, **kwargs):
        """Draw the comparison.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; ``None`` makes a new figure.
        **kwargs : dict
            For :meth:`OverfittingDisplay.plot`.

        Returns
        -------
        display : OverfittingDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from ..displays.overfitting import OverfittingDisplay

        return OverfittingDisplay.from_comparison(self, ax=ax, **kwargs)

    def conclusions(self):
        """The result of the tests for every estimator but the baseline, in words.

        Returns
        -------
        sentences : list of str
        """
        return [
            f"{what.capitalize()}, {name} vs {self.baseline}: {verdict}, {difference} {interval}"
            f"{p_value and f', {p_value}'}."
            for name, what, difference, interval, p_value, verdict in self._comparisons()
        ]

    def _comparisons(self):
        """Cells of the table of differences, a row for each estimator and kind of score."""
        rows = []
        for name in self.differences["test"]:
            for part, what in (("test", "test score"), ("gap", "gap")):
                found = self.differences[part][name]
                difference, interval = (
                    f"{found.mean:+.3f}",
                    f"[{found.low:+.3f}, {found.high:+.3f}]",
                )
                p_value, verdict = self._verdict(name, part)
                rows.append([name, what, difference, interval, p_value, verdict])
        return rows

    def _verdict(self, name, part):
        """The adjusted p-value of a difference, and the conclusion."""
        p_value = self.adjusted_p_values[part][name]
        if np.isnan(p_value):
            return "", "the same in every split, not tested"
        if p_value >= SIGNIFICANCE:
            return _p_text(p_value), "no significant difference"
        more, less = ("higher", "lower") if part == "test" else ("larger", "smaller")
        return _p_text(p_value), more if self.differences[part][name].mean > 0 else less

    def _std(self, part):
        scores = {"train": self.train_scores, "test": self.test_scores, "gap": self.gaps}[part]
        return scores.std(axis=1, ddof=1)

    def _design(self):
        """Folds, repeats and rows in words."""
        n_splits = len(self.n_train)
        times = f"{n_splits} splits"
        if self.n_repeats:
            repeats = f"{self.n_repeats} repeat{'s' * (self.n_repeats > 1)}"
            times = f"{n_splits // self.n_repeats} folds x {repeats}"
        rows = " and ".join(
            f"{_range_text(counts)} {part}"
            for counts, part in ((self.n_train, "training"), (self.n_test, "test"))
        )
        return f"{self.score_name}: {times}, {rows} rows"

    def _score_table(self):
        """Rows of the table of scores, header first."""
        rows = [["", "train", "test", "gap"]]
        for index, name in enumerate(self.names):
            row = [name + (" (baseline)" if name == self.baseline and len(self.names) > 1 else "")]
            for part, means in self.means.items():
                row.append(f"{means[name].mean:.3f} ± {self._std(part)[index]:.3f}")
            rows.append(row)
        return rows

    def _difference_table(self):
        """Caption and rows of the table of differences, header first; None with one estimator."""
        if len(self.names) == 1:
            return None
        adjusted = ", Holm-adjusted" if len(self.names) > 2 else ""
        caption = (
            f"Differences from {self.baseline}, corrected resampled t-test (two-sided p{adjusted})"
        )
        header = ["", "score", "difference", "95 % interval", "p-value", "conclusion"]
        return caption, [header, *self._comparisons()]

    def _tables(self):
        """Caption and rows of each table."""
        caption = f"{self._design()}; mean ± standard deviation over the splits; gap = train - test"
        return [(caption, self._score_table()), *filter(None, [self._difference_table()])]

    def __str__(self):
        parts = []
        for caption, rows in self._tables():
            widths = [max(map(len, column)) for column in zip(*rows)]
            lines = [
                "  ".join(cell.ljust(n) for cell, n in zip(row, widths)).rstrip() for row in rows
            ]
            parts.append("\n".join([caption.replace("; ", "\n"), "", *lines]))
        return "\n\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self):
        return "".join(_html_table(caption, rows) for caption, rows in self._tables())


def _html_table(caption, rows):
    header, *body = ([escape(cell) for cell in row] for row in rows)
    head = "".join(f"<th>{cell}</th>" for cell in header)
    lines = "".join(
        f"<tr><th>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>"
        for row in body
    )
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _p_text(p_value):
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _range_text(counts):
    low, high = counts.min(), counts.max()
    return f"{low}" if low == high else f"{low}-{high}"
