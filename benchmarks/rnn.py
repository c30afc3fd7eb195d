"""Fits of an LSTM with and without recurrent dropout, beside the tools a user would pick instead.

Run from the root of the repository: ``python -m benchmarks.rnn``, ``--quick`` to see that it runs.

Without recurrent dropout the opponent is ``torch.nn.LSTM`` in an ordinary loop over batches. With
it PyTorch has no layer: what is left is a Python loop over the steps under autograd, here with
``torch.nn.LSTMCell``, the fastest of these. Keras has `recurrent_dropout`.
"""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from sklearn_dropout import DropoutRNNClassifier

from . import _timing
from ._timing import seconds

PACKAGES = ("sklearn-dropout", "numba", "numpy", "scikit-learn", "torch", "keras", "tensorflow")
N_UNITS = 64
RATE = 0.2


@dataclass(frozen=True)
class Settings:
    """One row of the table.

    Attributes
    ----------
    name : str
    data : callable () -> (float32 X of shape (n, n_steps, n_channels), int64 y)
    recurrent : bool
        Whether recurrent connections are dropped, at the rate of the inputs.
    batch_size, epochs : int
    aims : dict of str
        Column -> what the project promises there.
    """

    name: str
    data: Callable
    recurrent: bool
    batch_size: int
    epochs: int
    aims: dict = field(default_factory=dict)


def noise(n_rows):
    """Sequences of 100 steps of one channel, with two classes."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n_rows, 100, 1), dtype=np.float32), rng.integers(2, size=n_rows)


def digits(n_rows):
    """Digits of 8 x 8 pixels, read row by row."""
    X, y = load_digits(return_X_y=True)
    return (X[:n_rows] / 16).astype(np.float32).reshape(-1, 8, 8), y[:n_rows]


def all_settings(quick):
    """The rows of the table by name; with `quick` little of each."""
    rows = {}
    for name, data in {
        "noise": partial(noise, 64 if quick else 512),
        "digits": partial(digits, 200 if quick else 1797),
    }.items():
        for recurrent in (False, True):
            aims = {"PyTorch": ">= 0.83"}  # at most 1.2 times as long
            if recurrent:
                aims = {"PyTorch": ">= 2", "Keras (tensorflow)": "> 1"}
            key = f"{name}-recurrent" if recurrent else name
            rows[key] = Settings(key, data, recurrent, 32, 1 if quick else 4, aims)
    return rows


def here(X, y, settings):
    """The public fit, checks of the data included."""
    estimator = DropoutRNNClassifier(
        (N_UNITS,),
        input_dropout_rate=RATE,
        dropout_rate=RATE,
        recurrent_dropout_rate=RATE if settings.recurrent else 0.0,
        batch_size=settings.batch_size,
        max_iter=settings.epochs,
        random_state=0,
    )
    return seconds(lambda: estimator.fit(X, y)) / settings.epochs


def variational(x, shape):
    """Factors of a mask for each sequence."""
    return x.new_empty(shape).bernoulli_(1 - RATE).div_(1 - RATE)


class PlainLSTM(nn.Module):
    """``nn.LSTM`` with a mask on inputs and outputs."""

    def __init__(self, n_in, n_outputs):
        super().__init__()
        self.lstm = nn.LSTM(n_in, N_UNITS, batch_first=True)
        self.output = nn.Linear(N_UNITS, n_outputs)

    def forward(self, x):
        _, (last, _) = self.lstm(x * variational(x, (len(x), 1, x.shape[2])))
        return self.output(last[-1] * variational(x, (len(x), N_UNITS)))


class LoopedLSTM(nn.Module):
    """``nn.LSTMCell`` in a loop, with a mask on the recurrent connections too."""

    def __init__(self, n_in, n_outputs):
        super().__init__()
        self.cell = nn.LSTMCell(n_in, N_UNITS)
        self.output = nn.Linear(N_UNITS, n_outputs)

    def forward(self, x):
        masks = [variational(x, (len(x), n)) for n in (x.shape[2], N_UNITS, N_UNITS)]
        hidden = cell = x.new_zeros(len(x), N_UNITS)
        for step in x.unbind(1):
            hidden, cell = self.cell(step * masks[0], (hidden * masks[1], cell))
        return self.output(hidden * masks[2])


def pytorch(X, y, settings):
    """The ordinary loop over batches, with the fused Adam."""
    n_classes = len(np.unique(y))
    network = LoopedLSTM if settings.recurrent else PlainLSTM
    model = network(X.shape[2], 1 if n_classes == 2 else n_classes)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    criterion = nn.CrossEntropyLoss()
    if n_classes == 2:
        criterion, y = nn.BCEWithLogitsLoss(), y[:, None].float()

    def fit():
        for _ in range(settings.epochs):
            for rows in torch.randperm(len(X)).split(settings.batch_size):
                optimizer.zero_grad()
                criterion(model(X[rows]), y[rows]).backward()
                optimizer.step()

    return seconds(fit) / settings.epochs


def keras_epochs(X, y, settings):
    """Without the first epoch of a model, in which Keras compiles the step."""
    import keras

    keras.utils.clear_session()
    n_classes = len(np.unique(y))
    binary = n_classes == 2
    dropped = {"recurrent_dropout": RATE} if settings.recurrent else {}
    model = keras.Sequential(
        [
            keras.Input(X.shape[1:]),
            keras.layers.LSTM(N_UNITS, dropout=RATE, **dropped),
            keras.layers.Dropout(RATE),
            keras.layers.Dense(1 if binary else n_classes, "sigmoid" if binary else "softmax"),
        ]
    )
    loss = "binary_crossentropy" if binary else "sparse_categorical_crossentropy"
    model.compile(optimizer="adam", loss=loss)
    fit = partial(model.fit, X, y, batch_size=settings.batch_size, verbose=0)
    fit(epochs=1)
    return seconds(lambda: fit(epochs=settings.epochs)) / settings.epochs


def available_tools():
    """Tools that can be imported, in the order of the columns."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tools = {"here": here, "PyTorch": pytorch}
    try:
        backend = importlib.import_module("keras").config.backend()
    except ImportError as error:
        print(f"Without Keras, which cannot be imported here ({error}).")
        return tools
    return tools | {f"Keras ({backend})": keras_epochs}


