"""Tables of `benchmarks.fit` about our own fits: activations and threads."""

import subprocess
import sys
from contextlib import contextmanager, nullcontext
from functools import partial

from sklearn_dropout import DropoutMLPRegressor
from sklearn_dropout.nn.activations import ACTIVATIONS

from . import _timing
from ._tools import here, layer_sizes


def epoch_with(activation, settings):
    """Seconds of an epoch of a fit with another activation."""
    X, y = settings.data()
    estimator = DropoutMLPRegressor(
        settings.hidden,
        activation=activation,
        dropout_rate=settings.rate,
        batch_size=settings.batch_size,
        max_iter=settings.epochs,
        random_state=0,
    )
    return _timing.seconds(lambda: estimator.fit(X, y)) / settings.epochs


def print_activations(settings, options):
    works = {name: partial(epoch_with, name, settings["default"]) for name in ACTIVATIONS}
    times = _timing.interleave(works, options.repeats, "activations")
    _timing.print_table(
        "Activations: an epoch of the default network, in a public fit",
        ["activation", "time / epoch", "time / relu's", "aim"],
        [
            [
                name,
                _timing.duration(taken),
                _timing.spread(_timing.ratios(taken, times["relu"])),
                "" if name == "relu" else "<= 2",
            ]
            for name, taken in times.items()
        ],
    )


@contextmanager
def neighbour():
    """A process that burns a core meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def fit_with_threads(n_threads, X, y, settings):
    """Seconds of an epoch."""
    with _timing.threads(n_threads):
        return here(X, y, settings)


def threads_row(settings, is_busy, options):
    """Line about one network with one and with two threads."""
    X, y = settings.data()
    works = {n: partial(fit_with_threads, n, X, y, settings) for n in (1, 2)}
    with neighbour() if is_busy else nullcontext():
        times = _timing.interleave(works, options.repeats, "threads")
    network = "-".join(map(str, layer_sizes(X, y, settings)))
    return [
        f"{network}, batch {settings.batch_size}",
        "one that burns a core" if is_busy else "none",
        *map(_timing.duration, times.values()),
        _timing.spread(_timing.ratios(times[1], times[2])),
        ">= 0.83" if is_busy else ">= 1.5",
    ]


def print_threads(settings, options):
    _timing.print_table(
        "One and two threads: an epoch, in a public fit",
        ["network", "neighbour", "one thread", "two threads", "one / two", "aim"],
        [
            threads_row(settings[name], is_busy, options)
            for is_busy in ((False, True) if options.busy else (False,))
            for name in ("large128", "tab")
        ],
        "Medians (min-max). A neighbour of this benchmark's own is meant; any other work on the "
        "machine counts too.",
    )
