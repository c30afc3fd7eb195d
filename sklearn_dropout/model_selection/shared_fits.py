"""The engine of the searches: fits share their data and train side by side."""

import time
from contextlib import nullcontext
from copy import copy

from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import indexable

from ..checks.validation import (
    _check_method_params,
    _insert_error_scores,
    _MultimetricScorer,
    _warn_or_raise_about_fit_failures,
)
from ..estimators.nesting import find_network, shallow_copy
from ..nn.settings import errors_of_numpy_kept
from .events import search_events
from .jobs import Evaluation
from .plan import Candidate
from .workers import Workers


class SharedFits:
    """Carries out the search of a scikit-learn search class that follows in the bases.

    The class says by `_candidates` which parameters to try.
    """

    def fit(self, X, y=None, **params):
        """Fit and score every candidate on every fold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets.
        **params : dict
            For the estimator's `fit`, the splitter (`groups`) and the scorer, as in
            scikit-learn's search.

        Returns
        -------
        self : object
            The fitted search.
        """
        fitted = copy(self)
        for name in vars(self):
            if name.endswith("_"):  # of an earlier fit
                delattr(fitted, name)
        with errors_of_numpy_kept():
            fitted._fit(X, y, params)
        self.__dict__ = vars(fitted)  # all attributes at once
        return self

    def _fit(self, X, y, params):
        """Carry out `fit`; sets the fitted attributes one after the other."""
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        with search_events(self, X, y, routed.estimator.fit) as events:
            self._search(X, y, routed, scorers, refit_metric, events)

    def _search(self, X, y, routed, scorers, refit_metric, events):
        """Evaluate the candidates and fit the best."""
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, **routed.splitter.split))
        candidates = list(self._candidates())

        evaluation = Evaluation(
            X=X,
            y=y,
            scorer=scorers,
            fit_params=routed.estimator.fit,
            score_params=routed.scorer.score,
            return_train_score=self.return_train_score,
            error_score=self.error_score,
        )
        out = self._evaluate(evaluation, self._make_candidates(candidates), splits, events)
        _warn_or_raise_about_fit_failures(out, self.error_score)
        if callable(self.scoring):
            _insert_error_scores(out, self.error_score)
        self.n_splits_ = len(splits)
        results = self._format_results(candidates, self.n_splits_, out)
        self._choose(results, out, scorers, refit_metric)
        if self.refit:
            self._refit(X, y, routed.estimator.fit, events)
        self.scorer_ = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        self.cv_results_ = results

    def _make_candidates(self, grid):
        """Estimators with the parameters of the grid; refuse parameters that no fold can fit."""
        candidates = []
        make = _EstimatorMaker(self.estimator)
        for number, params in enumerate(grid):
            try:
                candidate = Candidate(make(params), params)
                if self.error_score == "raise" and candidate.network is not None:
                    candidate.check()
                candidates.append(candidate)
            except (TypeError, ValueError) as error:
                raise type(error)(f"Candidate {number} of the grid, {params!r}: {error}") from error
        return candidates

    def _evaluate(self, evaluation, candidates, splits, events):
        """Results of all candidates on all folds, candidate by candidate."""
        if not candidates or not splits:
            raise ValueError(
                "No fits were performed. Was the CV iterator empty? Were there no candidates?"
            )
        workers = Workers(self.n_jobs, self.pre_dispatch, hidden=not self.verbose)
        if events is None:
            return workers.evaluate(evaluation, candidates, splits)
        with events.evaluations(len(candidates) * len(splits)) as evaluation.tasks:
            return workers.evaluate(evaluation, candidates, splits)

    def _choose(self, results, out, scorers, refit_metric):
        """Pick the best candidate, as scikit-learn does."""
        first = out[0]["test_scores"]
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(first)
            refit_metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]

    def _refit(self, X, y, fit_params, events):
        """Fit the best candidate on all data."""
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        with nullcontext() if events is None else events.refit(best):
            start = time.perf_counter()
            self.best_estimator_ = (
                best.fit(X, **fit_params) if y is None else best.fit(X, y, **fit_params)
            )
            self.refit_time_ = time.perf_counter() - start
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_


class _EstimatorMaker:
    """Makes copies of an estimator with other parameters.

    A network without a pipeline is copied without cloning its parameters, in a hundredth of the
    time of a clone; it is copied again before it is fitted.
    """

    def __init__(self, estimator):
        self.estimator = clone(estimator)
        self.names = ()
        if self.estimator is find_network(self.estimator)[0]:
            self.names = set(self.estimator.get_params(deep=False))

    def __call__(self, params):
        if self.names and self.names.issuperset(params):
            made = shallow_copy(self.estimator)
            vars(made).update(params)
            return made
        return clone(self.estimator).set_params(**clone(params, safe=False))
