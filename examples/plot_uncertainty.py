"""
==================================
What does the network not know?
==================================

Monte Carlo dropout is uncertain between and beyond the training data, but certain about some inputs
that it gets wrong.

A network answers with the same confidence near its training data and far from them. With dropout on
at prediction, each pass uses another thinned network, and if the passes disagree, the data do not
determine the prediction [1]_. This example has three parts: a regression whose band widens away
from the data, the two kinds of uncertainty of a classifier, and digits that are better passed on to
a human.

.. [1] Gal, Y., Ghahramani, Z. (2016). "Dropout as a Bayesian approximation: Representing model
   uncertainty in deep learning." ICML.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import train_test_split
from tabulate import tabulate

from sklearn_dropout import DropoutMLPClassifier, DropoutMLPRegressor

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version

n_passes = 50 if QUICK else 500


def epochs(n):
    """Epochs of a fit."""
    return n // 20 if QUICK else n


# %%
# A band that widens
# ------------------
#
# The data are noisy values of a sine, with a gap in the middle and nothing outside. ``return_std``
# gives mean and standard deviation as ``GaussianProcessRegressor`` does; ``predict_uncertainty``
# splits the latter into the noise of the targets (aleatoric) and the uncertainty about the network
# (epistemic).
#
# The band widens away from the data, but not enough far from them: there a ReLU network is a
# straight line, and so is every thinned network, while the sine turns back and leaves the band.

SIGMA = 0.15


def noisy_sine(n, seed):
    """Inputs in two clusters, and targets with noise of standard deviation `SIGMA`."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 2.2, n) * rng.choice([-1, 1], n)
    return x[:, None], np.sin(2 * x) + SIGMA * rng.standard_normal(n)


X, y = noisy_sine(200, seed=0)
regressor = DropoutMLPRegressor(
    (200, 200), dropout_rate=0.1, batch_size=32, max_iter=epochs(600), random_state=0
).fit(X, y)
grid = np.linspace(-5, 5, 401)[:, None]
answer = regressor.predict_uncertainty(grid, n_passes, random_state=0)
functions = regressor.sample_predictions(grid, 12, random_state=1)[:, :, 0]
print(f"noise: {SIGMA} in the data, estimated {regressor.noise_std_[0]:.3f}")
for low, high in ((0.5, 2.2), (0, 0.4), (3, 5)):
    inside = (np.abs(grid[:, 0]) >= low) & (np.abs(grid[:, 0]) <= high)
    print(f"{low} <= |x| <= {high}: mean epistemic std {answer.epistemic[inside].mean():.3f}")

figure, ax = plt.subplots(figsize=(8, 4.2), layout="constrained")
for width, label, color in (
    (answer.total, "total", "tab:blue"),
    (answer.epistemic, "epistemic", "tab:orange"),
):
    low, high = answer.mean - 1.96 * width, answer.mean + 1.96 * width
    ax.fill_between(grid[:, 0], low, high, color=color, alpha=0.3, lw=0, label=f"95%, {label}")
ax.plot(grid[:, 0], functions.T, color="gray", lw=0.5, alpha=0.6)
ax.plot(grid[:, 0], answer.mean, color="tab:blue", label="mean")
ax.plot(grid[:, 0], np.sin(2 * grid[:, 0]), "k--", lw=1, label="without noise")
ax.plot(X[:, 0], y, ".", color="black", ms=3, label="training data")
ax.set(xlabel="x", ylabel="y", ylim=(-6, 6), title="Thin lines: single passes, each one function")
ax.legend(ncols=3, loc="lower center", fontsize="small")
plt.show()

# %%
# Is the band right?
# ------------------
#
# The table shows the share of new targets, drawn where the training data are, inside intervals of
# 95%. The noise is estimated from training residuals with dropout on, or from the residuals of
# validation rows if there are any. Both contain some of the uncertainty about the network, which is
# then added again, so the intervals are rather too wide, most so with much dropout. If a network
# overfits (wide, little dropout, many inputs, few rows), its training residuals are too small, and
# only validation rows show this.


def coverage(n, rate, validation, seed):
    """Share of new targets inside the interval."""
    X, y = noisy_sine(n, seed)
    network = DropoutMLPRegressor(
        (100,), dropout_rate=rate, batch_size=32, max_iter=epochs(300), random_state=seed
    )
    if validation:
        n = n * 3 // 4
        network.fit(X[:n], y[:n], X_val=X[n:], y_val=y[n:])
    else:
        network.fit(X, y)
    X, y = noisy_sine(5000, seed + 1000)
    mean, std = network.predict(X, return_std=True, random_state=0)
    return np.mean(np.abs(y - mean) < 1.96 * std)


rows = []
for n in (50, 400):
    for rate in (0.05, 0.2, 0.5):
        cells = [
            np.mean([coverage(n, rate, validation, seed) for seed in range(3)])
            for validation in (False, True)
        ]
        rows.append([n, rate, *(f"{cell:.3f}" for cell in cells)])
