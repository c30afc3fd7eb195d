"""The plan of a search: its candidates, what they share, and the pieces of work for workers."""

import numbers
from dataclasses import dataclass
from itertools import zip_longest
from threading import Lock

import joblib
import numpy as np
from sklearn.base import clone

from ..checks.random_state import seed_from
from ..estimators.nesting import find_network, shallow_copy
from ..fit.preparation import prepare, prepare_same_rows

# Pieces for each worker, so that none waits long for the last one to finish.
_PIECES_PER_WORKER = 8
_PLAIN = (str, int, float, type(None))

# Parameters of a network that a prepared fit can change without being prepared again. What depends
# on them is checked for each candidate, by `Candidate.check` and `prepare_same_rows`.
CHANGEABLE = frozenset(
    {
        "alpha",
        "dropout_rate",
        "input_dropout_rate",
        "learning_rate_init",
        "max_norm",
        "random_state",
        "spatial_dropout_rate",
        "weight_init",
    }
)


@dataclass
class Candidate:
    """A point of the grid.

    Attributes
    ----------
    model : estimator
        With its parameters; cloned before it is fitted.
    params : dict
    network : DropoutNetwork or None
        That the model ends with.
    prefix : str
        Of the network's parameters in the model.
    key_around, key : hashable
        Equal for equal parameters of the estimators around the network (empty without any), and
        for equal parameters of the network that are not among `CHANGEABLE`.
    dropout : DropoutSettings
        Once the network's parameters have been found in order.
    """

    model: object
    params: dict
    dropout: object = None

    def __post_init__(self):
        self.network, self.prefix = find_network(self.model)
        inner, around = split_params(self.params, self.prefix)
        self.key_around = _key(around) if self.prefix else ()
        self.key = _key({k: value for k, value in inner.items() if k not in CHANGEABLE})
        self._copy = shallow_copy  # a fit changes nothing inside most parameters
        if self.network is not None and any(map(_may_change, vars(self.network).items())):
            self._copy = clone

    def new_network(self):
        """A network with the candidate's parameters, to be fitted."""
        return self._copy(self.network)

    def check(self, names=None):
        """Check the network's parameters, or those with the given names, once."""
        if self.dropout is None:
            self.network._check_params(names)
            self.dropout = self.network._asked_dropout()

    def n_epochs(self):
        """Number of epochs at most; 1 for estimators of other packages."""
        epochs = getattr(self.network, "max_iter", 1)
        return epochs if isinstance(epochs, numbers.Integral) else 1

    def compiled(self):
        """Whether it trains in compiled code, which does not hold the GIL."""
        try:
            return self.network is not None and self.network._compiled()
        except (TypeError, ValueError):  # invalid parameters, refused when the fit is prepared
            return False


class SharedResults:
    """Results that fits of a search on one fold share.

    The latest result of each name is kept, so that memory does not grow with the number of fits.
    Fits that follow each other share it.
    """

    def __init__(self):
        self._latest = {}

    def __call__(self, name, key, compute):
        """A result, which must not be changed.

        Parameters
        ----------
        name : str
        key : object
            All that the result depends on.
        compute : callable () -> result
            Called unless the latest result of this name has an equal key.
        """
        known = self._latest.get(name)
        if known is None or known[0] != key:
            del known
            self._latest.pop(name, None)  # so that a thread holds one of them at a time
            known = self._latest[name] = key, compute()
        return known[1]


