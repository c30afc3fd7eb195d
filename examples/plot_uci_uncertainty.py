"""
==================================================
A published table, reproduced: dropout as Bayesian
==================================================

Gal & Ghahramani (2016) read dropout as approximate Bayesian inference: a network with dropout on
is a draw from a posterior over networks, and the mean likelihood of many draws says how well a
model knows what it does not know. Their Table 1 reports test RMSE and test log-likelihood on UCI
data sets; the code published with it was later run again with a grid search for rate and noise
precision, and those are the numbers to meet here.

Everything is as there: one hidden layer of 50 ReLU units, dropout before both layers, `X` and `y`
standardised, batches of 128, Adam, 4,000 epochs; a grid of four rates and three precisions,
judged by the log-likelihood of the last fifth of the training rows; the best refitted on all of
them; 20 random splits; 10,000 passes. That is 240 fits and 20 refits for a data set.
:class:`~sklearn_dropout.DropoutSearchCV` trains them as stacks of networks.

The data are read from a folder (``--data``), or fetched from OpenML where there is none.
``--quick`` makes a short version, whose numbers mean nothing.
"""

# %%
# Data and splits
# ---------------
#
# The 20 splits are those published with the paper: they follow from one seed.

import argparse
import time
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import fetch_openml
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from tabulate import tabulate

from sklearn_dropout import DropoutMLPRegressor, DropoutSearchCV, predictive_log_likelihood

parser = argparse.ArgumentParser(description="Table 1 of Gal & Ghahramani (2016).")
parser.add_argument("--data", type=Path, help="folder with <data set>/data.txt")
parser.add_argument("--sets", default="boston,yacht", help="which of boston,yacht")
parser.add_argument("--splits", type=int, default=20, help="how many of the 20 splits")
parser.add_argument("--jobs", type=int, default=2, help="processes")
parser.add_argument("--quick", action="store_true", help="2 splits, few epochs and passes")
parser.add_argument("--output", type=Path, default=Path("figures"), help="folder of the figure")
options, _ = parser.parse_known_args()

n_splits = 2 if options.quick else options.splits
n_epochs = 100 if options.quick else 4_000
n_passes = 100 if options.quick else 10_000
BATCH_SIZE = 128
RATES = [0.005, 0.01, 0.05, 0.1]

# Name in the folder and at OpenML, precisions of the grid, and what the authors' code gave when
# it was run again: mean and standard deviation over the splits.
STUDIES = {
    "boston": {
        "names": ("bostonHousing", "boston"),
        "precisions": [0.1, 0.15, 0.2],
        "reported": {"RMSE": (2.903623, 0.790853), "log-likelihood": (-2.401936, 0.186498)},
        "one pass": 3.608957,
    },
    "yacht": {
        "names": ("yacht", "yacht_hydrodynamics"),
        "precisions": [0.25, 0.5, 0.75],
        "reported": {"RMSE": (0.666275, 0.217355), "log-likelihood": (-1.250148, 0.068411)},
        "one pass": 1.228613,
    },
}


def load(name):
    """Inputs and targets; float32, since training computes in it anyway."""
    in_folder, at_openml = STUDIES[name]["names"]
    here = Path("shared") / "data" / "uci"
    nearby = [folder / here for folder in (Path.cwd(), *Path.cwd().parents)]
    for folder in [options.data] if options.data else nearby:
        if options.data or (folder / in_folder / "data.txt").is_file():
            table = np.loadtxt(folder / in_folder / "data.txt")
            break
    else:
        table = fetch_openml(at_openml, version=1, parser="auto").frame.to_numpy(dtype=float)
    return table[:, :-1].astype(np.float32), table[:, -1]


def splits(n):
    """Pairs of training and test rows."""
    rng = np.random.RandomState(1)
    for _ in range(n_splits):
        order = rng.choice(range(n), n, replace=False)
        yield np.split(order, [round(0.9 * n)])


# %%
# The model
# ---------
#
# The paper minimises :math:`\frac1M \sum (y - \hat y)^2 + \lambda \|W\|^2` with
# :math:`\lambda = l^2 (1 - p) / (2 N \tau)`, a prior length scale of :math:`l = 0.01`, `N` rows to
# train on and a noise precision of :math:`\tau`. Here the loss is half the squared error and the
# penalty :math:`\frac{\alpha}{2 M} \|W\|^2` for a batch of `M` rows: the same, halved, for
# :math:`\alpha = \lambda M`. So the precision acts in training through ``alpha``, from which the
# scorer gets it back.


def weight_penalty(rate, precision, n_rows):
    """``alpha`` for a rate, a precision in the units of `y`, and a number of training rows."""
    return 0.01**2 * (1 - rate) / (2 * n_rows * precision) * BATCH_SIZE


def candidate(rate, precision, n_rows):
    """Parameters of a candidate."""
    return {
        "network__dropout_rate": rate,
        "network__input_dropout_rate": rate,
        "network__alpha": weight_penalty(rate, precision, n_rows),
    }


