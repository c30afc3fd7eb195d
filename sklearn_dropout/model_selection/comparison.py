"""How much do estimators overfit? A comparison over repeated cross-validation."""

import warnings
from collections import defaultdict
from numbers import Integral

import joblib
import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import (
    GroupKFold,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    StratifiedGroupKFold,
    check_cv,
)
from sklearn.utils import indexable
from sklearn.utils.multiclass import type_of_target

from ..estimators.nesting import find_network
from .report import OverfittingComparison
from .search import DropoutSearchCV

N_FOLDS, N_REPEATS = 5, 10


def compare_overfitting(
    estimators,
    X,
    y,
    *,
    cv=None,
    scoring=None,
    baseline=None,
    n_jobs=None,
    groups=None,
    verbose=0,
):
    """Compare training score, test score and the gap between them over cross-validation.

    Every estimator is fitted on the same splits. Differences from the baseline, of the test score
    and of the gap, are taken split by split and judged by the corrected resampled t-test [1]_:
    two-sided, and adjusted for the number of estimators by Holm's method. Networks of this
    package, also at the end of pipelines, are fitted as in a search: see :class:`DropoutSearchCV`.

    Parameters
    ----------
    estimators : dict of str to estimator, or list of estimator
        Of this package or of any other, pipelines included; cloned before they are fitted. In a
        list they are named by their classes, with a number if a class is repeated.

    X : array-like of shape (n_samples, n_features)
        Inputs.

    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.

    cv : int, cross-validation generator or iterable, default=None
        ``None`` is 5 folds, an int that many folds; both are repeated 10 times, shuffled with
        fixed seeds, stratified for classifiers, and with `groups` kept together. Anything else is
        used unchanged.

    scoring : str or callable, default=None
        One score, greater is better, for all of them. ``None`` is accuracy for classifiers and R²
        for regressors.

    baseline : str, default=None
        Name of the estimator that the others are compared with; ``None`` is the first.

    n_jobs : int, default=None
        Workers, as for :class:`DropoutSearchCV`.

    groups : array-like of shape (n_samples,), default=None
        Rows of a group are never in both the training and the test set of a split.

    verbose : int, default=0
        1 or more shows a bar over the epochs of all networks, as in :class:`DropoutSearchCV`.

    Returns
    -------
    comparison : OverfittingComparison
        Printed as a table; has the scores of every split, ``to_frame()`` and ``plot()``.

    Raises
    ------
    ValueError
        If names, baseline or scoring are invalid, or an estimator has a score that is not finite.
    TypeError
        If an entry of `estimators` is not an estimator.

    Notes
    -----
    The gap is training score minus test score, in the units of the score. For errors
    (``"neg_mean_squared_error"``) it is how much larger the error is on test rows. A positive gap
    always means that the estimator does better on rows that it has seen.

    Give networks an int as `random_state` to make the results reproducible.

    References
    ----------
    .. [1] Nadeau, C., Bengio, Y. (2003). "Inference for the generalization error." Machine
       Learning 52, 239-281.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dropout import DropoutMLPClassifier, compare_overfitting
    >>> X, y = load_iris(return_X_y=True)
    >>> def network(rate):
    ...     return DropoutMLPClassifier(
    ...         (16, 8), dropout_rate=rate, batch_size=16, max_iter=40, random_state=0
    ...     )
    >>> comparison = compare_overfitting({"plain": network(0), "dropout": network(0.3)}, X, y, cv=3)
    >>> comparison.test_scores.shape  # 3 folds, 10 repeats
    (2, 30)
    """
    estimators = _named(estimators)
    if baseline is None:
        baseline = next(iter(estimators))
    elif baseline not in estimators:
        raise ValueError(
            f"baseline={baseline!r} is not the name of an estimator. Choose one of "
            f"{list(estimators)}."
        )
    scoring = _check_scoring(scoring, estimators)
    X, y, groups = indexable(X, y, groups)
    classes = all(is_classifier(estimator) for estimator in estimators.values())
    splits = list(_splits(cv, X, y, groups, classes))
    if len(splits) < 2:
        raise ValueError(f"cv={cv!r} makes {len(splits)} split(s); a comparison needs at least 2.")
    scores = _scores(estimators, X, y, splits, scoring, n_jobs, verbose)
    return OverfittingComparison(
        names=list(estimators),
        train_scores=np.array([scores[name]["train"] for name in estimators]),
        test_scores=np.array([scores[name]["test"] for name in estimators]),
        n_train=np.array([len(train) for train, _ in splits]),
        n_test=np.array([len(test) for _, test in splits]),
        n_repeats=_count_repeats([test for _, test in splits], len(y)),
        baseline=baseline,
        score_name=_score_name(scoring),
    )


def _named(estimators):
    """Estimators by name; refuse entries that are not estimators."""
    if isinstance(estimators, dict):
        named = dict(estimators)
    elif isinstance(estimators, (list, tuple)):
        named = _by_class(estimators)
    else:
        raise TypeError(
            f"estimators={estimators!r} must be a dict of names to estimators, or a list of "
            "estimators."
        )
    if not named:
        raise ValueError(f"estimators={estimators!r} is empty. Give at least one estimator.")
    for name, estimator in named.items():
        if not isinstance(name, str):
            raise TypeError(f"estimators has the name {name!r}. Names must be strings.")
        if isinstance(estimator, type) or not hasattr(estimator, "fit"):
            raise TypeError(
                f"estimators has {estimator!r} as {name!r}, which is not an estimator. "
                "Give instances with a `fit` method."
            )
    return named


