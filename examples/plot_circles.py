"""
=================================================
Two circles: how much does dropout really change?
=================================================

On 5,000 new points, the accuracy with a rate of 0.4 is half a point lower than without dropout, and
with a rate of 0.1 a point higher; 70 test points show the opposite for the rate of 0.4.

A well-known tutorial [1]_ shows dropout with Keras on a toy problem: 100 noisy points on two
circles, 30 of them to train and 70 to test, and one hidden layer of 500 units, far more than 30
points need. It reports one run without dropout and one with, and leaves the rest as exercises:
learning curves, dropout of the inputs, a bound on the weights, repeated runs and a grid of rates.

This example repeats the study and does the exercises with
:class:`~sklearn_dropout.DropoutMLPClassifier`. Note that the repeats below differ in their initial
weights, batches and dropout masks only. All of them use the same 30 training points and the same 70
test points, so their spread shows how reproducible a result is, not how far to trust it. As more
points can be drawn from the circles, every network is also evaluated on 5,000 new points, which the
tutorial does not have.

The full study makes 360 fits and saves its four figures as ``circles_*.png``. ``QUICK=1`` in the
environment makes a short version, whose numbers are meaningless.

.. [1] J. Brownlee, `How to reduce overfitting with dropout regularization in Keras
   <https://machinelearningmastery.com/how-to-reduce-overfitting-with-dropout-regularization-in-keras/>`_.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from joblib import Parallel, delayed
from matplotlib.lines import Line2D
from scipy.stats import binomtest
from sklearn.datasets import make_circles
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import log_loss
from tabulate import tabulate
from tqdm import tqdm

from sklearn_dropout import DropoutMLPClassifier

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version
N_EPOCHS = 400 if QUICK else 4000
N_REPEATS = 3 if QUICK else 30

# %%
# The data and the variants
# -------------------------
#
# A dropout rate is the fraction of units that is dropped, as in Keras. ``alpha=0`` switches off
# scikit-learn's default weight penalty, which the network of the tutorial does not have. One
# difference remains: biases start at small random values, as in scikit-learn's ``MLPClassifier``,
# whereas those of Keras start at zero.
#
# ``max_norm`` bounds the length of the vector of weights that enters a hidden unit. A common
# choice is 3; here it is 0.5, and the section on bounding the weights shows why.

X, y = make_circles(n_samples=100, noise=0.1, random_state=1)
X_train, y_train, X_test, y_test = X[:30], y[:30], X[30:], y[30:]
X_new, y_new = make_circles(n_samples=5000, noise=0.1, random_state=2)
PARTS = {"train": (X_train, y_train), "test": (X_test, y_test), "new": (X_new, y_new)}

PLAIN, DROPOUT, INPUT = "no dropout", "dropout 0.4", "input dropout 0.2"
VARIANTS = {
    PLAIN: {"dropout_rate": 0},
    DROPOUT: {"dropout_rate": 0.4},
    INPUT: {"dropout_rate": 0, "input_dropout_rate": 0.2},
    "max-norm 0.5": {"dropout_rate": 0, "max_norm": 0.5},
    "dropout 0.4, max-norm 0.5": {"dropout_rate": 0.4, "max_norm": 0.5},
}
RATES = [step / 10 for step in range(9)]
GRID = {PLAIN if rate == 0 else f"dropout {rate}": {"dropout_rate": rate} for rate in RATES}
TUTORIAL = {PLAIN: (1.000, 0.757), DROPOUT: (0.967, 0.814)}


def make_network(variant, random_state):
    """The network of the tutorial with one variant of regularisation."""
    return DropoutMLPClassifier(
        (500,),
        alpha=0,
        batch_size=32,
        learning_rate_init=0.001,
        max_iter=N_EPOCHS,
        random_state=random_state,
        **(VARIANTS | GRID)[variant],
    )


def accuracies(network):
    """Accuracy on the training, test and new points, with dropout off."""
    return [network.score(points, labels) for points, labels in PARTS.values()]


def fit_with_curves(variant):
    """One fit that records loss and accuracy on the test points after each epoch."""
    network = make_network(variant, random_state=0)
    return variant, network.fit(X_train, y_train, X_val=X_test, y_val=y_test)


def fit_repeat(variant, random_state):
    """Accuracies of one of the repeats."""
    network = make_network(variant, random_state).fit(X_train, y_train)
    return variant, random_state, accuracies(network)


def run(tasks, name):
    """Results of delayed calls on two cores, as they come in, with a bar in a terminal."""
    results = Parallel(n_jobs=2, return_as="generator_unordered")(tasks)
    return list(tqdm(results, total=len(tasks), desc=name, unit="fit", disable=None))


# %%
# One run each, as in the tutorial
# --------------------------------
#
# The test points are passed to ``fit`` as ``X_val, y_val``. Without early stopping, this only adds
# the curves to ``history_`` (and makes the fit slower, as both sets are evaluated after each
# epoch).
#
# The log loss penalises confident wrong predictions more than others; accuracy does not.

results = dict(run([delayed(fit_with_curves)(name) for name in TUTORIAL], "single runs"))
single = {name: results[name] for name in TUTORIAL}
for name, network in single.items():
    (train, test, new), theirs = accuracies(network), TUTORIAL[name]
    print(
        f"{name}:\n    train / test accuracy {train:.3f} / {test:.3f} here (random_state=0), "
        f"{theirs[0]:.3f} / {theirs[1]:.3f} in the tutorial;\n    on {len(y_new):,} new points "
        f"{new:.3f}, log loss {log_loss(y_new, network.predict_proba(X_new)):.2f} nats"
    )

# %%
# The figure shows what the two networks have learned: the probability of the inner circle.

COLORS = {"train": "#D55E00", "test": "#0072B2", "new": "#009E73"}  # colour-blind safe
CLASS_STYLES = (("outer circle", "o", "#b35806"), ("inner circle", "^", "#542788"))
plt.rcParams.update(
    {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": "medium",
        "legend.frameon": False,
        "savefig.dpi": 150,
    }
)


def plot_boundary(network, ax):
    """Probability map of a network, its decision boundary, and all points."""
    surface = DecisionBoundaryDisplay.from_estimator(
        network,
        X,
        response_method="predict_proba",
        class_of_interest=1,
        eps=0.2,
        grid_resolution=200,
        plot_method="contourf",
        levels=np.linspace(0, 1, 11),
        cmap="PuOr",
        vmin=-0.9,  # beyond 0 and 1, so that points stand out from pale colours
        vmax=1.9,
        ax=ax,
    )
    ax.contour(surface.xx0, surface.xx1, surface.response, levels=[0.5], colors="black")
    for part, size, edge in (("test", 22, "white"), ("train", 60, "black")):
        points, labels = PARTS[part]
        for label, (_, marker, color) in enumerate(CLASS_STYLES):
            chosen = points[labels == label]
            ax.scatter(*chosen.T, s=size, c=color, marker=marker, edgecolors=edge, linewidths=0.8)
    return surface.surface_


def boundary_legend(figure):
    """A legend of classes, parts and line below the axes."""
    handles = [
        Line2D([], [], color=color, marker=marker, ms=7, ls="none", label=label)
        for label, marker, color in CLASS_STYLES
    ]
    handles += [
        Line2D(
            [], [], color="0.5", marker="s", ms=8, mec="black", ls="none", label="train (large)"
        ),
        Line2D([], [], color="0.5", marker="s", ms=4, ls="none", label="test (small)"),
        Line2D([], [], color="black", label="decision boundary"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)


figure, axes = plt.subplots(1, 2, figsize=(9, 4.7), sharex=True, sharey=True, layout="constrained")
for ax, (name, network) in zip(axes, single.items()):
    surface = plot_boundary(network, ax)
    train, test, _ = accuracies(network)
    ax.set(title=f"{name}: accuracy train {train:.3f}, test {test:.3f}", aspect="equal")
    ax.set(xlabel="first input", ylabel="second input" if ax is axes[0] else None)
figure.colorbar(surface, ax=axes, label="probability of the inner circle", shrink=0.85)
boundary_legend(figure)
figure.savefig("circles_boundaries.png")

# %%
# Learning curves
# ---------------
#
# The training loss is recorded during training, so dropout makes it noisy and larger than it would
# be without; all other curves are computed with dropout off.

figure, axes = plt.subplots(2, 2, figsize=(9, 5.6), sharex=True, sharey="row", layout="constrained")
for column, (name, network) in zip(axes.T, single.items()):
    history = network.history_
    for ax, quantity in zip(column, ("loss", "score")):
        for part, key in (("train", "train"), ("test", "valid")):
            curve = history[:, f"{key}_{quantity}"]
            ax.plot(history[:, "epoch"], curve, color=COLORS[part], lw=1, label=part)
        ax.grid(alpha=0.3)
    column[0].set(title=f"{name} (training loss with dropout on)" if name != PLAIN else name)
    column[1].set(xlabel="epoch", xlim=(0, N_EPOCHS), xticks=np.linspace(0, N_EPOCHS, 5))
axes[0, 0].set(ylabel="log loss (nats)", yscale="log")
axes[1, 0].set(ylabel="accuracy")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
figure.get_layout_engine().set(wspace=0.06)
figure.savefig("circles_learning_curves.png")

for name, network in single.items():
    loss, score = (np.array(network.history_[:, f"valid_{key}"]) for key in ("loss", "score"))
    best = int(np.argmin(loss))
    print(
        f"{name}:\n    lowest test loss {loss[best]:.2f} in epoch {best + 1:,} (accuracy "
        f"{score[best]:.3f}); in the last epoch {loss[-1]:.2f} (accuracy {score[-1]:.3f})"
    )

# %%
# Repeated runs, more variants, a grid of rates
# ---------------------------------------------
#
# The same networks are fitted with several values of ``random_state``. The gap is train minus test.

repeats = {name: np.empty((N_REPEATS, len(PARTS))) for name in VARIANTS | GRID}
tasks = [delayed(fit_repeat)(name, seed) for name in repeats for seed in range(N_REPEATS)]
for name, seed, scores in run(tasks, "repeats"):
    repeats[name][seed] = scores


def table_row(name):
    """Means and standard deviations of a variant, after the tutorial's numbers."""
    means, spreads = repeats[name].mean(axis=0), repeats[name].std(axis=0, ddof=1)
    theirs = "{:.3f} / {:.3f}".format(*TUTORIAL[name]) if name in TUTORIAL else ""
    ours = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(means, spreads)]
    return [name, theirs, *ours[:2], f"{means[0] - means[1]:.3f}", ours[2]]