def make_scorer(n_rows):
    """Scores of a fitted pipeline on other rows, for networks trained on `n_rows` rows."""

    def scores(model, X, y):
        network = model[-1]
        # weight_penalty is its own inverse in the precision.
        precision = weight_penalty(network.dropout_rate, network.alpha, n_rows)
        X = model[:-1].transform(X)
        samples = network.sample_predictions(X, n_passes, random_state=0)
        return {
            "RMSE": np.sqrt(np.mean((samples.mean(axis=0)[:, 0] - y) ** 2)),
            "log-likelihood": predictive_log_likelihood(y, samples, precision),
            "one pass": np.sqrt(np.mean((network.predict(X) - y) ** 2)),
        }

    return scores


def evaluate(X, y, pairs, candidates):
    """Train each candidate on the first rows of each pair and score it on the others.

    Returns a dict of arrays of shape (n_candidates, n_pairs).
    """
    network = DropoutMLPRegressor((50,), batch_size=BATCH_SIZE, max_iter=n_epochs, random_state=0)
    search = DropoutSearchCV(
        Pipeline([("scale", StandardScaler()), ("network", network)]),
        [{key: [value] for key, value in params.items()} for params in candidates],
        scoring=make_scorer(len(pairs[0][0])),
        cv=pairs,
        refit=False,
        n_jobs=options.jobs,
        error_score="raise",
    ).fit(X, y)
    return {
        name: np.stack(
            [search.cv_results_[f"split{i}_test_{name}"] for i in range(len(pairs))], axis=1
        )
        for name in ("RMSE", "log-likelihood", "one pass")
    }


# %%
# The study
# ---------
#
# One search over all candidates and splits; then, for each candidate that is the best of some
# splits, these splits with all their training rows, once more as a stack.


def study(name):
    """Scores of the best candidate of each split on its test rows, and which candidate it is."""
    X, y = load(name)
    outer = list(splits(len(y)))
    grid = [(rate, precision) for rate in RATES for precision in STUDIES[name]["precisions"]]
    inner = [np.split(train, [int(0.8 * len(train))]) for train, _ in outer]
    n_rows = len(inner[0][0])
    found = evaluate(X, y, inner, [candidate(*numbers, n_rows) for numbers in grid])
    best = found["log-likelihood"].argmax(axis=0)
    results = {score: np.zeros(n_splits) for score in found}
    for place in np.unique(best):
        chosen = np.flatnonzero(best == place)
        pairs = [outer[split] for split in chosen]
        params = candidate(*grid[place], len(pairs[0][0]))
        for score, values in evaluate(X, y, pairs, [params]).items():
            results[score][chosen] = values[0]
    return results, [grid[place] for place in best]


results = {}
for name in options.sets.split(","):
    start = time.perf_counter()
    results[name], best = study(name)
    seconds = time.perf_counter() - start
    counts = defaultdict(int)
    for rate, precision in best:
        counts[f"{rate:g}/{precision:g}"] += 1
    print(f"{name}: {13 * n_splits} fits of {n_epochs:,} epochs in {seconds:.0f} s; ", end="")
    print("rate/precision chosen: " + ", ".join(f"{k} ({n}x)" for k, n in sorted(counts.items())))

# %%
# Ours beside the reported numbers: mean ± standard deviation over the splits. The last column is
# the difference of the means in standard errors of the reported mean; positive is better.

rows = []
for name, scores in results.items():
    for score, (mean, spread) in STUDIES[name]["reported"].items():
        ours = scores[score]
        sign = -1 if score == "RMSE" else 1
        gain = sign * (ours.mean() - mean) / (spread / np.sqrt(20))
        rows.append(
            [name, score, f"{ours.mean():.3f} ± {ours.std():.3f}", f"{mean:.3f} ± {spread:.3f}"]
            + [f"{gain:+.2f}"]
        )
    rows.append([name, "RMSE, dropout off", f"{scores['one pass'].mean():.3f}"])
    rows[-1] += [f"{STUDIES[name]['one pass']:.3f}", ""]
columns = ["data", "test score", "here", "reported", "gain / standard error"]
print(tabulate(rows, headers=columns))

# %%
# Every dot is a split; the band is the reported mean with its standard error.

figure, axes = plt.subplots(
    len(results), 2, figsize=(8, 1.6 * len(results)), layout="constrained", squeeze=False
)
for (name, scores), line in zip(results.items(), axes):
    for (score, (mean, spread)), ax in zip(STUDIES[name]["reported"].items(), line):
        error = spread / np.sqrt(20)
        ax.axvspan(mean - error, mean + error, color="tab:orange", alpha=0.5, label="reported")
        ax.plot(scores[score], np.zeros(n_splits), ".", color="tab:blue", alpha=0.5)
        ax.plot(scores[score].mean(), 0, "D", color="tab:blue", label="mean here")
        ax.set(xlabel=score, yticks=[], title=name)
axes[0, 0].legend(fontsize="small")
options.output.mkdir(parents=True, exist_ok=True)
path = options.output / "uci_uncertainty.png"
figure.savefig(path, dpi=120)
print(f"saved {path}")
