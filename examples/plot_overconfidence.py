"""
=========================================================
Why dropout, if there is a Gaussian head?
=========================================================

Without dropout, one network that predicts its own noise is far over-confident on new rows; a rate
of 0.05 corrects most of this, more than an ensemble of five networks without dropout does.

With ``loss="gaussian"`` a network predicts a mean and a standard deviation, which it learns from
its training rows. If it memorises them, its errors there are small, and so are the standard
deviations: on new rows they are too small. Dropout keeps the network from memorising. The test
log-likelihood and the share of new targets within the 90 % interval show whether the standard
deviations are right.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes, make_friedman1, make_friedman3
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from tabulate import tabulate

from sklearn_dropout import (
    DropoutEnsembleRegressor,
    DropoutMLPRegressor,
    predictive_log_likelihood,
)

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version

N_EPOCHS, N_SPLITS = (5, 2) if QUICK else (150, 10)
RATES = [0.0, 0.02, 0.05, 0.1, 0.2]
DATA = {
    "diabetes": load_diabetes(return_X_y=True),
    "Friedman 1": make_friedman1(400, noise=1, random_state=0),
    "Friedman 3": make_friedman3(400, noise=0.1, random_state=0),
}


def network(rate):
    """Two hidden layers and a Gaussian head."""
    return DropoutMLPRegressor(
        (50, 50), loss="gaussian", dropout_rate=rate, batch_size=32, max_iter=N_EPOCHS
    )


rows, curves = [], {}
for name, (X, y) in DATA.items():
    for rate in RATES:
        for n_members in (1, 5):
            scores = []
            for train, test in KFold(N_SPLITS, shuffle=True, random_state=0).split(X):
                scaler = StandardScaler().fit(X[train])
                model = DropoutEnsembleRegressor(network(rate), n_members, random_state=0)
                model.fit(scaler.transform(X[train]), y[train])
                X_test = scaler.transform(X[test])
                parts = [
                    member.sample_predictions(X_test, 50, random_state=0, return_std=True)
                    for member in model.estimators_
                ]
                samples, std = (np.concatenate(part) for part in zip(*parts))
                mean, total = model.predict(X_test, return_std=True, random_state=0)
                held = np.mean(np.abs(y[test] - mean) < 1.645 * total)
                scores.append((predictive_log_likelihood(y[test], samples, 1 / std**2), held))
            likelihood, held = np.mean(scores, axis=0)
            curves.setdefault((name, n_members), []).append(likelihood)
            rows.append([name, rate, n_members, f"{likelihood:.2f}", f"{held:.0%}"])
headers = ["data", "dropout rate", "networks", "test log-likelihood", "in the 90 % interval"]
print(tabulate(rows, headers, disable_numparse=True))

# %%

figure, axes = plt.subplots(1, len(DATA), figsize=(11, 3.8), layout="constrained")
for ax, name in zip(axes, DATA):
    for n_members, label in ((1, "one network"), (5, "ensemble of 5")):
        ax.plot(RATES, curves[name, n_members], marker="o", label=label)
    ax.set(title=name, xlabel="dropout rate", ylabel="test log-likelihood")
axes[0].legend()
plt.show()

# %%
# Intervals of nominal 90 % of one network without dropout cover 51 %, 30 % and 65 % of new targets;
# with a rate of 0.05 they cover 71 %, 82 % and 87 %, and the log-likelihood rises by 8.4, 16.9 and
# 1.1 nats for each row. Intervals of five networks without dropout cover 66 %, 64 % and 74 %. An
# ensemble with dropout is best. On the diabetes data even with a rate of 0.2 the intervals are a
# little too short.
