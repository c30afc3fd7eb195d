"""The work of a search: candidates on folds, cut into chunks that train together."""

import numbers
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from traceback import format_exc

import joblib
import numpy as np
import torch
from sklearn.base import clone

from ._nesting import call_of_network, complete, find_network, graft
from ._stacking import STACKABLE, stack_size, train_together
from ._state import torch_threads
from ._validation import (
    _check_method_params,
    _MultimetricScorer,
    _safe_split,
    _score,
    check_hidden_layer_sizes,
)

# Training rows of different folds that a chunk may hold in memory at once.
_CHUNK_VALUES = 100_000_000


@dataclass
class Task:
    """One candidate on one fold.

    Attributes
    ----------
    place : int
        In the results.
    params : dict
        Of the candidate.
    whole : estimator
        With these parameters; cloned before it is fitted.
    train, test : int ndarrays
        Rows of the fold.
    fold : int
    """

    place: int
    params: dict
    whole: object
    train: np.ndarray
    test: np.ndarray
    fold: int


@dataclass
class Running:
    """A task on its way: a whole estimator and, where it can be stacked, its prepared fit."""

    task: Task
    whole: object
    fit: object = None
    error: str | None = None
    seconds: float = 0.0


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
    """

    whole: object
    call: object
    checked: object = None


def split_params(params, prefix):
    """Parameters of the network that a whole ends with, and those of the rest."""
    inner = {}
    outer = {}
    for name, value in params.items():
        last = name.removeprefix(prefix)
        belongs = name.startswith(prefix) and "__" not in last
        (inner if belongs else outer)[last if belongs else name] = value
    return inner, outer


def _hash(params):
    """Something that is equal for equal parameters, and may differ where that is hard to tell."""
    try:
        return joblib.hash(params)
    except Exception:  # functions that cannot be pickled
        return tuple((name, id(value)) for name, value in sorted(params.items()))


def _quietly(n_epochs, losses):
    """Progress of networks that are part of something larger."""


def _finish(running, outcome):
    running.fit.finish(outcome)
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
        n_features = getattr(self.X, "shape", (0, 1))[-1]
        templates, results = {}, []
        with torch_threads(n_threads):
            for stack in cut_into_stacks(tasks, n_features):
                results += self._run(stack, templates)
        return results

    def _run(self, tasks, templates):
        running = [self._start(task, templates) for task in tasks]
        stacked = [r for r in running if r.fit is not None]
        start = time.perf_counter()
        for place, outcome in train_together([r.fit for r in stacked], self.progress or _quietly):
            self._guard(stacked[place], lambda r, outcome=outcome: _finish(r, outcome))
        for r in stacked:
            r.seconds += (time.perf_counter() - start) / len(stacked)
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
        running = Running(task, clone(task.whole))
        self._guard(running, lambda r: self._prepare(r, templates))
        return running

    def _prepare(self, running, templates):
        """Prepare the fit of a network, or fit anything else at once."""
        task, whole = running.task, running.whole
        network, prefix = find_network(whole)
        if network is None:
            self._fit(whole, task)
            return
        key = task.fold, _hash(split_params(task.params, prefix)[1])
        if key not in templates:
            network, call = call_of_network(whole, lambda whole: self._fit(whole, task))
            templates[key] = Template(whole, call)
        else:
            network = clone(network) if prefix else network
            running.whole = graft(templates[key].whole, whole, network)
        template = templates[key]
        running.fit = network._prepare(template.call, template.checked)
        template.checked = running.fit.checked

    def _fit(self, whole, task):
        X, y = _safe_split(whole, self.X, self.y, task.train)
        params = _check_method_params(self.X, params=self.fit_params, indices=task.train)
        if y is None:
            whole.fit(X, **params)
        else:
            whole.fit(X, y, **params)

    def _result(self, running):
        """Score a task that has been fitted."""
        task, start = running.task, time.perf_counter()
        result = {
            "fit_error": running.error,
            "n_test_samples": len(task.test),
            "fit_time": running.seconds,
        }
        parts = {"test_scores": task.test}
        if self.return_train_score:
            parts["train_scores"] = task.train
        for name, rows in parts.items():
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


def make_chunks(tasks, shape, n_workers):
    """Cut the tasks of a search into chunks for workers.

    Tasks that may share a stack stay together, as many as a stack holds; with several workers
    each gets a part of a stack that would else go to one.

    Parameters
    ----------
    tasks : list of Task
    shape : tuple (n_samples, n_features)
    n_workers : int

    Returns
    -------
    chunks : list of lists of Task
    """
    groups = defaultdict(list)
    sizes = {}
    max_folds = max(1, _CHUNK_VALUES // max(1, shape[0] * shape[1]))
    for task in tasks:
        outer, fixed, size = _kind(task, shape[1])
        # Preprocessing is fitted once for all that a chunk holds, stackable or not.
        key = outer or fixed, len(task.train)
        groups[key].append(task)
        sizes[key] = max(size, sizes.get(key, 1))
    chunks = []
    for key, group in groups.items():
        group.sort(key=lambda task: task.fold)  # so that few chunks need the same preprocessing
        size = min(_whole_folds(group, sizes[key]), -(-len(group) // n_workers))
        chunks += _cut(group, size, max_folds)
    return chunks


def cut_into_stacks(tasks, n_features):
    """Pieces of a chunk that are prepared, trained and scored before the next.

    So the networks alive at a time are few, however many candidates a fold has.
    """
    groups, sizes = defaultdict(list), {}
    for task in tasks:
        *kind, size = _kind(task, n_features)
        key = *kind, len(task.train)
        groups[key].append(task)
        sizes[key] = size
    for key, group in groups.items():
        yield from (group[i : i + sizes[key]] for i in range(0, len(group), sizes[key]))


def _whole_folds(tasks, size):
    """Size of chunks with all tasks of a fold, where these share preprocessing."""
    if find_network(tasks[0].whole)[1] == "":
        return size
    per_fold = max(Counter(task.fold for task in tasks).values())
    return max(1, size // per_fold) * per_fold


def _cut(tasks, size, max_folds):
    """Pieces of at most `size` tasks and `max_folds` folds, from tasks in the order of folds."""
    pieces, folds = [], set()
    for task in tasks:
        folds.add(task.fold)
        if not pieces or len(pieces[-1]) == size or len(folds) > max_folds:
            pieces.append([])
            folds = {task.fold}
        pieces[-1].append(task)
    return pieces


def _kind(task, n_features):
    """What tasks of a stack must have in common.

    Returns
    -------
    outer, fixed : hashable
        Of parameters around the network (empty where there is nothing around it), and of those of
        its own parameters that cannot differ within a stack.
    size : int
        How many tasks make a stack.
    """
    network, prefix = find_network(task.whole)
    if network is None:
        return "", task.place, 1
    inner, outer = split_params(task.params, prefix)
    fixed = {name: value for name, value in inner.items() if name not in STACKABLE}
    try:
        hidden = check_hidden_layer_sizes(network.hidden_layer_sizes)
        n_rows = 200 if network.batch_size == "auto" else network.batch_size
        size = 1
        if network._stacks:
            size = stack_size(min(n_rows, len(task.train)), (n_features, *hidden, 1))
    except (TypeError, ValueError, ZeroDivisionError):  # said when the candidate is prepared
        return "", task.place, 1
    return _hash(outer) if prefix else "", _hash(fixed), size


def network_epochs(task):
    """Epochs that a task trains at the most; 1 for what is not of this package."""
    network, _ = find_network(task.whole)
    epochs = getattr(network, "max_iter", 1)
    return epochs if isinstance(epochs, numbers.Integral) else 1
