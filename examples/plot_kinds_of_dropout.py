"""
================================================
Bernoulli, Gaussian, alpha, concrete: which one?
================================================

Bernoulli, Gaussian and concrete dropout do not differ significantly on any of ten data sets; alpha
dropout with SELU units is worse on three of them and better on none.

Each kind is compared with Bernoulli dropout at its best rate: a search within each training set
chooses among three rates (concrete dropout learns its own). Alpha dropout is used with SELU units
and their initial weights, which it requires. The comparison is over ten splits, with the corrected
resampled t-test.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
    make_friedman1,
    make_friedman2,
    make_friedman3,
    make_moons,
)
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import (
    DropoutMLPClassifier,
    DropoutMLPRegressor,
    DropoutSearchCV,
    compare_overfitting,
)

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version

N_EPOCHS, N_REPEATS = (3, 1) if QUICK else (50, 2)
digits, labels = load_digits(return_X_y=True)
CLASSES = {
    "iris": load_iris(return_X_y=True),
    "wine": load_wine(return_X_y=True),
    "cancer": load_breast_cancer(return_X_y=True),
    "digits": (digits[:400], labels[:400]),
    "moons": make_moons(300, noise=0.3, random_state=0),
    "classification": make_classification(300, n_informative=6, flip_y=0.1, random_state=0),
}
NUMBERS = {
    "diabetes": load_diabetes(return_X_y=True),
    "Friedman 1": make_friedman1(300, noise=1, random_state=0),
    "Friedman 2": make_friedman2(300, noise=100, random_state=0),
    "Friedman 3": make_friedman3(300, noise=0.1, random_state=0),
}
KINDS = {
    "bernoulli": {},
    "gaussian": {},
    "alpha": {"activation": "selu", "weight_init": "lecun_normal"},
    "concrete": {"dropout_rate": 0.1},
}


def model(Network, kind):
    """A scaled network of a kind, with its rate from a search."""
    network = Network(
        (100,), dropout_type=kind, batch_size=16, max_iter=N_EPOCHS, random_state=0, **KINDS[kind]
    )
    if kind != "concrete":
        network = DropoutSearchCV(network, {"dropout_rate": [0.05, 0.2, 0.4]}, cv=3)
    return make_pipeline(StandardScaler(), network)


differences = {}
for kind_of_data, Network, Splitter in (
    (CLASSES, DropoutMLPClassifier, RepeatedStratifiedKFold),
    (NUMBERS, DropoutMLPRegressor, RepeatedKFold),
):
    for name, (X, y) in kind_of_data.items():
        models = {kind: model(Network, kind) for kind in KINDS}
        cv = Splitter(n_splits=5, n_repeats=N_REPEATS, random_state=0)
        comparison = compare_overfitting(models, X, y, cv=cv, n_jobs=2)
        differences[name] = comparison.differences["test"]
        print(f"{name}\n{comparison}\n")

# %%
# Test scores minus those of Bernoulli dropout: accuracies above the line, R² below it.

figure, ax = plt.subplots(figsize=(8, 5.5), layout="constrained")
for shift, kind in zip((-0.22, 0, 0.22), list(KINDS)[1:]):
    found = [differences[name][kind] for name in differences]
    mean = np.array([difference.mean for difference in found])
    error = np.abs(mean - [[d.low for d in found], [d.high for d in found]])
    ax.errorbar(mean, np.arange(len(found)) + shift, xerr=error, fmt="o", ms=4, label=kind)
ax.axvline(0, color="0.5", lw=0.8)
ax.axhline(len(CLASSES) - 0.5, color="0.5", lw=0.8)
ax.set_yticks(range(len(differences)), differences)
ax.invert_yaxis()
ax.set(xlabel="difference of the test score from Bernoulli dropout, 95 % intervals")
ax.legend()
plt.show()