def _by_class(estimators):
    names = [type(estimator).__name__ for estimator in estimators]
    seen, named = defaultdict(int), {}
    for name, estimator in zip(names, estimators):
        seen[name] += 1
        named[name if names.count(name) == 1 else f"{name} {seen[name]}"] = estimator
    return named


def _check_scoring(scoring, estimators):
    """One score for all estimators, whose own scores may differ."""
    if not (scoring is None or isinstance(scoring, str) or callable(scoring)):
        raise ValueError(
            f"scoring={scoring!r} must be one score: a string, a callable or None. Call "
            "compare_overfitting once for each score."
        )
    if scoring is not None:
        return scoring
    for kind, default in ((is_classifier, "accuracy"), (is_regressor, "r2")):
        if all(kind(estimator) for estimator in estimators.values()):
            return default
    raise ValueError(
        "scoring=None means accuracy for classifiers and R² for regressors, but the estimators "
        "are of both kinds. Pass a score."
    )


def _score_name(scoring):
    if isinstance(scoring, str):
        return scoring
    return getattr(scoring, "__name__", None) or str(scoring)


def _splits(cv, X, y, groups, classes):
    """Training and test rows of every split."""
    if not (cv is None or (isinstance(cv, Integral) and not isinstance(cv, bool))):
        return check_cv(cv, y, classifier=classes).split(X, y, groups)
    n_folds = N_FOLDS if cv is None else cv
    stratified = classes and type_of_target(y) in ("binary", "multiclass")
    if groups is None:
        splitter = RepeatedStratifiedKFold if stratified else RepeatedKFold
        return splitter(n_splits=n_folds, n_repeats=N_REPEATS, random_state=0).split(X, y)
    splitter = StratifiedGroupKFold if stratified else GroupKFold
    return (
        split
        for repeat in range(N_REPEATS)
        for split in splitter(n_folds, shuffle=True, random_state=repeat).split(X, y, groups)
    )


def _count_repeats(tests, n_samples):
    """How often the test sets cover the data as folds; 0 if they do not."""
    times = np.bincount(np.concatenate(tests), minlength=n_samples)
    return int(times[0]) if times[0] == times.min() == times.max() else 0


def _scores(estimators, X, y, splits, scoring, n_jobs, verbose):
    """Scores of every estimator on every split: ``{name: {"train" or "test": list}}``."""
    scores = {}
    for names, model, grid in _searches(estimators):
        search = DropoutSearchCV(
            model,
            grid,
            scoring=scoring,
            n_jobs=n_jobs,
            verbose=verbose,
            refit=False,
            cv=splits,
            error_score="raise",
            return_train_score=True,
        )
        try:
            with (
                warnings.catch_warnings(),
                np.errstate(invalid="ignore"),
            ):  # the error below says it
                warnings.filterwarnings("ignore", "One or more of the (test|train) scores")
                results = search.fit(X, y).cv_results_
        except Exception as error:
            error.add_note(f"compare_overfitting was fitting {', '.join(map(repr, names))}.")
            raise
        for index, name in enumerate(names):
            scores[name] = {
                part: [results[f"split{i}_{part}_score"][index] for i in range(len(splits))]
                for part in ("train", "test")
            }
            if not np.isfinite([*scores[name].values()]).all():
                raise ValueError(
                    f"{name!r} has scores that are not finite: {scores[name]}. "
                    "Choose another score, or larger folds."
                )
    return scores


def _searches(estimators):
    """Group estimators that differ only in the parameters of their network, as grids of one search.

    Yields
    ------
    names : list of str
    model : estimator
    grid : list of dict
        One candidate for each name, in this order.
    """
    groups = defaultdict(list)
    for name, estimator in estimators.items():
        groups[_surroundings(name, estimator)].append(name)
    for names in groups.values():
        model = estimators[names[0]]
        network, prefix = find_network(model)
        if network is None:
            yield names, model, [{}]
            continue
        inner = [find_network(estimators[name])[0].get_params(deep=False) for name in names]
        differing = [
            key for key in inner[0] if len({_fingerprint(params[key]) for params in inner}) > 1
        ]
        yield (
            names,
            model,
            [{f"{prefix}{key}": [params[key]] for key in differing} for params in inner],
        )


def _fingerprint(value):
    """A key that is equal for equal values; values that cannot be compared get different keys."""
    try:
        return joblib.hash(value)
    except Exception:  # functions that cannot be pickled
        return id(value)


def _surroundings(name, estimator):
    """Key of the estimators that one search can fit."""
    network, prefix = find_network(estimator)
    if network is None:
        return name
    kind = type(network)
    if not prefix:
        return kind
    rest = clone(estimator).set_params(**{prefix.removesuffix("__"): kind()})
    return kind, _fingerprint(rest)
