"""A search over dropout rates: `DropoutSearchCV` beside `GridSearchCV` over this and other tools.

Run from the root of the repository: ``python -m benchmarks.search``, ``--quick`` to see that it
runs. Every search has two workers and includes scoring: `DropoutSearchCV` two threads,
`GridSearchCV` two processes, which have started before they are timed. scikit-learn's MLP has no
dropout and searches as many values of alpha instead.
"""

import importlib.util
import warnings
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    make_circles,
    make_classification,
)
from sklearn.model_selection import (
    GridSearchCV,
    PredefinedSplit,
    RepeatedKFold,
    RepeatedStratifiedKFold,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV

from . import _timing
from ._timing import seconds
from ._tools import dropout_network

PACKAGES = ("sklearn-dropout", "numpy", "numba", "scikit-learn", "torch", "skorch")
N_JOBS = 2
RATES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
ALPHAS = [1e-5, 1e-4, 1e-3]


class Network(nn.Module):
    """What skorch searches over: a perceptron whose dropout rate is a parameter."""

    def __init__(self, sizes, rate=0.0):
        super().__init__()
        self.layers = dropout_network(sizes, rate)

    def forward(self, x):
        """Outputs without an output function."""
        return self.layers(x)


@dataclass(frozen=True)
class Study:
    """One row of the table.

    Attributes
    ----------
    name : str
    data : tuple (X, y)
    cv : splitter
    hidden : tuple of int
    epochs, batch_size : int
    rates : list of float
    alphas : list of float
        Searched together with the rates; here and in scikit-learn's MLP.
    seeds : list of int
        More candidates: repeats with other random states.
    scaled : bool
        Whether a `StandardScaler` goes before the network.
    aims : dict
    """

    name: str
    data: tuple
    cv: object
    hidden: tuple
    epochs: int
    batch_size: int
    rates: list = field(default_factory=lambda: RATES)
    alphas: list = field(default_factory=lambda: [1e-4])
    seeds: list = field(default_factory=lambda: [0])
    scaled: bool = False
    aims: dict = field(default_factory=dict)

    @property
    def classifies(self):
        """Whether the targets are classes."""
        return self.data[1].dtype.kind == "i"

    @property
    def n_fits(self):
        """Networks that a search trains."""
        n_candidates = len(self.rates) * len(self.alphas) * len(self.seeds)
        return n_candidates * self.cv.get_n_splits(*self.data)


def default(quick):
    """The network and the batch size that users start with."""
    X, y = make_classification(600, 9, random_state=0)
    cv = RepeatedStratifiedKFold(n_splits=5, n_repeats=1 if quick else 2, random_state=0)
    return Study(
        "default",
        (X.astype(np.float32), y),
        cv,
        (100,),
        epochs=4 if quick else 100,
        batch_size=200,
        rates=[0.0, 0.2, 0.4, 0.6],
        aims={"scikit-learn": ">= 10", "GridSearchCV": ">= 3"},
    )


def circles(quick):
    X, y = make_circles(100, noise=0.1, random_state=1)
    fold = PredefinedSplit(np.repeat([-1, 0], [30, 70]))
    return Study(
        "circles",
        (X.astype(np.float32), y),
        fold,
        (500,),
        epochs=100 if quick else 4000,
        batch_size=32,
        rates=[*RATES, 0.7],
        seeds=list(range(1 if quick else 4)),
        aims={"scikit-learn": ">= 12", "skorch": ">= 40"},
    )


def iris(quick):
    X, y = load_iris(return_X_y=True)
    cv = RepeatedStratifiedKFold(n_splits=5, n_repeats=1 if quick else 10, random_state=0)
    aims = {"scikit-learn": ">= 60", "skorch": ">= 250"}
    data = X.astype(np.float32), y
    return Study("iris", data, cv, (16, 8), epochs=4 if quick else 40, batch_size=16, aims=aims)


def tables(load, splitter, quick):
    X, y = load(return_X_y=True)
    y = y if y.dtype.kind == "i" else y.astype(np.float32)
    cv = splitter(n_splits=5, n_repeats=1 if quick else 2, random_state=0)
    return Study(
        load.__name__.removeprefix("load_"),
        (X.astype(np.float32), y),
        cv,
        (16, 8),
        epochs=2 if quick else 20,
        batch_size=32,
        alphas=ALPHAS,
        scaled=True,
        aims={"scikit-learn": ">= 25", "skorch": ">= 100"},
    )


STUDIES = {
    "default": default,
    "iris": iris,
    "circles": circles,
    "breast_cancer": partial(tables, load_breast_cancer, RepeatedStratifiedKFold),
    "diabetes": partial(tables, load_diabetes, RepeatedKFold),
}


def search(search_class, network, grid, study):
    """Seconds of a search without a refit."""
    if study.scaled:
        name = type(network).__name__.lower()
        network = make_pipeline(StandardScaler(), network)
        grid = {f"{name}__{parameter}": values for parameter, values in grid.items()}
    engine = search_class(network, grid, cv=study.cv, n_jobs=N_JOBS, refit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no convergence; a batch larger than the data
        return seconds(lambda: engine.fit(*study.data))


def here(study, search_class=DropoutSearchCV):
    network = DropoutMLPClassifier if study.classifies else DropoutMLPRegressor
    network = network(study.hidden, max_iter=study.epochs, batch_size=study.batch_size)
    grid = {"dropout_rate": study.rates, "alpha": study.alphas, "random_state": study.seeds}
    return search(search_class, network, grid, study)


def grid_search(study):
    """The same estimator in scikit-learn's search."""
    return here(study, GridSearchCV)


def scikit_learn(study):
    network = MLPClassifier if study.classifies else MLPRegressor
    network = network(
        hidden_layer_sizes=study.hidden,
        max_iter=study.epochs,
        batch_size=study.batch_size,
        tol=0,
        n_iter_no_change=study.epochs + 1,
    )
    n_candidates = len(study.rates) * len(study.alphas)
    grid = {"alpha": np.geomspace(1e-6, 1e-2, n_candidates), "random_state": study.seeds}
    return search(GridSearchCV, network, grid, study)


def skorch(study):
    X, y = study.data
    net, n_outputs = NeuralNetRegressor, 1
    options = {}
    if study.classifies:
        net, n_outputs = NeuralNetClassifier, len(np.unique(y))
        options = {"criterion": nn.CrossEntropyLoss}
    else:
        study = Study(**{**vars(study), "data": (X, y[:, None])})
    network = net(
        Network,
        module__sizes=(X.shape[1], *study.hidden, n_outputs),
        optimizer=torch.optim.Adam,
        lr=0.001,
        max_epochs=study.epochs,
        batch_size=study.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        **options,
    )
    # skorch takes the penalty as an option of the optimiser, and no random state.
    grid = {"module__rate": study.rates, "optimizer__weight_decay": study.alphas}
    grid["max_epochs"] = [study.epochs] * len(study.seeds)
    return search(GridSearchCV, network, grid, study)


TOOLS = {
    "here": here,
    "GridSearchCV": grid_search,
    "scikit-learn": scikit_learn,
    "skorch": skorch,
}


def compare(options):
    """Print one row for each study."""
    others = [name for name in TOOLS if name != "here"]
    rows = []
    for name in options.rows:
        study = STUDIES[name](options.quick)
        tools = {tool: partial(run, study) for tool, run in TOOLS.items()}
        times = _timing.interleave(tools, options.repeats, title=name)
        row = [name, study.n_fits, _timing.duration(times["here"])]
        for other in others:
            ratio = _timing.spread(_timing.ratios(times[other], times["here"]))
            row += [_timing.duration(times[other]), ratio, study.aims.get(other, "")]
        rows.append(row)
    columns = ["search", "fits", "here"]
    for other in others:
        columns += [other, "ratio", "aim"]
    note = f"{N_JOBS} workers each, scoring included, no refit; ratio = other / here"
    _timing.print_table("Searches", columns, rows, note)


def growth(options):
    """Print how the cost of a search grows with the number of candidates."""
    X, y = load_iris(return_X_y=True)
    rows = []
    for n_candidates in [1, 10] if options.quick else [1, 10, 100, 1000]:
        study = Study(
            "growth",
            (X.astype(np.float32), y),
            RepeatedStratifiedKFold(n_splits=5, n_repeats=1, random_state=0),
            (16, 8),
            epochs=4 if options.quick else 40,
            batch_size=16,
            rates=np.linspace(0, 0.6, n_candidates).tolist(),
        )
        times = _timing.interleave({"here": partial(here, study)}, options.repeats)["here"]
        per_fit = _timing.duration([taken / study.n_fits for taken in times])
        rows.append([n_candidates, study.n_fits, _timing.duration(times), per_fit])
    title = "Growth with the number of candidates: iris, 16-8 units, 40 epochs, 5 folds"
    _timing.print_table(title, ["candidates", "fits", "search", "per fit"], rows)


class Listener:
    """A callback of scikit-learn that follows all tasks and does nothing."""

    max_propagation_depth = None

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = on_fit_task_end = setup


def callbacks(options):
    """Print what it costs to follow every epoch by a callback of scikit-learn (from 1.9 on)."""
    if importlib.util.find_spec("sklearn.callback") is None:
        return
    study = iris(options.quick)
    network = DropoutMLPClassifier(study.hidden, max_iter=study.epochs, batch_size=study.batch_size)
    models = {
        "network": network,
        "pipeline": Pipeline([("scale", StandardScaler()), ("network", network)]),
    }

    def run(search_class, name, *listeners):
        prefix = "" if name == "network" else "network__"
        grid = {f"{prefix}dropout_rate": study.rates, f"{prefix}random_state": study.seeds}
        search = search_class(models[name], grid, cv=study.cv, refit=False)
        search.set_callbacks(*listeners)
        return seconds(lambda: search.fit(*study.data))

    works = {
        f"{search_class.__name__}, {name}{', callback' if listeners else ''}": partial(
            run, search_class, name, *listeners
        )
        for name in models
        for search_class in (DropoutSearchCV, GridSearchCV)
        for listeners in ((), (Listener(),))
    }
    times = _timing.interleave(works, options.repeats, "callbacks")
    rows = [
        [
            name,
            _timing.duration(taken),
            _timing.spread(_timing.ratios(taken, times[name.removesuffix(", callback")])),
        ]
        for name, taken in times.items()
    ]
    title = "A callback that follows every epoch: iris, one worker"
    _timing.print_table(title, ["search", "time", "/ without callback"], rows)


def main():
    """Print the tables."""
    parser = _timing.argument_parser(__doc__.splitlines()[0], STUDIES)
    options = _timing.parse(parser)
    _timing.print_header(PACKAGES)
    with _timing.threads(options.threads):
        compare(options)
        growth(options)
        callbacks(options)


if __name__ == "__main__":
    main()
