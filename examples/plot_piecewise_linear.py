"""
=====================================
Bins for numbers: piecewise linear
=====================================

Bins help a lot if the target jumps and bends along single columns, make no difference on two other
data sets, and overfit the small and noisy diabetes data.

:class:`~sklearn_dropout.preprocessing.PiecewiseLinearEncoder` encodes each number as its position
in some bins (Gorishniy et al. 2022). A network then sees directly whether a number is above an
edge, which it would have to learn from a single column. The networks with and without bins all have
dropout and use the same splits of four data sets.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, make_friedman1
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor, compare_overfitting
from sklearn_dropout.preprocessing import PiecewiseLinearEncoder

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version

# %%
# What the code looks like
# ------------------------

x = np.linspace(0, 10, 200)[:, None]
encoder = PiecewiseLinearEncoder(n_bins=4).fit(np.random.default_rng(0).gamma(2, 2, (300, 1)))
figure, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.plot(x, encoder.transform(x), label=encoder.get_feature_names_out())
for edge in encoder.bin_edges_[0]:
    ax.axvline(edge, color="0.8", lw=0.8)
ax.set(xlabel="number", ylabel="columns of the code", ylim=(-0.3, 1.5), xlim=(0, 10))
figure.legend(loc="outside right upper")
plt.show()

# %%
# Four data sets
# --------------
#
# A made-up target that jumps and bends along single columns, and three that come with scikit-learn.

rng = np.random.default_rng(0)
waves = rng.uniform(-3, 3, (500, 6))
y_waves = np.sin(4 * waves[:, 0]) + (waves[:, 1] > 0.5) + np.abs(waves[:, 2])
y_waves += 0.3 * rng.standard_normal(500)
DATA = {
    "waves and steps (R²)": (waves, y_waves, DropoutMLPRegressor, RepeatedKFold),
    "breast cancer (accuracy)": (
        *load_breast_cancer(return_X_y=True),
        DropoutMLPClassifier,
        RepeatedStratifiedKFold,
    ),
    "diabetes (R²)": (*load_diabetes(return_X_y=True), DropoutMLPRegressor, RepeatedKFold),
    "Friedman 1 (R²)": (
        *make_friedman1(500, noise=1, random_state=0),
        DropoutMLPRegressor,
        RepeatedKFold,
    ),
}
N_EPOCHS, N_REPEATS = (3, 1) if QUICK else (60, 2)
ENCODERS = {
    "scaled": [StandardScaler()],
    "quantile bins": [PiecewiseLinearEncoder(), StandardScaler()],
    "tree bins": [PiecewiseLinearEncoder(strategy="tree"), StandardScaler()],
}
for name, (X, y, Network, Splitter) in DATA.items():
    models = {
        label: make_pipeline(
            *steps,
            Network((64, 32), dropout_rate=0.2, batch_size=32, max_iter=N_EPOCHS, random_state=0),
        )
        for label, steps in ENCODERS.items()
    }
    cv = Splitter(n_splits=5, n_repeats=N_REPEATS, random_state=0)
    print(f"{name}\n{compare_overfitting(models, X, y, cv=cv)}\n")

# %%
# Quantile bins raise R² from 0.50 to 0.74 on the first data set, and bins of trees to 0.68. On
# breast cancer and on Friedman's function nothing differs significantly. On the diabetes data the
# larger number of inputs lets the network memorise more: R² falls from 0.48 to 0.37 (p = 0.07).
# Check whether bins help on your data, and search their number together with the dropout rate.
