"""Ensembles of networks: members, folds and averaged predictions."""

from copy import copy
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import check_cv
from sklearn.utils import get_tags, indexable
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from ..checks.random_state import seed_from
from ..checks.validation import HasMethods, Interval, _safe_indexing
from ..nn.settings import torch_threads
from .nesting import find_network, inputs_of_network, last_estimator

_NO_FOLDS = (
    "{call} needs predictions of left-out rows: fit the ensemble with cv, such as "
    "cv=5 for {n} networks."
)
# Attributes that only an ensemble with `cv` has.
_OF_FOLDS = {"oob_prediction_", "noise_std_", "_residuals", "_scores", "_n_folds"}
# Attributes that members have for some inputs: pipelines on texts have neither.
_OF_INPUTS = {"n_features_in_", "feature_names_in_"}


class Ensemble(MetaEstimatorMixin, BaseEstimator):
    """Base of the ensembles. A task defines the predictions, and what left-out ones are for."""

    _parameter_constraints = {
        "estimator": [HasMethods("fit"), None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator=None,
        n_estimators=10,
        *,
        cv=None,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _member(self):
        """The estimator whose copies are fitted."""
        return self._default() if self.estimator is None else self.estimator

    def fit(self, X, y, sample_weight=None):
        """Fit the networks, in parallel.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training inputs, of any kind that the networks take.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss.

        Returns
        -------
        self : object
            The fitted ensemble.
        """
        fitted = copy(self)
        fitted._fit(X, y, sample_weight)
        self.__dict__ = vars(fitted)  # all attributes at once
        return self

    def _fit(self, X, y, sample_weight):
        """Carry out `fit`; sets the fitted attributes one after the other."""
        self._validate_params()
        network, prefix = find_network(self._member())
        if network is None:
            raise TypeError(
                f"estimator={self.estimator!r} does not end with a network of this package. Pass "
                "one, or a pipeline that ends with one."
            )
        if is_classifier(network) != is_classifier(self):
            kind = "Classifier" if is_classifier(network) else "Regressor"
            raise TypeError(
                f"estimator={self.estimator!r} does not fit into a {type(self).__name__}. Use "
                f"DropoutEnsemble{kind}."
            )
        X, y, sample_weight = indexable(X, y, sample_weight)
        folds = None if self.cv is None else self._folds(X, y)
        seeds = np.random.SeedSequence(seed_from(self.random_state)).generate_state(
            self.n_estimators
        )
        members = [
            clone(self._member()).set_params(**{f"{prefix}random_state": int(seed)})
            for seed in seeds
        ]
        threads = "threads" if network._compiled() else None
        parallel = Parallel(n_jobs=self.n_jobs, verbose=self.verbose, prefer=threads)
        n_torch = None if parallel.n_jobs in (None, 1) else 1
        fitted = parallel(
            delayed(_fit_member)(member, X, y, sample_weight, rows, prefix, n_torch)
            for member, rows in zip(members, self._rows_of_members(folds))
        )
        self._keep(fitted, X, y, folds)

    def _folds(self, X, y):
        """Rows that each fold leaves out; every row is left out once."""
        cv = check_cv(self.cv, y, classifier=is_classifier(self))
        folds = [test for _, test in cv.split(X, y)]
        n_rows = len(y)
        if not np.array_equal(np.sort(np.concatenate(folds)), np.arange(n_rows)):
            raise ValueError(
                f"cv={self.cv!r} does not leave out each row exactly once. Use an int "
                "or a splitter such as KFold."
            )
        if self.n_estimators < len(folds):
            raise ValueError(
                f"n_estimators={self.n_estimators!r} is less than the {len(folds)} folds of cv: "
                "each fold needs a network that leaves it out."
            )
        return folds

    def _rows_of_members(self, folds):
        """Rows that each member trains on; None for all."""
        if folds is None:
            return [None] * self.n_estimators
        n_rows = sum(map(len, folds))
        left_out = [folds[k % len(folds)] for k in range(self.n_estimators)]
        return [np.setdiff1d(np.arange(n_rows), rows) for rows in left_out]

    def _keep(self, fitted, X, y, folds):
        """Set the fitted attributes."""
        found = {name: getattr(fitted[0], name) for name in _OF_INPUTS if hasattr(fitted[0], name)}
        found |= {"estimators_": fitted} | self._task_attributes(fitted)
        for name in _OF_FOLDS | _OF_INPUTS:  # of an earlier fit
            vars(self).pop(name, None)
        self.__dict__.update(found)
        self._fold_of_row = None
        if folds is None:
            return
        self._n_folds = len(folds)
        fold_of_row = np.empty(len(y), dtype=np.int64)
        for fold, rows in enumerate(folds):
            fold_of_row[rows] = fold
        self._fold_of_row = fold_of_row
        answers = [self._of_fold(_safe_indexing(X, rows), fold) for fold, rows in enumerate(folds)]
        self._keep_left_out(answers, folds, y)

    def _members_of_fold(self, fold):
        return self.estimators_[fold :: self._n_folds]

    def _check_folds(self, call, coverage):
        """Refuse calls that need left-out rows, and invalid coverages."""
        check_is_fitted(self)
        if self._fold_of_row is None:
            raise ValueError(_NO_FOLDS.format(call=call, n=self.n_estimators))
        if not isinstance(coverage, Real) or not 0 < coverage < 1:
            raise ValueError(f"coverage={coverage!r} must be a number above 0 and below 1.")

    def sample_predictions(self, X, n_samples=10, random_state=None):
        """Predictions of every network with dropout on.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Inputs.
        n_samples : int, default=10
            Passes of each network.
        random_state : int, RandomState instance or None, default=None
            Determines the masks, which all networks share; ``None`` for new ones in each call.

        Returns
        -------
        samples : ndarray of shape (n_estimators * n_samples, n_rows, n_outputs or n_classes)
            Network by network.
        """
        seed = seed_from(random_state)
        return np.concatenate(
            [net.sample_predictions(Z, n_samples, seed) for net, Z in self._networks(X)]
        )

    def _networks(self, X):
        """Each member's network, with `X` as transformed for it."""
        check_is_fitted(self)
        for member in self.estimators_:
            network, _ = find_network(member)
            if isinstance(last_estimator(member), TransformedTargetRegressor):
                raise TypeError(
                    "A TransformedTargetRegressor cannot transform uncertainty back. Use its "
                    "regressor alone, which standardises y itself."
                )
            yield network, inputs_of_network(member, X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._member())
        tags.input_tags = inner.input_tags
        tags.target_tags = inner.target_tags
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "estimators_")


def _fit_member(member, X, y, weight, rows, prefix, n_torch):
    """Fit a member on some rows, in a worker with one thread of PyTorch if there are several."""
    if rows is not None:
        X, y = _safe_indexing(X, rows), _safe_indexing(y, rows)
        weight = None if weight is None else _safe_indexing(weight, rows)
    params = {} if weight is None else {f"{prefix}sample_weight": weight}
    if n_torch is None:
        return member.fit(X, y, **params)
    with torch_threads(n_torch):
        return member.fit(X, y, **params)


_DOC = """

    Networks that start from different weights, and see the rows in different orders, disagree on
    inputs that the data say little about [1]_. Their mean predicts better than one of them, and
    their disagreement shows how far to trust it. They are fitted in parallel: networks of the
    compiled engine in threads, others in processes.

    With `cv` each network leaves out one fold. Its predictions there are like those for new rows,
    so they give {left_out_gives}

    Parameters
    ----------
    estimator : estimator, default=None
        A network of this package, or a pipeline that ends with one; ``None`` is a
        ``{default}``. Each copy gets its own `random_state`.

    n_estimators : int, default=10
        Networks; with `cv` at least one for each fold.

    cv : int, cross-validation generator or iterable, default=None
        Folds: network k leaves out fold k, and folds are reused after the last one. ``None`` fits
        all networks on all rows.

    n_jobs : int, default=None
        Number of networks that are fitted at a time, as for joblib.

    random_state : int, RandomState instance or None, default=None
        Determines the seeds of the networks. Network k is, bit for bit, that of a single fit
        with the `random_state` of ``estimators_[k]``.

    verbose : int, default=0
        As for joblib.

    Attributes
    ----------
    estimators_ : list of estimator
        The fitted networks.
    {attributes}
    n_features_in_ : int
        Number of columns of `X`, unless a pipeline begins with a step that counts none.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if all are strings.

    See Also
    --------
    {default} : One network.

    References
    ----------
    .. [1] Lakshminarayanan, B., Pritzel, A., Blundell, C. (2017). "Simple and scalable predictive
       uncertainty estimation using deep ensembles." NeurIPS 30.
    {reference}
"""


def documented_ensemble(**texts):
    """Put what both ensembles share into a docstring, between its summary and its examples."""

    def decorate(cls):
        if cls.__doc__ is not None:  # python -OO
            summary, _, examples = cls.__doc__.partition("\n\n")
            cls.__doc__ = f"{summary}{_DOC.format(**texts)}\n{examples}"
        return cls

    return decorate