print(tabulate(rows, headers=["rows", "rate", "training residuals", "validation residuals"]))

# %%
# Two kinds of uncertainty
# ------------------------
#
# The data are two moons that overlap. Where they meet, no network could separate them, even with
# more data, and the networks agree that the class is uncertain (aleatoric). Where the boundary
# leaves the data, each thinned network continues it differently, and they disagree (epistemic: the
# mutual information between label and network). Far from the boundary all networks are certain,
# with or without data: this uncertainty is about the boundary between the classes, not a distance
# from the data.

X, y = make_moons(300, noise=0.25, random_state=0)
classifier = DropoutMLPClassifier(
    (200, 200), dropout_rate=0.3, batch_size=32, max_iter=epochs(300), random_state=0
).fit(X, y)
axis = np.linspace(-5, 6, 140)
plane = np.stack(np.meshgrid(axis, axis - 0.3), axis=-1).reshape(-1, 2)
answer = classifier.predict_uncertainty(plane, n_passes, random_state=0)

figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharey=True)
for ax, part, title in zip(
    axes,
    (answer.aleatoric, answer.epistemic),
    ("aleatoric: expected entropy", "epistemic: mutual information"),
):
    levels = part.reshape(len(axis), -1)
    image = ax.pcolormesh(axis, axis - 0.3, levels, cmap="viridis", shading="auto", vmin=0)
    figure.colorbar(image, ax=ax, label="nats")
    ax.scatter(*X.T, c=y, cmap="coolwarm", s=6, edgecolors="white", linewidths=0.3)
    ax.set(title=title, xlabel="first input")
axes[0].set_ylabel("second input")
plt.show()

# %%
# Digits to pass on
# -----------------
#
# A network that may say "I do not know" is right more often on the rest. The most uncertain test
# digits are rejected first; a fifth of the digits are upside down, which the network has never seen
# and cannot be expected to read.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.5, random_state=0)
classifier = DropoutMLPClassifier(
    (200, 200), dropout_rate=0.5, batch_size=32, max_iter=epochs(100), random_state=0
).fit(X_train, y_train)
turned = np.arange(len(X_test)) % 5 == 0
images = X_test.reshape(-1, 8, 8)
mixed = np.where(turned[:, None], images[:, ::-1, ::-1].reshape(-1, 64), X_test)

answer = classifier.predict_uncertainty(mixed, n_passes, random_state=0)
right = classifier.classes_[answer.mean.argmax(axis=1)] == y_test
single = classifier.predict_proba(mixed)
orders = {
    "epistemic": answer.epistemic,
    "total": answer.total,
    "1 - top probability, dropout off": 1 - single.max(axis=1),
}
for name, part in orders.items():
    half = np.argsort(part)[: len(part) // 2]
    print(
        f"{name}:\n  accuracy {right.mean():.3f} on all, {right[half].mean():.3f} on the half with "
        f"the least;\n  {turned[np.argsort(-part)[: turned.sum()]].mean():.0%} of the "
        f"{turned.sum()} most uncertain digits are upside down"
    )

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, part in orders.items():
    kept = right[np.argsort(part)]
    n_kept = np.arange(len(kept), len(kept) // 10, -1)
    accuracy = np.cumsum(kept)[n_kept - 1] / n_kept
    axes[0].plot(1 - n_kept / len(kept), accuracy, label=name)
axes[0].set(xlabel="share rejected", ylabel="accuracy on the rest", title="Rejecting the uncertain")
axes[0].axvline(turned.mean(), color="gray", ls=":", lw=1)
axes[0].legend(loc="lower right", fontsize="small")
bins = np.linspace(0, answer.epistemic.max(), 30)
for rows, label in ((~turned, "upright"), (turned, "upside down")):
    axes[1].hist(answer.epistemic[rows], bins, density=True, alpha=0.6, label=label)
axes[1].set(xlabel="epistemic uncertainty, nats", ylabel="density", title="Familiar and unfamiliar")
axes[1].legend()
plt.show()

# %%
# No measure of uncertainty detects every error. Digits turned by a quarter are read wrongly with
# great confidence: their strokes reach the outer columns, which are empty in the training images,
# so the weights there are still the initial ones but contribute all the same. If a prediction is
# the same with all masks, Monte Carlo dropout is certain of it.

rows = []
for angle in (0, 20, 45, 90, 180):
    seen = rotate(images, angle, axes=(1, 2), reshape=False, order=1).clip(0, 1).reshape(-1, 64)
    answer = classifier.predict_uncertainty(seen, n_passes, random_state=0)
    right = classifier.classes_[answer.mean.argmax(axis=1)] == y_test
    numbers = (right.mean(), answer.aleatoric.mean(), answer.epistemic.mean())
    rows.append([angle, *(f"{number:.3f}" for number in numbers)])
print(tabulate(rows, headers=["degrees", "accuracy", "aleatoric, nats", "epistemic, nats"]))
