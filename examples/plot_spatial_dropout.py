"""
======================================================
Spatial dropout: full feature maps, or single points?
======================================================

On smooth signals, dropout of feature maps is ahead of dropout of single elements; on images of
digits and on rough signals it is not.

Neighbouring positions of a feature map carry much the same information. If one of them is dropped,
the network still has its neighbours; if the map is dropped in full, as in Tompson et al. (2015),
the information is gone. So if maps are smooth, spatial dropout should regularise more than dropout
of single elements at the same rate. Does it, and does that help?

This example compares the two at equal rates, on few images and on signals of increasing smoothness.
"""

# %%
# The networks have dropout in their blocks of convolutions only, either of maps
# (``spatial_dropout_rate``) or of single elements after pooling (``conv_dropout_rate``). Each rate
# is tried on the same random splits; dropout is meant to close the gap between training and test
# score.
#
# The images are scikit-learn's digits; with ``MNIST = True``, the 70,000 of MNIST, if available.

import os
import socket
import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import fetch_openml, load_digits
from sklearn.model_selection import StratifiedShuffleSplit
from tabulate import tabulate

from sklearn_dropout import DropoutCNNClassifier, DropoutSearchCV
from sklearn_dropout.nn import Dropout, SpatialDropout2d

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version

RATES = [0.1, 0.2, 0.35, 0.5]
KINDS = {"maps": "spatial_dropout_rate", "elements": "conv_dropout_rate"}
COLORS = {"maps": "tab:blue", "elements": "tab:orange"}
n_repeats, n_epochs = (2, 4) if QUICK else (10, 60)


def compare(network, X, y, n_train, rates):
    """Train and test scores of each kind and rate, of shape (n_repeats,) each."""
    n_test = min(5_000, len(y) - n_train)
    splits = StratifiedShuffleSplit(n_repeats, train_size=n_train, test_size=n_test, random_state=0)
    grid = [{name: [rate]} for name in KINDS.values() for rate in rates]
    search = DropoutSearchCV(
        network, [{"alpha": [0]}, *grid], cv=splits, refit=False, return_train_score=True
    ).fit(X, y)
    names = [("none", 0.0), *((kind, rate) for kind in KINDS for rate in rates)]
    parts = {
        part: np.stack([search.cv_results_[f"split{i}_{part}_score"] for i in range(n_repeats)], 1)
        for part in ("train", "test")
    }
    return {
        name: {part: scores[place] for part, scores in parts.items()}
        for place, name in enumerate(names)
    }


def print_table(results):
    """Means and standard deviations over the repeats; differences are taken within a repeat."""
    plain = results["none", 0.0]["test"]
    rows = []
    for (kind, rate), scores in results.items():
        gap = scores["train"] - scores["test"]
        columns = [scores["train"], scores["test"], gap, scores["test"] - plain]
        rows.append([kind, rate, *(f"{c.mean():.3f} ± {c.std(ddof=1):.3f}" for c in columns)])
    print(tabulate(rows, ["dropped", "rate", "train", "test", "gap", "test - none"]))


# %%
# Images
# ------
#
# 200 training images are few enough for the network to memorise them.


def fetch(label, **which):
    """Inputs and targets from OpenML; None, and a line that says why, where they cannot be had."""
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(5)  # seconds that a silent server is given
    try:
        with warnings.catch_warnings(action="ignore"):
            warnings.filterwarnings("error", "A network error")  # it repeats repeats
            data = fetch_openml(**which, as_frame=True, n_retries=1)
        return data.data.to_numpy(dtype=np.float32), data.target.to_numpy(dtype=float)
    except Exception as error:  # no network, no pandas, a server that answers something else
        reason = "no answer" if isinstance(error, UserWarning) else type(error).__name__
        print(f"{label} cannot be had from OpenML here ({reason}).")
        return None
    finally:
        socket.setdefaulttimeout(patience)


MNIST = False
fetched = fetch("MNIST", name="mnist_784", version=1) if MNIST else None
if fetched:
    images, digits = fetched[0].reshape(-1, 1, 28, 28) / 255, fetched[1].astype(int)
else:
    X, digits = load_digits(return_X_y=True)
    images = X.reshape(-1, 1, 8, 8) / 16
IMAGES = "images of MNIST" if fetched else "images of scikit-learn's digits"

network = DropoutCNNClassifier(
    (64,),
    conv_layer_sizes=(16, 32),
    dropout_rate=0,
    alpha=0,
    batch_size=20,
    learning_rate_init=0.003,
    max_iter=n_epochs,
    random_state=0,
)
on_images = compare(network, images, digits, 200, RATES)
print(f"{len(images):,} {IMAGES}, 200 of them to learn from; {n_repeats} repeats")
print_table(on_images)

# %%
# On the digits, in the full version, spatial dropout has no advantage: with dropout of maps the
# test accuracy is about the same as without dropout, and dropout of elements raises it a little at
# the middle rates and narrows the gap. These images are small: after pooling a map has 16
# positions, then four, which may be too few to be copies of each other.

