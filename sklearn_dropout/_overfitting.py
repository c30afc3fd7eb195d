"""What a comparison of overfitting has found: numbers, words and tables."""

from dataclasses import dataclass, field
from html import escape

import numpy as np

from ._resampling import holm, resampled_mean
from ._validation import check_pandas_support

SIGNIFICANCE = 0.05


@dataclass(eq=False, repr=False)
class OverfittingComparison:
    """Training score, test score and gap of estimators over the splits of a cross-validation.

    Made by :func:`compare_overfitting`. Printed, it is a table and what may be concluded from it.
    An estimator is only called better or worse than the baseline where the corrected resampled
    t-test [1]_ separates them: two-sided, at 5 %, its p-values adjusted by Holm's method for the
    number of estimators beside the baseline, for test scores and for gaps apart. The correction
    was derived for test scores; of gaps, whose training scores overlap more than test scores do,
    the same formula is an approximation, and its intervals may be too narrow.

    Parameters
    ----------
    names : list of str
        Of the estimators.
    train_scores, test_scores : ndarray of shape (n_estimators, n_splits)
        Greater is better.
    n_train, n_test : int ndarray of shape (n_splits,)
        Rows of each split.
    n_repeats : int
        How often the folds cover the data; 0 where the splits are no folds.
    baseline : str
        Name of the estimator that the others are compared with.
    score_name : str
        What the scores are.

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
    compare_overfitting : Makes comparisons.
    OverfittingDisplay : Draws them.

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
    gap = train - test; [95 % confidence interval]
    <BLANKLINE>
                    train ± std    test ± std                    gap ± std
    depth 1 (baseline)  0.667 ± 0.000  0.667 ± 0.000 [0.667, 0.667]  0.000 ± 0.000 [0.000, 0.000]
    depth 5             0.997 ± 0.004  0.945 ± 0.037 [0.906, 0.984]  0.051 ± 0.039 [0.011, 0.092]
    <BLANKLINE>
    Differences from depth 1 [95 % confidence interval of each alone], corrected resampled \
t-test (two-sided p):
    depth 5 has a higher test score than depth 1: +0.279 [+0.240, +0.318], p < 0.001.
    depth 5 has a larger gap than depth 1: +0.051 [+0.011, +0.092], p = 0.014.
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
            Where pandas is not installed.
        """
        pandas = check_pandas_support("OverfittingComparison.to_frame")
        rows = {}
        for place, name in enumerate(self.names):
            row = rows[name] = {}
            for part, means in self.means.items():
                found, std = means[name], self._std(part)[place]
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
            Where to draw; ``None`` makes a new figure.
        **kwargs : dict
            For :meth:`OverfittingDisplay.plot`.

        Returns
        -------
        display : OverfittingDisplay

        Raises
        ------
        ImportError
            Where matplotlib is not installed.
        """
        from ._displays import OverfittingDisplay

        return OverfittingDisplay.from_comparison(self, ax=ax, **kwargs)

    def conclusions(self):
        """What the tests say of every estimator beside the baseline, in words.

        Returns
        -------
        sentences : list of str
        """
        sentences = []
        for name in self.differences["test"]:
            for part, more, less in (
                ("test", "higher test score", "lower test score"),
                ("gap", "larger gap", "smaller gap"),
            ):
                sentences.append(self._conclude(name, part, more, less))
        return sentences

    def _conclude(self, name, part, more, less):
        found = self.differences[part][name]
        p_value = self.adjusted_p_values[part][name]
        what = "test score" if part == "test" else "gap"
        both = f"No ranking by {what} of {name} and {self.baseline}"
        if np.isnan(p_value):
            return f"{both}: the same difference in every split, {found.mean:+.3f}."
        numbers = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}], {_p_text(p_value)}"
        if p_value < SIGNIFICANCE:
            kind = more if found.mean > 0 else less
            return f"{name} has a {kind} than {self.baseline}: {numbers}."
        return f"{both}, not separated: {numbers}."

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

    def _cells(self):
        """Header and rows of the printed table."""
        header = ["", "train ± std", "test ± std", "gap ± std"]
        rows = []
        for place, name in enumerate(self.names):
            row = [name + (" (baseline)" if name == self.baseline and len(self.names) > 1 else "")]
            for part, means in self.means.items():
                found = means[name]
                cell = f"{found.mean:.3f} ± {self._std(part)[place]:.3f}"
                if part != "train":
                    cell += f" [{found.low:.3f}, {found.high:.3f}]"
                row.append(cell)
            rows.append(row)
        return header, rows

    def _notes(self):
        """What stands below the table."""
        if len(self.names) == 1:
            return []
        adjusted = ", Holm-adjusted" if len(self.names) > 2 else ""
        head = f"Differences from {self.baseline} [95 % confidence interval of each alone], "
        head += f"corrected resampled t-test (two-sided p{adjusted}):"
        notes = [head, *self.conclusions()]
        if len(self.names) > 2:
            notes.append("Estimators beside the baseline are not compared with each other.")
        return notes

    def __str__(self):
        header, rows = self._cells()
        widths = [max(map(len, column)) for column in zip(header, *rows)]
        lines = [self._design(), "gap = train - test; [95 % confidence interval]", ""]
        for row in (header, *rows):
            lines.append("  ".join(cell.ljust(n) for cell, n in zip(row, widths)).rstrip())
        notes = self._notes()
        return "\n".join(lines + [""] * bool(notes) + notes)

    __repr__ = __str__

    def _repr_html_(self):
        header, rows = self._cells()
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join(
            f"<tr><th>{escape(row[0])}</th>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in rows
        )
        below, notes = "", [escape(note) for note in self._notes()]
        if notes:
            items = "".join(f"<li>{note}</li>" for note in notes[1:])
            below = f"<p>{notes[0]}</p><ul>{items}</ul>"
        caption = escape(f"{self._design()}; gap = train - test; [95 % confidence interval]")
        return (
            f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{below}"
        )


def _p_text(p_value):
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _range_text(counts):
    low, high = counts.min(), counts.max()
    return f"{low}" if low == high else f"{low}-{high}"
