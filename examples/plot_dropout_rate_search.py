"""
======================================
How much dropout? A search over rates
======================================

Each data set wants a rate of its own, and one fit per rate tells little: another split or
another seed gives another picture. Here every rate is tried with several seeds on repeated
cross-validation, some hundreds of networks for each data set, and the bands show how much single
networks differ.
:class:`~sklearn_dropout.DropoutSearchCV` trains them all as stacks, so this takes seconds.
"""

# %%
# Three data sets that come with scikit-learn: classes of irises, tumours, and the progression of
# diabetes as a number. The network has two hidden layers of 32 and 16 units; inputs are scaled
# within each fold.

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, DropoutSearchCV

parser = argparse.ArgumentParser(description="Score against the dropout rate on three data sets.")
parser.add_argument("--quick", action="store_true", help="few epochs and repeats")
parser.add_argument("--output", type=Path, default=Path("."), help="folder of the figure")
options, _ = parser.parse_known_args()

rates = np.linspace(0, 0.8, 9).round(1).tolist()
seeds, epochs = ([0], 10) if options.quick else ([0, 1, 2], 100)
data_sets = {
    "iris (accuracy)": (load_iris, DropoutMLPClassifier, RepeatedStratifiedKFold),
    "breast cancer (accuracy)": (load_breast_cancer, DropoutMLPClassifier, RepeatedStratifiedKFold),
    "diabetes (R²)": (load_diabetes, DropoutMLPRegressor, RepeatedKFold),
}

# %%
# The search is scikit-learn's ``GridSearchCV`` by contract; only the class name differs. Seeds are
# candidates like any other parameter.


def search_rates(load, estimator, splitter):
    """Fit every rate on every fold."""
    X, y = load(return_X_y=True)
    network = estimator((32, 16), batch_size=32, max_iter=epochs)
    model = Pipeline([("scale", StandardScaler()), ("network", network)])
    search = DropoutSearchCV(
        model,
        {"network__dropout_rate": rates, "network__random_state": seeds},
        cv=splitter(n_splits=5, n_repeats=2, random_state=0),
        return_train_score=True,
        refit=False,
    )
    return search.fit(X, y)


def scores_by_rate(search, part):
    """Scores of shape (n_rates, n_seeds * n_splits); the rate varies slowest."""
    splits = [search.cv_results_[f"split{i}_{part}_score"] for i in range(search.n_splits_)]
    return np.stack(splits, axis=1).reshape(len(rates), -1)


searches = {}
for name, arguments in data_sets.items():
    start = time.perf_counter()
    searches[name] = search_rates(*arguments)
    n_fits = len(rates) * len(seeds) * searches[name].n_splits_
    print(f"{name}: {n_fits} networks of {epochs} epochs in {time.perf_counter() - start:.1f} s")

# %%
# Training scores fall with the rate, as they should: dropout is a handicap in training. What
# counts is the test score. The mark is the best mean test score; where the band around it covers
# the score at rate 0, these data do not tell that dropout helps.

figure, axes = plt.subplots(1, len(searches), figsize=(11, 3.6), layout="constrained")
for ax, (name, search) in zip(axes, searches.items()):
    for part, color, marker in [("train", "tab:orange", "o"), ("test", "tab:blue", "s")]:
        scores = scores_by_rate(search, part)
        mean, spread = scores.mean(axis=1), scores.std(axis=1)
        ax.plot(rates, mean, color=color, marker=marker, markersize=4, label=part)
        ax.fill_between(rates, mean - spread, mean + spread, color=color, alpha=0.2, linewidth=0)
    best = int(np.argmax(mean))
    ax.plot(rates[best], mean[best], marker="*", markersize=14, color="black", linestyle="none")
    ax.set(title=name, xlabel="dropout rate (fraction dropped)")
    print(
        f"{name}: best rate {rates[best]:.1f}, test {mean[best]:.3f} ± {spread[best]:.3f}; ", end=""
    )
    print(f"without dropout {mean[0]:.3f} ± {spread[0]:.3f}")
axes[0].set_ylabel("score (mean ± standard deviation)")
axes[0].legend(loc="lower left")

options.output.mkdir(parents=True, exist_ok=True)
path = options.output / "dropout_rate_search.png"
figure.savefig(path, dpi=120)
print(f"saved {path}")