# %%
# What is dropped
# ---------------
#
# The figure shows the maps of one image after the first convolution and pooling, in training mode.
# Spatial dropout keeps a map or drops it in full (framed); dropout of elements leaves holes that
# the neighbours fill. Elements that are kept are brighter, to compensate for those that are
# dropped.

module = network.fit(images[:200], digits[:200]).module_
names = [name for name, _ in module.named_children()]
with torch.no_grad():
    image = torch.tensor(images[:1], dtype=torch.float32)
    maps = module[: names.index("pooling_1") + 1](image)
generator = torch.Generator().manual_seed(3)
drawn = {
    "nothing": maps,
    "maps": SpatialDropout2d(0.35, generator)(maps),
    "elements": Dropout(0.35, generator)(maps),
}

figure, axes = plt.subplots(len(drawn), 8, figsize=(9, 3.9), layout="constrained")
for row, (name, some) in zip(axes, drawn.items()):
    row[0].set_ylabel(name)
    for ax, values in zip(row, some[0]):
        ax.imshow(values, cmap="viridis", vmin=0, vmax=float(maps[0, :8].max()) / 0.65)
        ax.set(xticks=[], yticks=[])
        if not values.any():
            for spine in ax.spines.values():
                spine.set(color="red", linewidth=3)
figure.suptitle("Eight maps of one digit; dropped at rate 0.35, in red in full")
plt.show()

# %%
# Signals of growing correlation length
# -------------------------------------
#
# There are three classes of signals of 64 positions, each a pattern of the class with noise.
# Pattern and noise are smooth over a given length, from none (white noise) to eight positions. If
# the argument for spatial dropout is right, its lead over dropout of elements should grow with this
# length.

LENGTHS = [0, 1, 2, 4, 8]


def smooth(noise, length):
    """White noise along the last axis, smoothed by a Gaussian, with a variance of one."""
    if length == 0:
        return noise
    n = noise.shape[-1]
    distance = np.minimum(np.arange(n), n - np.arange(n))
    window = np.exp(-0.5 * (distance / length) ** 2)
    spectrum = np.fft.rfft(window / np.sqrt((window**2).sum()))
    return np.fft.irfft(np.fft.rfft(noise) * spectrum, n)


def signals(length, n=1_100, n_classes=3, strength=0.5, seed=0):
    """Signals of shape (n, 1, 64) and their classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    pattern = smooth(rng.standard_normal((n_classes, 64)), length)
    return (strength * pattern[y] + smooth(rng.standard_normal((n, 64)), length))[:, None], y


by_length = {}
for length in LENGTHS:
    X, y = signals(length)
    network_1d = DropoutCNNClassifier(**network.get_params() | {"kernel_size": 5})
    by_length[length] = compare(network_1d, X, y, 100, [0.35])
    print(f"\nsignals smooth over {length} positions, 100 of them to learn from")
    print_table(by_length[length])

# %%
# The figure shows test score and gap against the rate on images (left), and what each kind of
# dropout at rate 0.35 changes on signals (right), with the standard error over the repeats. The
# repeats share their pool of samples, so these errors are too small rather than too large.


def draw(ax, positions, values, kind, label):
    """Means with their standard errors."""
    mean = [v.mean() for v in values]
    error = [v.std(ddof=1) / np.sqrt(n_repeats) for v in values]
    ax.errorbar(positions, mean, error, color=COLORS[kind], marker="o", capsize=3, label=label)


def gap(scores):
    """Training score minus test score."""
    return scores["train"] - scores["test"]


figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex="col", layout="constrained")
plain = on_images["none", 0.0]
for kind in KINDS:
    results = [plain, *(on_images[kind, rate] for rate in RATES)]
    draw(axes[0, 0], [0, *RATES], [r["test"] for r in results], kind, kind)
    draw(axes[1, 0], [0, *RATES], [gap(r) for r in results], kind, kind)
    changes = [
        (results[kind, 0.35]["test"] - results["none", 0.0]["test"])
        for results in by_length.values()
    ]
    draw(axes[0, 1], LENGTHS, changes, kind, kind)
    changes = [gap(r[kind, 0.35]) - gap(r["none", 0.0]) for r in by_length.values()]
    draw(axes[1, 1], LENGTHS, changes, kind, kind)
for ax in axes[:, 1]:
    ax.axhline(0, color="gray", linewidth=0.8)
axes[0, 0].set(title=IMAGES, ylabel="test accuracy")
axes[1, 0].set(xlabel="dropout rate", ylabel="gap: train - test")
axes[0, 1].set(title="signals, rate 0.35", ylabel="change of test accuracy")
axes[1, 1].set(xlabel="correlation length, positions", ylabel="change of the gap")
axes[0, 0].legend(title="dropped")
plt.show()

# %%
# On signals, in the full version, the argument is right. On rough signals, up to a length of two
# positions, the two kinds of dropout are alike. On smooth signals, of four and eight positions,
# dropout of maps has a higher test accuracy than dropout of elements, though by no more than the
# spread of the repeats, and closes more of the gap. So drop maps in full if the maps are smooth, as
# the paper says.
