"""The work of a search: chunks of candidates and folds, fitted together and scored."""

import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from traceback import format_exc

import joblib
import numpy as np
import torch
from sklearn.base import clone

from ._nesting import call_of_network, complete, graft, inputs_of_network
from ._preparation import prepare
from ._problem import Outcome
from ._search_plan import Task, cut_into_stacks
from ._stack_scores import own_scores, scores_together
from ._stacking import train_together
from ._state import torch_threads
from ._validation import _check_method_params, _MultimetricScorer, _safe_split, _score


@dataclass
class Running:
    """A task on its way.

    Attributes
    ----------
    task : Task
    whole : estimator
        To be fitted.
    template : Template or None
        Of its fold.
    fit : Prepared or None
        Of the network, where the whole ends with one that is not fitted yet.
    outcome : Outcome or Exception
        What became of that fit.
    error : str or None
        Traceback of what went wrong.
    seconds : float
        Time it took to fit.
    scores : dict of float
        By the name they have in the result.
    """

    task: Task
    whole: object = None
    template: object = None
    fit: object = None
    outcome: object = None
    error: str | None = None
    seconds: float = 0.0
    score_seconds: float = 0.0
    scores: dict = field(default_factory=dict)


@dataclass
class Template:
    """What the candidates of a fold share when they differ in their network only.

    Attributes
    ----------
    whole : estimator
        Everything before the network fitted.
    call : FitCall
        What the network was given to fit.
    checked : Checked or None
        The data of that call as the first network has checked them.
    alike : dict of Prepared
        For each kind of network a fit of that call, without the estimator.
    inputs : dict
        What the network is given to score, by the name of the score.
    """

    whole: object
    call: object
    checked: object = None
    alike: dict = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)

    def prepare(self, candidate, network):
        """Prepare the fit of a candidate's network."""
        if not candidate.validated:
            network._check_params()
            candidate.validated = True
        like = self.alike.get(candidate.fixed)
        if like is not None and like.serves(network):
            return like.alike(network)
        fit = prepare(network, self.call, self.checked)
        self.checked = fit.checked
        self.alike[candidate.fixed] = replace(fit, estimator=None, learner=None)
        return fit


def _quietly(n_epochs, losses):
    """Progress of networks that are part of something larger."""


def _finish(running):
    running.fit.finish(running.outcome)
    complete(running.whole)