def lines(settings, tools, n_repeats):
    """Times of one row, ratios below, aims below these."""
    X, y = settings.data()
    works = {name: partial(tool, X, y, settings) for name, tool in tools.items()}
    times = _timing.interleave(works, n_repeats, settings.name)
    shape = " x ".join(map(str, X.shape))
    ratios = {name: _timing.ratios(taken, times["here"]) for name, taken in times.items()}
    kind = "recurrent dropout" if settings.recurrent else "no recurrent dropout"
    yield [f"{shape}, {kind}", "epoch", *map(_timing.duration, times.values())]
    yield ["", "ratio", "", *(_timing.spread(ratios[name]) for name in tools if name != "here")]
    yield ["", "aim", *(settings.aims.get(name, "") for name in tools)]


def main():
    parser = _timing.argument_parser(__doc__, all_settings(quick=False))
    options = _timing.parse(parser)
    settings = all_settings(options.quick)
    with _timing.threads(options.threads):
        _timing.print_header(PACKAGES)
        tools = available_tools()
        rows = []
        for name in options.rows:
            rows += lines(settings[name], tools, options.repeats)
        _timing.print_table(
            f"LSTM of {N_UNITS} units, batches of 32, time of an epoch",
            ["work", "", *tools],
            rows,
            f"Medians of {options.repeats} interleaved rounds (min-max). Ratio: tool / here.",
            "PyTorch: nn.LSTM without recurrent dropout, a loop of nn.LSTMCell with it. Keras "
            "without its first epoch.",
        )


if __name__ == "__main__":
    main()
