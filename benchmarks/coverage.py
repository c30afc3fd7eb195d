"""How much of new targets intervals of nominal 95 % hold: the table of the guide on uncertainty.

Run from the root of the repository: ``python -m benchmarks.coverage``, ``--quick`` to see that it
runs. No times: the table is about what is right, and takes some minutes.

Friedman's function with noise 1, 300 training rows, one layer of 200 units, 1,000 epochs: a network
that memorises much of its training rows. With validation rows, a quarter of the 300 is set aside.
"""

import numpy as np
from sklearn.datasets import make_friedman1

from sklearn_dropout import DropoutEnsembleRegressor, DropoutMLPRegressor

from . import _timing

PACKAGES = ("sklearn-dropout", "numba", "numpy", "scikit-learn", "torch")
RATES = {"0.05": 0.05, "0.2": 0.2, "0.5": 0.5}
N_TRAIN, N_NEW, Z = 300, 2000, 1.959964


def normal_interval(model, X):
    """Mean and 1.96 predicted standard deviations."""
    mean, std = model.predict(X, return_std=True, n_samples=50, random_state=0)
    return mean - Z * std, mean + Z * std


def one_network(network, X, y, X_new):
    return normal_interval(network.fit(X, y), X_new)


def with_validation_rows(network, X, y, X_new):
    n = N_TRAIN * 3 // 4
    return normal_interval(network.fit(X[:n], y[:n], X_val=X[n:], y_val=y[n:]), X_new)


def gaussian_head(network, X, y, X_new):
    return one_network(network.set_params(loss="gaussian"), X, y, X_new)


def ensemble(network, X, y, X_new):
    return normal_interval(DropoutEnsembleRegressor(network, random_state=0).fit(X, y), X_new)


def ensemble_of_heads(network, X, y, X_new):
    return ensemble(network.set_params(loss="gaussian"), X, y, X_new)


def ensemble_with_folds(network, X, y, X_new):
    model = DropoutEnsembleRegressor(network, cv=5, random_state=0).fit(X, y)
    return model.predict_interval(X_new, coverage=0.95)


WAYS = {
    "one network": one_network,
    "with X_val": with_validation_rows,
    "Gaussian head": gaussian_head,
    "ensemble of 10": ensemble,
    "ensemble of Gaussian heads": ensemble_of_heads,
    "ensemble with cv=5": ensemble_with_folds,
}


def row(label, rate, n_draws, epochs):
    """Line of the table: coverage and mean width of each way."""
    found = np.zeros((n_draws, len(WAYS), 2))
    for seed in range(n_draws):
        X, y = make_friedman1(N_TRAIN + N_NEW, noise=1, random_state=seed)
        X_new, y_new = X[N_TRAIN:], y[N_TRAIN:]
        for way, interval in enumerate(WAYS.values()):
            network = DropoutMLPRegressor(
                (200,), dropout_rate=rate, max_iter=epochs, random_state=seed
            )
            lower, upper = interval(network, X[:N_TRAIN], y[:N_TRAIN], X_new)
            found[seed, way] = np.mean((lower <= y_new) & (y_new <= upper)), (upper - lower).mean()
    return [label, *(f"{held:.0%}, {width:.1f}" for held, width in found.mean(axis=0))]


def main():
    options = _timing.parse(_timing.argument_parser(__doc__, RATES, threads=1))
    epochs = 20 if options.quick else 1000
    with _timing.threads(options.threads):
        _timing.print_header(PACKAGES)
        rows = [row(label, RATES[label], options.repeats, epochs) for label in options.rows]
        _timing.print_table(
            "New targets within intervals of nominal 95 %, and mean width of the intervals",
            ["rate", *WAYS],
            rows,
            f"Means of {options.repeats} draws. Noise alone needs a width of {2 * Z:.1f}.",
        )


if __name__ == "__main__":
    main()
