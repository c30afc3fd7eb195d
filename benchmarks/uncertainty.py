"""Monte Carlo dropout beside the usual loop over forward passes in training mode.

Run from the root of the repository: ``python -m benchmarks.uncertainty``, ``--quick`` to see that
it runs.

The loop gets the network as a PyTorch module with dropout layers, already in memory, and keeps all
samples as `sample_predictions` does. It draws a mask for each row and pass; here a pass has one.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from sklearn_dropout import DropoutMLPRegressor

from . import _timing

PACKAGES = ("sklearn-dropout", "numba", "numpy", "scikit-learn", "torch")
N_FEATURES = 20


@dataclass(frozen=True)
class Settings:
    """One row of the table.

    Attributes
    ----------
    hidden : tuple of int
        Units of each hidden layer, with dropout at 0.2 after it.
    input_rate : float
        Dropout of the inputs.
    n_rows, n_passes : int
    aim : str
        Ratio that the project promises.
    """

    hidden: tuple
    input_rate: float = 0.0
    n_rows: int = 1000
    n_passes: int = 1000
    aim: str = ""


def all_settings(quick):
    """The rows of the table by name; with `quick` little of each."""
    size = {"n_rows": 100, "n_passes": 50} if quick else {}
    return {
        "small": Settings((50,), aim=">= 5", **size),
        "wide": Settings((500,), aim=">= 2", **size),
        "small-inputs": Settings((50,), 0.1, **size),
        "wide-inputs": Settings((500,), 0.1, **size),
        "deep": Settings((100, 100, 100), **size),
    }


def rows_of(n_rows):
    return np.random.default_rng(0).standard_normal((n_rows, N_FEATURES), dtype=np.float32)


def fitted(settings):
    X = rows_of(200)
    return DropoutMLPRegressor(
        settings.hidden, input_dropout_rate=settings.input_rate, max_iter=1, random_state=0
    ).fit(X, X[:, 0])


def module_in_training_mode(module, X, n_passes):
    """The usual loop."""
    module.train()
    X = torch.from_numpy(X)
    with torch.no_grad():
        return torch.stack([module(X) for _ in range(n_passes)]).numpy()


def row(name, settings, n_repeats):
    """Line of the table about one network."""
    est, X, n = fitted(settings), rows_of(settings.n_rows), settings.n_passes
    calls = {
        "samples": partial(est.sample_predictions, X, n, random_state=0),
        "uncertainty": partial(est.predict_uncertainty, X, n, random_state=0),
        "loop": partial(module_in_training_mode, est.module_, X, n),
    }
    works = {tool: partial(_timing.seconds, call) for tool, call in calls.items()}
    times = _timing.interleave(works, n_repeats, name)
    sizes = "-".join(map(str, (N_FEATURES, *settings.hidden, 1)))
    dropped = "inputs, hidden" if settings.input_rate else "hidden"
    return [
        f"{sizes}, dropout of {dropped}",
        *map(_timing.duration, times.values()),
        *(_timing.spread(_timing.ratios(times["loop"], times[t])) for t in list(times)[:2]),
        settings.aim,
    ]


def memory_of(n_rows, n_passes):
    """Peak memory before and after `predict_uncertainty`, in bytes; in a separate process."""
    est = fitted(all_settings(quick=False)["small"])
    X = rows_of(n_rows)
    est.predict_uncertainty(X[:1000], 10)  # loads what the first call loads
    before = _timing.peak_memory()
    est.predict_uncertainty(X, n_passes)
    return before, _timing.peak_memory()


def memory_row(quick):
    n_rows, n_passes = (2_000, 100) if quick else (20_000, 1_000)
    before, after = _timing.in_new_process(memory_of, n_rows, n_passes)
    samples = 4 * n_rows * n_passes
    megabytes = (f"{value / 1e6:,.0f}" for value in (samples, after - before))
    return [f"{n_rows:,} rows, {n_passes:,} passes", *megabytes]


def main():
    parser = _timing.argument_parser(__doc__, [*all_settings(quick=False), "memory"])
    options = _timing.parse(parser)
    settings = all_settings(options.quick)
    with _timing.threads(options.threads):
        _timing.print_header(PACKAGES)
        memory = memory_row(options.quick) if "memory" in options.rows else None
        rows = [
            row(name, settings[name], options.repeats) for name in options.rows if name in settings
        ]
        if rows:
            first = settings["small"]
            _timing.print_table(
                f"{first.n_passes:,} passes over {first.n_rows:,} rows",
                ["network", "sample_predictions", "predict_uncertainty", "loop"]
                + ["loop / samples", "loop / uncertainty", "aim"],
                rows,
                f"Medians of {options.repeats} interleaved rounds (min-max), X in float32.",
            )
        if memory:
            _timing.print_table(
                "Peak memory of predict_uncertainty, MB",
                ["20-50-1", "all samples would take", "growth"],
                [memory],
            )


if __name__ == "__main__":
    main()