headers = [
    "variant",
    "tutorial:\ntrain / test",
    "train",
    "test",
    "gap",
    f"{len(y_new):,}\nnew points",
]
print(f"Accuracy, mean ± standard deviation of {N_REPEATS} repeats of {N_EPOCHS:,} epochs")
print(tabulate([table_row(name) for name in repeats], headers, disable_numparse=True))

# %%
# The figure shows every run: the area of a circle is the number of runs with the same accuracy,
# which is a multiple of 1/30 on the training points and of 1/70 on the test points.


def plot_repeats(ax, name, height):
    """All repeats of a variant, their means, and the tutorial's run."""
    for column, (part, color) in enumerate(COLORS.items()):
        values, level = repeats[name][:, column], height + 0.28 * (column - 1)
        where, count = np.unique(values, return_counts=True)
        ax.scatter(where, np.full(len(where), level), 240 * count / N_REPEATS, color, alpha=0.6)
        ax.plot([values.mean()] * 2, [level - 0.13, level + 0.13], color="black", lw=1.5)
        if name in TUTORIAL and part != "new":
            ax.plot(TUTORIAL[name][column], level, "D", mfc="none", mec="black", ms=8)


LABELS = {"train": "train", "test": "test", "new": f"{len(y_new):,} new points"}
figure, ax = plt.subplots(figsize=(9, 5), layout="constrained")
for height, name in enumerate(VARIANTS):
    plot_repeats(ax, name, height)
    ax.axhline(height + 0.5, color="0.85", lw=0.8)
