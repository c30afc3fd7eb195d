"""scikit-learn's model validation over our perceptron and over its own.

Run from the root of the repository: ``python -m benchmarks.validation``, ``--quick`` to see that it
runs.

Nothing here is ours but the estimator: what is compared is how long scikit-learn's functions take
with each of the two, fits, predictions and scores together, one worker.
"""

import warnings
from functools import partial

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.inspection import permutation_importance
from sklearn.model_selection import cross_validate, learning_curve, validation_curve
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import DropoutMLPClassifier

from . import _timing

PACKAGES = ("sklearn-dropout", "numba", "numpy", "scikit-learn", "torch")
ALPHAS = [1e-4, 1e-2, 1]


def pipeline(Network, epochs):
    """Scaled data for a network of two hidden layers."""
    network = Network((64, 32), batch_size=32, max_iter=epochs, random_state=0)
    if Network is MLPClassifier:
        network.set_params(tol=0, n_iter_no_change=epochs + 1)
    return make_pipeline(StandardScaler(), network)


def works(Network, X, y, epochs):
    """Function of scikit-learn -> a call of it."""
    model = pipeline(Network, epochs)
    alpha = f"{Network.__name__.lower()}__alpha"
    fitted = pipeline(Network, epochs).fit(X, y)
    return {
        "cross_validate": partial(cross_validate, model, X, y, cv=5),
        "learning_curve": partial(
            learning_curve, model, X, y, cv=3, train_sizes=[0.2, 0.6, 1.0]
        ),
        "validation_curve": partial(
            validation_curve, model, X, y, cv=3, param_name=alpha, param_range=ALPHAS
        ),
        "permutation_importance": partial(
            permutation_importance, fitted, X, y, n_repeats=5, random_state=0
        ),
    }  # fmt: skip


def main():
    names = ("cross_validate", "learning_curve", "validation_curve", "permutation_importance")
    options = _timing.parse(_timing.argument_parser(__doc__, names, threads=1))
    warnings.simplefilter("ignore")  # scikit-learn's does not converge
    X, y = load_breast_cancer(return_X_y=True)
    X = np.ascontiguousarray(X)
    epochs = 2 if options.quick else 50
    with _timing.threads(options.threads):
        _timing.print_header(PACKAGES)
        calls = {
            "here": works(DropoutMLPClassifier, X, y, epochs),
            "scikit-learn": works(MLPClassifier, X, y, epochs),
        }
        rows = []
        for name in options.rows:
            tools = {tool: partial(_timing.seconds, of[name]) for tool, of in calls.items()}
            times = _timing.interleave(tools, options.repeats, name)
            ratio = _timing.spread(_timing.ratios(times["scikit-learn"], times["here"]))
            rows.append([name, *map(_timing.duration, times.values()), ratio])
        _timing.print_table(
            f"Breast cancer, scaled, 64 and 32 units, batch 32, {epochs} epochs",
            ["function of scikit-learn", "our network", "MLPClassifier", "theirs / ours"],
            rows,
            f"Medians of {options.repeats} interleaved rounds (min-max).",
        )


if __name__ == "__main__":
    main()