class Fold:
    """Rows of a fold, and what candidates that differ only in their network share on it.

    Several threads may work on a fold. A copy in another process starts empty.

    Parameters
    ----------
    train, test : int ndarrays

    Attributes
    ----------
    model : estimator, or None before the first fit
        With all steps before the network fitted.
    call : FitCall
        Of the network's `fit`.
    checked : CheckedData or None
        The data of that call, checked by the first network.
    fits : dict of Fit
        Prepared for that call, one for each key of a candidate.
    shared : SharedResults
    inputs : dict
        Checked rows to score on, by the name of the score and the key of the checks.
    n_pieces : int
        Pieces of work that remain.
    """

    def __init__(self, train, test):
        self.train, self.test = train, test
        self.n_pieces = 0
        self._forget()

    def _forget(self):
        self.lock = Lock()
        self.model = self.call = self.checked = None
        self.fits, self.inputs, self.shared = {}, {}, SharedResults()

    def prepare(self, candidate, network):
        """Prepare the fit of a candidate's network, if possible from an earlier one with its key.

        Parameters
        ----------
        candidate : Candidate
        network : DropoutNetwork
            From its `new_network`; gets the attributes that are learned from the data.
        """
        like = self.fits.get(candidate.key)
        candidate.check(None if like is None else CHANGEABLE)
        if like is None:
            fit = prepare(network, self.call, self.checked)
            self.checked, fit.shared = fit.checked, self.shared
            like = self.fits[candidate.key] = shallow_copy(fit)
            like.estimator = like.learner = None
            return fit
        seed = seed_from(network.random_state)
        held_out = like.valid is not None and self.call.validation[0] is None
        if held_out and seed != like.seed:  # then the held-out rows differ
            vars(network)["random_state"] = seed
            return prepare(network, self.call, self.checked)
        return prepare_same_rows(like, network, candidate.dropout, seed)

    def done(self):
        """Count a finished piece; after the last one, release the data."""
        with self.lock:
            self.n_pieces -= 1
            if self.n_pieces == 0:
                self._forget()

    def __reduce__(self):
        return Fold, (self.train, self.test)


@dataclass
class Piece:
    """Candidates on one fold that one worker fits one after the other.

    Attributes
    ----------
    fold : Fold
    fits : list of pairs (index, Candidate)
        With the index of each in the results.
    """

    fold: Fold
    fits: list

    @property
    def n_epochs(self):
        """Number of epochs of all its networks, at most."""
        return sum(candidate.n_epochs() for _, candidate in self.fits)


def split_params(params, prefix):
    """Parameters of the network that a model ends with, and those of the rest."""
    inner = {}
    around = {}
    for name, value in params.items():
        belongs = name.startswith(prefix)
        (inner if belongs else around)[name.removeprefix(prefix)] = value
    return inner, around


def _may_change(parameter):
    """Whether a fit may change the value of a parameter, a pair (name, value)."""
    name, value = parameter
    if isinstance(value, np.random.RandomState) or (name == "callbacks" and value):
        return True
    return callable(value) and not isinstance(value, type)


def _key(params):
    """A key that is equal for equal parameters, except for some that cannot be pickled."""
    if all(type(value) in _PLAIN for value in params.values()):
        return tuple((name, type(value).__name__, params[name]) for name, value in params.items())
    try:
        return joblib.hash(params)
    except Exception:  # functions that cannot be pickled
        return tuple((name, id(value)) for name, value in sorted(params.items()))


def make_pieces(candidates, splits, n_workers, in_threads):
    """Cut a search into pieces of work.

    Threads share what is fitted on a fold, so their pieces are small. Other workers fit the
    preprocessing again for each piece: there a piece has all candidates of a fold, if there are
    enough folds for all workers.

    Parameters
    ----------
    candidates : list of pairs (row, Candidate)
        With the row of each in ``cv_results_``.
    splits : list of pairs (train, test)
    n_workers : int
    in_threads : bool

    Returns
    -------
    pieces : list of Piece
        In the order in which to begin them. The index of a fit in the results is
        ``row * len(splits) + fold``.
    """
    groups = {}
    for fold, split in enumerate(splits):
        for row, candidate in candidates:
            key = candidate.key_around if candidate.network is not None else row
            key = fold, candidate.network is None, key
            if key not in groups:
                groups[key] = Piece(Fold(*split), [])
            groups[key].fits.append((row * len(splits) + fold, candidate))
    size = -(-len(candidates) * len(splits) // (n_workers * _PIECES_PER_WORKER))
    cut = [
        _cut(g, _size_of_pieces(g, size, len(groups), n_workers, in_threads))
        for g in groups.values()
    ]
    # Workers start on different folds, and finish folds before they start on others.
    return [
        piece
        for start in range(0, len(cut), n_workers)
        for pieces in zip_longest(*cut[start : start + n_workers])
        for piece in pieces
        if piece is not None
    ]


def _size_of_pieces(group, size, n_groups, n_workers, in_threads):
    """How many fits of a group go into a piece."""
    if n_workers == 1:
        return len(group.fits)
    if in_threads or not group.fits[0][1].prefix:
        return size
    return -(-len(group.fits) * n_groups // max(n_groups, n_workers))


def _cut(group, size):
    """Pieces of at most `size` fits."""
    fits = group.fits
    pieces = [Piece(group.fold, fits[i : i + size]) for i in range(0, len(fits), size)]
    group.fold.n_pieces = len(pieces)
    return pieces
