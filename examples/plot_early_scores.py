"""
======================================================
Early scores mislead: why not to stop candidates early
======================================================

After 3 of 81 epochs the network without dropout has the best score on both data sets; after all of
them, rates of 0.4 and 0.2 do.

Successive halving and similar searches train all candidates for a few epochs, drop the worse half,
and continue with the rest. They assume that early scores rank candidates as final ones do. With
dropout this is not so: a network with a high rate learns more slowly, and its advantage shows late.
The lower plots show, for each number of epochs, the rank correlation over nine rates between the
validation scores at that time and those of the last epoch.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version

N_EPOCHS, N_SPLITS = (9, 2) if QUICK else (81, 10)
RATES = np.linspace(0, 0.8, 9)
digits, labels = load_digits(return_X_y=True)
DATA = {
    "diabetes": (*load_diabetes(return_X_y=True), DropoutMLPRegressor),
    "400 digits": (digits[:400], labels[:400], DropoutMLPClassifier),
}

curves = {}
for name, (X, y, Network) in DATA.items():
    scores = np.zeros((len(RATES), N_EPOCHS))
    for seed in range(N_SPLITS):
        X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.3, random_state=seed)
        scaler = StandardScaler().fit(X_train)
        X_train, X_val = scaler.transform(X_train), scaler.transform(X_val)
        for row, rate in enumerate(RATES):
            network = Network(
                (64, 32), dropout_rate=rate, batch_size=32, max_iter=N_EPOCHS, random_state=seed
            )
            network.fit(X_train, y_train, X_val=X_val, y_val=y_val)
            scores[row] += np.array(network.validation_scores_) / N_SPLITS
    curves[name] = scores
    early = spearmanr(scores[:, 2], scores[:, -1]).statistic
    best = [RATES[scores[:, k].argmax()] for k in (2, -1)]
    print(
        f"{name}: rank correlation of the scores after 3 epochs with the last ones {early:+.2f}; "
        f"best rate after 3 epochs {best[0]:.1f}, after {N_EPOCHS} epochs {best[1]:.1f}"
    )

# %%

figure, axes = plt.subplots(2, len(curves), figsize=(9, 6.5), sharex=True, layout="constrained")
for (top, bottom), (name, scores) in zip(axes.T, curves.items()):
    for rate, curve in list(zip(RATES, scores))[::2]:
        top.plot(np.arange(1, N_EPOCHS + 1), curve, color=plt.cm.viridis(rate), label=f"{rate:.1f}")
    correlations = [spearmanr(scores[:, k], scores[:, -1]).statistic for k in range(N_EPOCHS)]
    bottom.plot(np.arange(1, N_EPOCHS + 1), correlations, color="black")
    bottom.axhline(0, color="0.5", lw=0.8)
    low = np.quantile(scores[:, 2:], 0.02)
    top.set(title=name, ylabel="validation score", ylim=(low, None))
    bottom.set(xlabel="epochs", ylabel="rank correlation with the last", ylim=(-1, 1.05))
lines = axes[0, 0].get_lines()
figure.legend(handles=lines, title="rate", loc="outside right upper")
plt.show()

# %%
# On the diabetes data the ranking after 3 epochs says next to nothing about the last one (a rank
# correlation of 0.17). A search that keeps the better half at that time keeps low rates, which
# overfit afterwards. :class:`~sklearn_dropout.DropoutSearchCV` trains all candidates to the end.