@dataclass
class Evaluation:
    """Fits and scores chunks of tasks; what all chunks share, sent to every worker.

    Attributes
    ----------
    X, y : data of the search
    scorer : callable or _MultimetricScorer
    fit_params, score_params : dict
    return_train_score : bool
    error_score : "raise" or number
    one_thread : bool
        Whether to keep PyTorch to one thread, for workers beside each other.
    """

    X: object
    y: object
    scorer: object
    fit_params: dict
    score_params: dict
    return_train_score: bool
    error_score: object
    one_thread: bool = False
    progress: object = field(default=None, repr=False)

    def run(self, tasks):
        """Fit and score the tasks of a chunk.

        Returns
        -------
        results : list of pairs (place, dict)
            Dicts as scikit-learn's search makes them.
        """
        n_threads = 1 if self.one_thread else torch.get_num_threads()
        templates, results = {}, []
        with torch_threads(n_threads):
            for stack in cut_into_stacks(tasks, n_features_of(self.X)):
                results += self._run(stack, templates)
        return results

    def _run(self, tasks, templates):
        running = [self._start(task, templates) for task in tasks]
        stacked = [r for r in running if r.fit is not None]
        start = time.perf_counter()
        for place, outcome in train_together([r.fit for r in stacked], self.progress or _quietly):
            stacked[place].outcome = outcome
        for r in stacked:
            r.seconds += (time.perf_counter() - start) / len(stacked)
        self._score_together(stacked)
        for r in stacked:
            if not r.scores:
                self._guard(r, _finish)
        return [(r.task.place, self._result(r)) for r in running]

    def _guard(self, running, action):
        """Do something to a task; note the error, or raise it where `error_score` says so."""
        start = time.perf_counter()
        try:
            action(running)
        except Exception:
            if self.error_score == "raise":
                raise
            running.error = format_exc()
            running.fit = None
        running.seconds += time.perf_counter() - start

    def _start(self, task, templates):
        running = Running(task)
        self._guard(running, lambda r: self._prepare(r, templates))
        return running

    def _prepare(self, running, templates):
        """Prepare the fit of a network, or fit anything else at once."""
        task, candidate = running.task, running.task.candidate
        if candidate.network is None:
            running.whole = clone(candidate.whole)
            self._fit(running.whole, task)
            return
        key = task.fold, candidate.outer
        if key not in templates:
            running.whole = clone(candidate.whole) if candidate.prefix else candidate.new_network()
            network, call = call_of_network(running.whole, lambda whole: self._fit(whole, task))
            templates[key] = Template(running.whole, call)
        else:
            network = candidate.new_network()
            running.whole = graft(templates[key].whole, candidate.whole, network)
        running.template = templates[key]
        running.fit = running.template.prepare(candidate, network)

    def _fit(self, whole, task):
        X, y = _safe_split(whole, self.X, self.y, task.train)
        params = _check_method_params(self.X, params=self.fit_params, indices=task.train)
        if y is None:
            whole.fit(X, **params)
        else:
            whole.fit(X, y, **params)

    def _parts(self, task):
        """Rows to score, by the name of the score in the result."""
        parts = {"test_scores": task.test}
        if self.return_train_score:
            parts["train_scores"] = task.train
        return parts

    def _score_together(self, stacked):
        """Score the networks of each fold in one go, where that gives what the scorer gives.

        Whatever fails here is left to the scorer, whose errors are those that users know.
        """
        by_template = defaultdict(list)
        for r in stacked:
            if isinstance(r.outcome, Outcome) and not r.outcome.error and not self.score_params:
                by_template[id(r.template)].append(r)
        for group in by_template.values():
            if scores_together(self.scorer, group[0].whole):
                start = time.perf_counter()
                try:
                    self._score_group(group)
                except Exception:
                    for r in group:
                        r.scores = {}
                for r in group:
                    r.score_seconds += (time.perf_counter() - start) / len(group)

    def _score_group(self, group):
        task, template, whole = group[0].task, group[0].template, group[0].whole
        for name, rows in self._parts(task).items():
            if name not in template.inputs:
                X, y = _safe_split(whole, self.X, self.y, rows, task.train)
                template.inputs[name] = inputs_of_network(template.whole, X), y
            scores = own_scores(
                [r.fit.learner for r in group], [r.outcome for r in group], *template.inputs[name]
            )
            for r, score in zip(group, scores, strict=True):
                r.scores[name] = score

    def _result(self, running):
        """What the search is told of a task."""
        task, start = running.task, time.perf_counter()
        result = {
            "fit_error": running.error,
            "n_test_samples": len(task.test),
            "fit_time": running.seconds,
            "score_time": running.score_seconds,
        }
        if running.scores:
            return result | running.scores
        for name, rows in self._parts(task).items():
            result[name] = self._score(running, rows)
            if name == "test_scores":
                result["score_time"] = time.perf_counter() - start
        return result

    def _score(self, running, rows):
        if running.error is not None:
            if isinstance(self.scorer, _MultimetricScorer):
                return dict.fromkeys(self.scorer._scorers, self.error_score)
            return self.error_score
        X, y = _safe_split(running.whole, self.X, self.y, rows, running.task.train)
        params = _check_method_params(self.X, params=self.score_params, indices=rows)
        return _score(running.whole, X, y, self.scorer, params, self.error_score)


def n_features_of(X):
    """Values in a row of `X`, whatever its shape."""
    return int(np.prod(getattr(X, "shape", (0, 1))[1:]))


def run_chunk(evaluation, tasks):
    """What a worker is asked for."""
    return evaluation.run(tasks)


def shared(evaluation):
    """The evaluation, on a Dask cluster sent once to every worker, so that one may die."""
    backend, _ = joblib.parallel.get_active_backend()
    client = getattr(backend, "client", None)
    if client is None:
        return evaluation
    return client.scatter(evaluation, broadcast=True, hash=False)