ax.set(xlabel="accuracy", yticks=range(len(VARIANTS)), yticklabels=VARIANTS)
ax.set(ylim=(len(VARIANTS) - 0.5, -0.5), axisbelow=True)
ax.set(title=f"{N_REPEATS} repeats of each variant (area: number of equal results)")
ax.tick_params(axis="y", length=0)
ax.grid(axis="x", alpha=0.3)
handles = [
    Line2D([], [], color=COLORS[part], marker="o", ms=8, alpha=0.6, ls="none", label=label)
    for part, label in LABELS.items()
]
handles += [
    Line2D([], [], color="black", marker="|", ms=12, mew=1.5, ls="none", label="mean"),
    Line2D([], [], color="black", marker="D", ms=8, mfc="none", ls="none", label="tutorial, 1 run"),
]
figure.legend(handles=handles, loc="outside lower center", ncols=5)
figure.savefig("circles_repeats.png")

# %%
# Is the difference between the first two rows of the table real? Both networks of a repeat start
# from the same weights, so they are compared in pairs, by a sign test: does dropout win in more
# than half of the repeats? Even a clear answer is valid for these points only. The standard error
# shows how precisely an accuracy can be measured with so many points; more repeats do not reduce
# it.


def compare(part):
    """Print how the network with dropout differs from the one without on some points."""
    column, n_points = list(PARTS).index(part), len(PARTS[part][1])
    plain, dropped = repeats[PLAIN][:, column], repeats[DROPOUT][:, column]
    won, lost = int(np.sum(dropped > plain)), int(np.sum(dropped < plain))
    p_value = binomtest(won, won + lost).pvalue if won + lost else 1.0
    error = np.sqrt(plain.mean() * (1 - plain.mean()) / n_points)
    print(
        f"{n_points:,} {part} points, {DROPOUT} minus {PLAIN}:\n    "
        f"{np.mean(dropped - plain):+.3f} on average; higher in {won}, equal in "
        f"{N_REPEATS - won - lost}, lower in {lost} of {N_REPEATS} repeats "
        f"(sign test: p = {p_value:.2g});\n    for comparison: single runs "
        f"spread by {plain.std(ddof=1):.3f}, the standard error of such an accuracy is {error:.3f}"
    )


