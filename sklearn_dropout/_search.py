"""Grid search that trains all its networks together."""

import time
from copy import copy

import joblib
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel, delayed
from tqdm.auto import tqdm

from ._search_jobs import Evaluation, n_features_of, run_chunk, shared
from ._search_plan import Candidate, Task, make_chunks
from ._validation import (
    _check_method_params,
    _insert_error_scores,
    _MultimetricScorer,
    _warn_or_raise_about_fit_failures,
)


class DropoutSearchCV(GridSearchCV):
    """Exhaustive search over parameters, all networks trained together.

    The contract of :class:`sklearn.model_selection.GridSearchCV` with a different engine.
    Candidates and folds that differ only in numbers (every dropout rate, `alpha`,
    `learning_rate_init`, `max_norm`, `random_state`) and in their rows train as one stack of
    networks; what cannot share a stack (other layer sizes, activations, epochs, callbacks) is
    grouped, or fitted on its own. Estimators of this package are found at the end of a
    ``Pipeline`` and in a ``TransformedTargetRegressor``; preprocessing is then fitted once for
    each fold and each of its own parameters. Any other estimator is fitted as usual.

    With an int as `random_state` of the estimator the scores are those of ``GridSearchCV``, up to
    the rounding of sums that are taken in another order.

    Parameters
    ----------
    estimator : estimator object
        Cloned for each candidate and fold.

    param_grid : dict of str to sequence, or sequence of such
        Parameters and the values to try; several dicts are searched one after the other.

    scoring : str, callable, list, tuple or dict, default=None
        As in ``GridSearchCV``; ``None`` is the estimator's own score.

    n_jobs : int, default=None
        Workers that chunks of networks are spread over; ``None`` is one, unless
        :func:`joblib.parallel_config` says otherwise, which also picks the backend (processes, or
        a Dask cluster). Workers use one thread each.

    refit : bool, str or callable, default=True
        As in ``GridSearchCV``.

    cv : int, cross-validation generator or iterable, default=None
        As in ``GridSearchCV``; ``None`` is 5-fold.

    verbose : int, default=0
        1 shows a bar over network-epochs with the time left.

    pre_dispatch : int or str, default='2*n_jobs'
        Chunks that are handed out in advance.

    error_score : 'raise' or numeric, default=np.nan
        Score of a candidate that fails.

    return_train_score : bool, default=False
        Whether `cv_results_` has training scores.

    Attributes
    ----------
    cv_results_ : dict of ndarrays
        As in ``GridSearchCV``. Networks that trained together share the time of their stack in
        equal parts.
    best_estimator_ : estimator
        Fitted on all data, where `refit` is not False.
    best_score_ : float
    best_params_ : dict
    best_index_ : int
    scorer_ : callable or dict
    n_splits_ : int
    refit_time_ : float
        Seconds.
    multimetric_ : bool
    classes_ : ndarray of shape (n_classes,)
        Of the best estimator.
    n_features_in_ : int
        Of the best estimator.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Of the best estimator.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : One fit at a time.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dropout import DropoutMLPClassifier, DropoutSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = DropoutMLPClassifier((16, 8), batch_size=16, max_iter=40, random_state=0)
    >>> search = DropoutSearchCV(clf, {"dropout_rate": [0.0, 0.1, 0.2, 0.3]}, cv=3).fit(X, y)
    >>> search.cv_results_["mean_test_score"].shape
    (4,)
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
            ``GridSearchCV``.

        Returns
        -------
        self : object
            The fitted search.
        """
        if getattr(self, "_skl_callbacks", None):  # scikit-learn's, which follow single fits
            return super().fit(X, y, **params)
        fitted = copy(self)
        fitted._fit(X, y, params)
        self.__dict__ = vars(fitted)  # as a whole, or not at all
        return self

    def _fit(self, X, y, params):
        """Carry out `fit`; sets the fitted attributes one after the other."""
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, **routed.splitter.split))
        candidates = list(ParameterGrid(self.param_grid))

        evaluation = Evaluation(
            X=X,
            y=y,
            scorer=scorers,
            fit_params=routed.estimator.fit,
            score_params=routed.scorer.score,
            return_train_score=self.return_train_score,
            error_score=self.error_score,
        )
        out = self._evaluate(evaluation, self._make_candidates(candidates), splits)
        _warn_or_raise_about_fit_failures(out, self.error_score)
        if callable(self.scoring):
            _insert_error_scores(out, self.error_score)
        self.n_splits_ = len(splits)
        results = self._format_results(candidates, self.n_splits_, out)
        self._choose(results, out, scorers, refit_metric)
        if self.refit:
            self._refit(X, y, routed.estimator.fit)
        self.scorer_ = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        self.cv_results_ = results

    def _make_candidates(self, grid):
        """Estimators with the parameters of the grid; refuse what every fold would refuse."""
        candidates = []
        for place, params in enumerate(grid):
            try:
                whole = clone(self.estimator).set_params(**clone(params, safe=False))
                candidate = Candidate(params, whole)
                if self.error_score == "raise" and candidate.network is not None:
                    candidate.network._check_params()
                    candidate.network._rates()
                candidates.append(candidate)
            except (TypeError, ValueError) as error:
                raise type(error)(f"Candidate {place} of the grid, {params!r}: {error}") from error
        return candidates

    def _evaluate(self, evaluation, candidates, splits):
        """Results of all candidates on all folds, candidate by candidate."""
        tasks = [
            Task(place * len(splits) + fold, candidate, train, test, fold)
            for place, candidate in enumerate(candidates)
            for fold, (train, test) in enumerate(splits)
        ]
        if not tasks:
            raise ValueError(
                "No fits were performed. Was the CV iterator empty? Were there no candidates?"
            )
        n_workers = joblib.effective_n_jobs(self.n_jobs)
        shape = (len(splits[0][0]) + len(splits[0][1]), n_features_of(evaluation.X))
        chunks = make_chunks(tasks, shape, n_workers)
        evaluation.one_thread = n_workers > 1
        out = [None] * len(tasks)
        with _Bar(tasks, hidden=not self.verbose) as bar:
            evaluation.progress = bar.trained if n_workers == 1 else None
            for chunk, results in self._run(evaluation, chunks, n_workers):
                for place, result in results:
                    out[place] = result
                bar.advance(chunk)
        return out

    def _run(self, evaluation, chunks, n_workers):
        """Yield every chunk with its results, here or from workers as they come."""
        if n_workers == 1:
            yield from ((chunk, evaluation.run(chunk)) for chunk in chunks)
            return
        # scikit-learn's own hand its configuration to the workers.
        parallel = Parallel(
            n_jobs=self.n_jobs, pre_dispatch=self.pre_dispatch, return_as="generator"
        )
        evaluation = shared(evaluation)
        calls = (delayed(run_chunk)(evaluation, chunk) for chunk in chunks)
        yield from zip(chunks, parallel(calls), strict=True)

    def _choose(self, results, out, scorers, refit_metric):
        """Pick the best candidate, as ``GridSearchCV`` does."""
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

    def _refit(self, X, y, fit_params):
        """Fit the best candidate on all data."""
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        start = time.perf_counter()
        self.best_estimator_ = (
            best.fit(X, **fit_params) if y is None else best.fit(X, y, **fit_params)
        )
        self.refit_time_ = time.perf_counter() - start
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_


class _Bar:
    """Progress of a search in network-epochs."""

    def __init__(self, tasks, hidden):
        self.n_epochs = {task.place: task.candidate.n_epochs() for task in tasks}
        total = sum(self.n_epochs.values())
        self.bar = tqdm(total=total, unit="epoch", desc="search", disable=hidden)
        self.n_done = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.bar.close()

    def trained(self, n_epochs, losses):
        """Some epochs of a chunk are done."""
        self.bar.update(n_epochs)

    def advance(self, chunk):
        """A chunk is done, by whatever number of epochs."""
        self.n_done += sum(self.n_epochs[task.place] for task in chunk)
        self.bar.update(self.n_done - self.bar.n)  # early stopping may have left some out
