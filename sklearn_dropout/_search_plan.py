"""The plan of a search: which candidates on which folds train together, and on which worker."""

import numbers
from collections import Counter, defaultdict
from copy import copy
from dataclasses import dataclass

import joblib
import numpy as np
from sklearn.base import clone

from ._nesting import find_network
from ._preparation import rows_in_batch
from ._stacking import STACKABLE, stack_size
from ._validation import check_hidden_layer_sizes

# Training rows of different folds that a chunk may hold in memory at once.
_CHUNK_VALUES = 100_000_000
_PLAIN = (str, int, float, type(None))


@dataclass
class Candidate:
    """A point of the grid, and what decides which others it can share a stack with.

    Attributes
    ----------
    params : dict
    whole : estimator
        With these parameters; cloned before it is fitted.
    network : DropoutNetwork or None
        That the whole ends with.
    prefix : str
        Of the network's parameters in the whole.
    outer, fixed : hashable
        Of the parameters around the network (empty where there is nothing around it), and of those
        of its own that cannot differ within a stack.
    validated : bool
        Whether the network's parameters have been found in order.
    """

    params: dict
    whole: object

    def __post_init__(self):
        self.network, self.prefix = find_network(self.whole)
        inner, outer = split_params(self.params, self.prefix)
        fixed = {name: value for name, value in inner.items() if name not in STACKABLE}
        self.outer = _key(outer) if self.prefix else ""
        self.fixed = _key(fixed)
        self.validated = False

    def new_network(self):
        """A network with the candidate's parameters, to be fitted."""
        network = self.network
        if isinstance(network.random_state, np.random.RandomState) or network.callbacks:
            return clone(network)
        return copy(network)  # nothing in it changes in a fit

    def stack_size(self, n_rows, n_features):
        """How many like it make a stack, on so many training rows; None where one cannot tell."""
        network = self.network
        if network is None or not network._stacks:
            return 1
        try:
            hidden = check_hidden_layer_sizes(network.hidden_layer_sizes)
            n_rows = min(rows_in_batch(network.batch_size), n_rows)
            return stack_size(n_rows, (n_features, *hidden, 1))
        except (TypeError, ValueError, ZeroDivisionError):  # said when the candidate is prepared
            return None

    def n_epochs(self):
        """Epochs that it trains at the most; 1 for what is not of this package."""
        epochs = getattr(self.network, "max_iter", 1)
        return epochs if isinstance(epochs, numbers.Integral) else 1


@dataclass
class Task:
    """One candidate on one fold.

    Attributes
    ----------
    place : int
        In the results.
    candidate : Candidate
    train, test : int ndarrays
        Rows of the fold.
    fold : int
    """

    place: int
    candidate: Candidate
    train: np.ndarray
    test: np.ndarray
    fold: int

    def kind(self, n_features):
        """What tasks of a stack must have in common.

        Returns
        -------
        outer, fixed : hashable
            See `Candidate`.
        size : int
            How many tasks make a stack.
        """
        size = self.candidate.stack_size(len(self.train), n_features)
        if size is None or self.candidate.network is None:
            return "", self.place, 1
        return self.candidate.outer, self.candidate.fixed, size


def split_params(params, prefix):
    """Parameters of the network that a whole ends with, and those of the rest."""
    inner = {}
    outer = {}
    for name, value in params.items():
        last = name.removeprefix(prefix)
        belongs = name.startswith(prefix) and "__" not in last
        (inner if belongs else outer)[last if belongs else name] = value
    return inner, outer


def _key(params):
    """Something that is equal for equal parameters, and may differ where that is hard to tell."""
    if all(type(value) in _PLAIN for value in params.values()):
        return tuple((name, type(value).__name__, params[name]) for name, value in params.items())
    try:
        return joblib.hash(params)
    except Exception:  # functions that cannot be pickled
        return tuple((name, id(value)) for name, value in sorted(params.items()))


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
        outer, fixed, size = task.kind(shape[1])
        # Preprocessing is fitted once for all that a chunk holds, stackable or not.
        key = outer if task.candidate.prefix else fixed, len(task.train)
        groups[key].append(task)
        sizes[key] = max(size, sizes.get(key, 1))
    chunks = []
    for key, group in groups.items():
        group.sort(key=lambda task: task.fold)  # so that few chunks need the same preprocessing
        chunks += _cut(group, _chunk_size(group, sizes[key], n_workers), max_folds)
    return chunks


def cut_into_stacks(tasks, n_features):
    """Pieces of a chunk that are prepared, trained and scored before the next.

    So the networks alive at a time are few, however many candidates a fold has.
    """
    groups, sizes = defaultdict(list), {}
    for task in tasks:
        *kind, size = task.kind(n_features)
        key = *kind, len(task.train)
        groups[key].append(task)
        sizes[key] = size
    for key, group in groups.items():
        yield from (group[i : i + sizes[key]] for i in range(0, len(group), sizes[key]))


def _chunk_size(tasks, size, n_workers):
    """Tasks in a chunk: at most `size`, a share for each worker, and whole folds if they can be.

    Tasks of a fold may share preprocessing, which is fitted once in each chunk.
    """
    share = -(-len(tasks) // n_workers)
    if tasks[0].candidate.prefix == "":
        return min(size, share)
    per_fold = max(Counter(task.fold for task in tasks).values())
    n_folds = -(-len(tasks) // per_fold)
    if n_folds >= n_workers:
        share = -(-n_folds // n_workers) * per_fold
    return min(max(1, size // per_fold) * per_fold, share)


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