compare("test")
compare("new")
inside = np.linalg.norm(X_new, axis=1) < 0.9
print(
    "for comparison, a boundary halfway between the two circles: accuracy "
    f"{np.mean(inside == y_new):.3f} on the new points"
)

# %%
# Dropping inputs
# ---------------
#
# Inputs that are not dropped are divided by the fraction kept, here 0.8, so that the mean of each
# input is unchanged. With two inputs, both are kept in 64 % of the rows, and these rows are the
# data multiplied by 1.25. But the inner circle has 0.8 times the radius of the outer one, so in
# training its points lie exactly where those of the outer circle lie in prediction. So compare the
# accuracy on the points as they are with that on the points multiplied by 1.25. (Keras and PyTorch
# scale in the same way.)

network = make_network(INPUT, random_state=0).fit(X_train, y_train)
for factor in (1, 1.25):
    train, test = (
        network.score(factor * PARTS[part][0], PARTS[part][1]) for part in ("train", "test")
    )
    called_inner = np.mean(network.predict(factor * X_test) == 1)
    print(
        f"{INPUT}, points times {factor}:\n    train / test accuracy {train:.3f} / {test:.3f}, "
        f"{called_inner:.0%} of the test points taken for the inner circle"
    )

# %%
# Bounding the weights
# --------------------
#
# A bound has an effect only if the weights would exceed it otherwise. The norms that the two single
# runs reach without a bound show whether 3 or 0.5 can change much.

for name, network in single.items():
    norms = np.linalg.norm(network.coefs_[0], axis=0)
    print(
        f"{name}: norm of the weights into a hidden unit\n    "
        f"median {np.median(norms):.2f}, largest {norms.max():.2f}; "
        f"above 0.5 in {np.sum(norms > 0.5)} of {len(norms)} units, above 3 in "
        f"{np.sum(norms > 3)}"
    )

# %%
# The rate
# --------
#
# Accuracy against the dropout rate, with a band of one standard deviation of the repeats. If you
# choose the rate that is best on the test points, they are no longer test points; to choose a rate,
# use cross-validation.

figure, ax = plt.subplots(figsize=(9, 4.8), layout="constrained")
for column, (part, color) in enumerate(COLORS.items()):
    scores = np.array([repeats[name][:, column] for name in GRID])
    mean, spread = scores.mean(axis=1), scores.std(axis=1, ddof=1)
    ax.fill_between(RATES, mean - spread, mean + spread, color=color, alpha=0.2, lw=0)
    ax.plot(RATES, mean, "o-", color=color, label=LABELS[part])
for name, theirs in TUTORIAL.items():
    rate = VARIANTS[name]["dropout_rate"]
    label = "tutorial, 1 run" if name == PLAIN else None
    ax.plot([rate, rate], theirs, "D", mfc="none", mec="black", ms=9, label=label)
ax.set(xlabel="dropout rate after the hidden layer (fraction dropped)", ylabel="accuracy")
ax.set(title=f"mean ± standard deviation of {N_REPEATS} repeats")
ax.grid(alpha=0.3)
figure.legend(loc="outside lower center", ncols=4)
figure.savefig("circles_rates.png")

for column, part in enumerate(PARTS):
    if part != "train":
        best = max(GRID, key=lambda name: repeats[name][:, column].mean())
        print(
            f"best of the grid on the {part} points: {best}, {repeats[best][:, column].mean():.3f}"
        )
