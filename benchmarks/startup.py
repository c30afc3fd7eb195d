"""Imports and first fits, each in a separate process.

Run from the root of the repository: ``python -m benchmarks.startup``, ``--quick`` to see that it
runs.

The training loop of the perceptrons is compiled at the first fit of an installation, and kept in a
folder from which later processes load it. Here that folder is a new one in each round.
"""

import json
import os
import subprocess
import sys
import tempfile

from tqdm.auto import tqdm

from . import _timing

PACKAGES = ("sklearn-dropout", "numba", "numpy", "scikit-learn", "torch")
IMPORTS = {
    "import torch, sklearn.neural_network": "import torch, sklearn.neural_network",
    "import sklearn_dropout": "import sklearn_dropout",
}
IMPORT = """
import time
start = time.perf_counter()
{}
print(time.perf_counter() - start)
"""
FITS = """
import json, time
import numpy as np
from sklearn_dropout import DropoutMLPRegressor
X = np.random.default_rng(0).standard_normal((480, 9))
times = []
for _ in range(2):
    network = DropoutMLPRegressor(dropout_rate=0.2, max_iter={epochs}, engine={engine!r})
    start = time.perf_counter()
    network.fit(X, X[:, 0])
    times.append(time.perf_counter() - start)
print(json.dumps(times))
"""
EMPTY, FILLED = "first fit, nothing compiled yet", "first fit of a later process"
SECOND, TORCH = "second fit", "first fit, engine='torch'"
AIMS = {EMPTY: "<= second fit + 10 s", FILLED: "<= second fit + 0.5 s"}


def output_of(code, environment):
    """What Python prints when it runs `code` in a separate process."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def measure_round(epochs, environment):
    """Seconds of everything once."""
    times = {name: output_of(IMPORT.format(code), environment) for name, code in IMPORTS.items()}
    with tempfile.TemporaryDirectory() as folder:
        environment = environment | {"NUMBA_CACHE_DIR": folder}
        compiled = FITS.format(epochs=epochs, engine="auto")
        times[EMPTY], _ = output_of(compiled, environment)
        times[FILLED], times[SECOND] = output_of(compiled, environment)
        times[TORCH], _ = output_of(FITS.format(epochs=epochs, engine="torch"), environment)
    return times


def main():
    parser = _timing.argument_parser(__doc__, ["all"], threads=1)
    options = _timing.parse(parser)
    epochs = 10 if options.quick else 100
    environment = {"OMP_NUM_THREADS": str(options.threads)} if options.threads else {}
    with _timing.threads(options.threads):
        _timing.print_header(PACKAGES)
    # A round more, first: it reads the files of the libraries from disk.
    rounds = [
        measure_round(epochs, environment)
        for _ in tqdm(range(options.repeats + (not options.quick)), leave=False, disable=None)
    ][-options.repeats :]
    _timing.print_table(
        "Start",
        ["in a new process", "time", "aim"],
        [
            [name, _timing.duration([times[name] for times in rounds]), AIMS.get(name, "")]
            for name in rounds[0]
        ],
        f"Medians of {options.repeats} rounds (min-max). Fits: 480 x 9, 100 units, {epochs} "
        "epochs; imports not in them.",
    )


if __name__ == "__main__":
    main()
