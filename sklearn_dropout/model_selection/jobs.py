"""The work of a search: candidates on a fold, fitted one after the other and scored."""

import time
from dataclasses import dataclass
from traceback import format_exc

from sklearn.base import clone

from ..checks.validation import _check_method_params, _MultimetricScorer, _safe_split, _score
from ..estimators.nesting import fit_network_by, inputs_of_network, take_over, with_network
from ..fit.events import fit_events
from .events import NoTask
from .scores import asks_for_own_score, checked_rows, own_score


@dataclass
class Evaluation:
    """Fits and scores pieces of a search; holds what all pieces share, and is sent to every worker.

    Attributes
    ----------
    X, y : data of the search
    scorer : callable or _MultimetricScorer
    fit_params, score_params : dict
    return_train_score : bool
    error_score : "raise" or number
    tasks : list of Task, or None
        For callbacks, one for each index in the results.
    """

    X: object
    y: object
    scorer: object
    fit_params: dict
    score_params: dict
    return_train_score: bool
    error_score: object
    tasks: object = None

    def run(self, piece, progress):
        """Fit and score the candidates of a piece.

        Parameters
        ----------
        piece : Piece
        progress : callable (records)
            Called with the records of finished epochs; an exception from it ends the work.

        Returns
        -------
        results : list of pairs (index, dict)
            Dicts as in scikit-learn's search.
        """
        try:
            results = []
            for index, candidate in piece.fits:
                task = self.tasks[index] if self.tasks else NoTask()
                try:
                    results.append((index, self._result(piece.fold, candidate, progress, task)))
                finally:
                    task.end()
            return results
        finally:
            piece.fold.done()

    def _result(self, fold, candidate, progress, task):
        """The result of a candidate on a fold."""
        model, trained, error, start = None, None, None, time.perf_counter()
        try:
            model, trained = self._train(fold, candidate, progress, task)
        except Exception:
            if self.error_score == "raise":
                raise
            error = format_exc()
        fitted = time.perf_counter()
        result = {
            "fit_error": error,
            "n_test_samples": len(fold.test),
            "fit_time": fitted - start,
        }
        for name, rows in self._parts(fold).items():
            result[name] = self._own_score(fold, trained, name, rows)
            if result[name] is None:
                if trained is not None:
                    _finish(model, *trained)
                    trained = None
                result[name] = self._score(fold, model, error, rows)
            if name == "test_scores":
                result["score_time"] = time.perf_counter() - fitted
        return result

    def _train(self, fold, candidate, progress, task):
        """Train a candidate.

        Returns
        -------
        model : estimator
        trained : None, or pair (Fit, Outcome)
            If not None, the network still lacks its fitted attributes: its own score needs few of
            them.
        """
        if candidate.network is None or (candidate.prefix and task.listened):
            # The estimator around a network has tasks of its own, for callbacks to follow.
            return self._fit_on_its_own(fold, candidate, progress, task), None
        self._open(fold, candidate)
        network = candidate.new_network()
        model = with_network(fold.model, candidate.model, network)
        with task.fit(network, self, fold), fit_events(network, fold.call) as events:
            fit = fold.prepare(candidate, network)
            outcome = fit.learner._train(fit, progress, keep_interrupted=False, events=events)
            if events is not None:
                fit.finish(outcome)
        if not (outcome.error or self.score_params) and asks_for_own_score(self.scorer, model):
            return model, (fit, outcome)
        _finish(model, fit, outcome)
        return model, None

    def _fit_on_its_own(self, fold, candidate, progress, task):
        """Fit a candidate that shares nothing with other candidates."""
        model = clone(candidate.model)
        with task.fit(model, self, fold):
            if candidate.network is None:
                self._fit(model, fold)
            else:
                fit_network_by(
                    lambda network, call: network._carry_out(call, progress, False),
                    model,
                    lambda model: self._fit(model, fold),
                )
        return model

    def _open(self, fold, candidate):
        """Fit what the candidates share on a fold, at the first call."""
        with fold.lock:
            if fold.model is None:
                model = clone(candidate.model) if candidate.prefix else candidate.new_network()
                calls = []
                fit_network_by(
                    lambda _, call: calls.append(call), model, lambda model: self._fit(model, fold)
                )
                (fold.call,), fold.model = calls, model

    def _fit(self, model, fold):
        X, y = _safe_split(model, self.X, self.y, fold.train)
        params = _check_method_params(self.X, params=self.fit_params, indices=fold.train)
        if y is None:
            model.fit(X, **params)
        else:
            model.fit(X, y, **params)

    def _parts(self, fold):
        """Rows to score, by the name of the score in the result."""
        parts = {"test_scores": fold.test}
        if self.return_train_score:
            parts["train_scores"] = fold.train
        return parts

    def _own_score(self, fold, trained, name, rows):
        """Score without the scorer; None if the result may differ from the scorer's.

        Failures are left to the scorer, whose error messages users know.
        """
        if trained is None:
            return None
        fit, outcome = trained
        learner, key = fit.learner, (name, fit.learner._data_key())
        learner._parameters = outcome.weights, outcome.biases
        try:
            if key not in fold.inputs:
                X, y = _safe_split(fold.model, self.X, self.y, rows, fold.train)
                fold.inputs[key] = checked_rows(learner, inputs_of_network(fold.model, X), y)
            return own_score(learner, *fold.inputs[key])
        except Exception:
            return None

    def _score(self, fold, model, error, rows):
        if error is not None:
            if isinstance(self.scorer, _MultimetricScorer):
                return dict.fromkeys(self.scorer._scorers, self.error_score)
            return self.error_score
        X, y = _safe_split(model, self.X, self.y, rows, fold.train)
        params = _check_method_params(self.X, params=self.score_params, indices=rows)
        return _score(model, X, y, self.scorer, params, self.error_score)


def _finish(model, fit, outcome):
    fit.finish(outcome)
    take_over(model)
