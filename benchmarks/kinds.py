"""What each kind of dropout and each schedule costs, beside Bernoulli dropout and none.

Run from the root of the repository: ``python -m benchmarks.kinds``, ``--quick`` to see that it
runs.

Times are those of an epoch in a public fit. Alpha dropout comes with SELU units, so it is compared
with networks of SELU units. Concrete dropout trains through PyTorch, as its rates are parameters.
"""

from functools import partial

import numpy as np

from sklearn_dropout import DropoutCNNClassifier, DropoutMLPClassifier, DropoutMLPRegressor
from sklearn_dropout.dropout.schedules import SCHEDULES

from . import _timing
from ._tools import are_numbers
from ._works import all_settings

PACKAGES = ("sklearn-dropout", "numba", "numpy", "scikit-learn", "torch")
SELU = {"activation": "selu", "weight_init": "lecun_normal"}
VARIANTS = {
    "none": {"dropout_rate": 0},
    "bernoulli": {},
    "gaussian": {"dropout_type": "gaussian"},
    "none, selu": {"dropout_rate": 0, **SELU},
    "bernoulli, selu": SELU,
    "alpha, selu": {"dropout_type": "alpha", **SELU},
    "concrete": {"dropout_type": "concrete"},
}
# Kind -> what it is compared with, and the aim.
COMPARED = {
    "gaussian": ("bernoulli", "<= 1.5"),
    "alpha, selu": ("bernoulli, selu", "<= 1.5"),
    "concrete": ("bernoulli", "<= 4"),
} | dict.fromkeys(SCHEDULES, ("bernoulli", "<= 1.01"))
PERCEPTRONS = {"default": "default network", "circles": "two circles", "large128": "wide"}


def epoch_of(network, X, y):
    """Seconds of an epoch of a public fit."""
    return _timing.seconds(lambda: network.fit(X, y)) / network.max_iter


def perceptron(settings):
    """A network of `benchmarks.fit`, with its data."""
    X, y = settings.data()
    kind = DropoutMLPRegressor if are_numbers(y) else DropoutMLPClassifier
    network = kind(
        settings.hidden,
        dropout_rate=settings.rate,
        batch_size=settings.batch_size,
        max_iter=settings.epochs,
        random_state=0,
    )
    return network, X, y


def convolutions(quick):
    """A small convolutional network with dropout of elements and of dense units."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((64 if quick else 1000, 1, 16, 16), dtype=np.float32)
    network = DropoutCNNClassifier(
        (64,),
        conv_layer_sizes=(16,),
        conv_dropout_rate=0.2,
        batch_size=64,
        max_iter=1 if quick else 3,
        random_state=0,
    )
    return network, X, rng.integers(4, size=len(X))


def print_network(title, network, X, y, options):
    """A table about one network."""
    variants = VARIANTS | {name: {"dropout_schedule": name} for name in SCHEDULES}
    works = {}
    for name, params in variants.items():
        clone = type(network)(**network.get_params() | params)
        if name.startswith("none") and hasattr(network, "conv_dropout_rate"):
            clone.set_params(conv_dropout_rate=0)
        works[name] = partial(epoch_of, clone, X, y)
    times = _timing.interleave(works, options.repeats, title)
    rows = []
    for name, taken in times.items():
        base = "none, selu" if "selu" in name else "none"
        other, aim = COMPARED.get(name, (name, ""))
        rows.append(
            [
                name,
                _timing.duration(taken),
                _timing.spread(_timing.ratios(taken, times[base])),
                _timing.spread(_timing.ratios(taken, times[other])) if aim else "",
                aim,
            ]
        )
    columns = ["dropout", "time / epoch", "/ no dropout", "/ bernoulli", "aim"]
    _timing.print_table(title, columns, rows)


def main():
    options = _timing.parse(_timing.argument_parser(__doc__, [*PERCEPTRONS, "cnn"], threads=1))
    settings = all_settings(options.quick)
    with _timing.threads(options.threads):
        _timing.print_header(PACKAGES)
        for name in options.rows:
            if name == "cnn":
                print_network("convolutional network", *convolutions(options.quick), options)
            else:
                print_network(PERCEPTRONS[name], *perceptron(settings[name]), options)
        print(f"\nMedians of {options.repeats} interleaved rounds (min-max).")


if __name__ == "__main__":
    main()
