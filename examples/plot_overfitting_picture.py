"""
========================================
What overfitting and dropout look like
========================================

With dropout, a network that is far too large fits twenty points less closely and the curve behind
them better.

A network with far more weights than there are points follows every point, including its noise. With
dropout it cannot, because other units are missing at each training step, so no unit can specialise
in one point. This example shows the two fits, and a diagram of a network with dropout, in full and
thinned by one of its masks.
"""

# %%
# The wiggly fit and the regularised one
# --------------------------------------
#
# Twenty noisy points on a smooth curve, and two hidden layers of 200 units: 40,000 weights. The two
# fits differ in ``dropout_rate`` only.

import os

import matplotlib.pyplot as plt
import numpy as np
import torch

from sklearn_dropout import DropoutMLPRegressor

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version
N_EPOCHS, N_DRAWS = (100, 2) if QUICK else (2000, 10)


GRID = np.linspace(-3, 3, 400)


def draw_points(seed):
    """Noisy points on the curve."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-3, 3, 20))
    return x, np.sin(x) + 0.3 * rng.standard_normal(len(x))


def fit(x, y, rate):
    """A network with this dropout rate."""
    network = DropoutMLPRegressor(
        (200, 200),
        activation="gelu",
        dropout_rate=rate,
        alpha=0,
        learning_rate_init=0.003,
        max_iter=N_EPOCHS,
        random_state=0,
    )
    return network.fit(x[:, None], y)


NAMES = {0.0: "without dropout", 0.3: "dropout 0.3"}
x, y = draw_points(1)
figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.2), sharey=True, layout="constrained")
for ax, (rate, name) in zip(axes, NAMES.items()):
    network = fit(x, y, rate)
    ax.plot(GRID, np.sin(GRID), color="0.6", ls="--", label="the curve behind the points")
    ax.plot(GRID, network.predict(GRID[:, None]), color="tab:orange", label="network")
    ax.plot(x, y, "o", color="tab:blue", label="training points")
    ax.set(title=name, xlabel="x")
axes[0].set_ylabel("y")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
plt.show()

# %%
# One draw of points is not enough for a conclusion. So we compute, over several draws, the mean
# squared error from the training points, and from the curve itself. The noise has a variance of
# 0.09; an error far below that on the training points means that noise has been learned.

errors = {rate: [] for rate in NAMES}
for seed in range(N_DRAWS):
    x, y = draw_points(seed)
    for rate in NAMES:
        network = fit(x, y, rate)
        from_points = np.mean((network.predict(x[:, None]) - y) ** 2)
        from_curve = np.mean((network.predict(GRID[:, None]) - np.sin(GRID)) ** 2)
        errors[rate].append((from_points, from_curve))
for rate, name in NAMES.items():
    mean, spread = np.mean(errors[rate], axis=0), np.std(errors[rate], axis=0, ddof=1)
    print(f"{name}: mean squared error, {N_DRAWS} draws of points")
    print(f"    from the training points {mean[0]:.3f} ± {spread[0]:.3f}")
    print(f"    from the curve           {mean[1]:.3f} ± {spread[1]:.3f}")
nearer = sum(one[1] < other[1] for one, other in zip(errors[0.3], errors[0.0]))
print(f"nearer to the curve with dropout: {nearer} of {N_DRAWS} draws")

# %%
# In the full version dropout fits the points worse and the curve better, in nearly every draw. The
# rest of its error on the points is about what noise leaves when the curve is known.
#
# One network, thinned
# --------------------
#
# A network small enough to be drawn, and one mask of its own dropout layers: a dropped unit takes
# its incoming and outgoing weights with it. The widths of the lines show the weights. The next
# training step draws another mask; predictions use the full network.

small = DropoutMLPRegressor(
    (8, 6), dropout_rate=0.4, max_iter=min(N_EPOCHS, 500), random_state=1
).fit(np.column_stack([x, x**2, np.sin(x)]), y)

# The network as a PyTorch module has its dropout layers in place; ones come out of them as masks.
layers = [layer for name, layer in small.module_.train().named_modules() if "dropout" in name]
masks = [np.ones(3, dtype=bool)]
with torch.random.fork_rng():
    torch.manual_seed(2)
    for layer, n_units in zip(layers, small.hidden_layer_sizes, strict=True):
        masks.append(layer(torch.ones(1, n_units)).numpy()[0] > 0)
masks.append(np.ones(1, dtype=bool))
ones = [np.ones_like(mask) for mask in masks]


def heights(n_units):
    """Where the units of a layer are drawn."""
    return np.arange(n_units) - (n_units - 1) / 2


def draw_network(ax, network, masks):
    """Units and weights; dropped units are crossed out and their weights left out."""
    for layer, weights in enumerate(network.coefs_):
        scale = 2.5 / np.abs(weights).max()
        for i, start in enumerate(heights(len(masks[layer]))):
            for j, end in enumerate(heights(len(masks[layer + 1]))):
                if masks[layer][i] and masks[layer + 1][j]:
                    width = scale * abs(weights[i, j])
                    ax.plot([layer, layer + 1], [start, end], color="0.55", lw=width, zorder=1)
    for layer, mask in enumerate(masks):
        y_units = heights(len(mask))
        ax.scatter(np.full(mask.sum(), layer), y_units[mask], s=330, c="tab:blue", zorder=2)
        dropped = np.full((~mask).sum(), layer), y_units[~mask]
        ax.scatter(*dropped, s=330, facecolors="white", edgecolors="0.7", zorder=2)
        ax.scatter(*dropped, s=90, c="0.5", marker="x", zorder=3)
    ax.set_xticks(range(4), ["inputs", "hidden 1", "hidden 2", "output"])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained")
draw_network(axes[0], small, ones)
axes[0].set_title("full: at prediction")
draw_network(axes[1], small, masks)
n_dropped = sum((~mask).sum() for mask in masks)
axes[1].set_title(f"thinned: one training step, {n_dropped} units dropped")
plt.show()
