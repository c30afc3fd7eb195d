"""
=================================================================
Dropout in recurrent networks: a fresh mask at every step or one?
=================================================================

One mask for all steps of a sequence resists overfitting late in training, as published; a fresh
mask at every step does so just as well here.

Dropout on the inputs of a recurrent network, and on its recurrent connections, can draw a fresh
mask at every step (here called naive) or keep one mask for all steps of a sequence (variational;
Gal & Ghahramani, 2016, "A theoretically grounded application of dropout in recurrent neural
networks", NIPS 29). The paper claims that with the same mask at every step networks resist
overfitting late in training, and that fresh masks do not help against it, or hurt.

This example tests the claim with :class:`~sklearn_dropout.DropoutRNNClassifier` on two small tasks:
images of digits read row by row, and made-up sentences with padding. Rates are the same for both
kinds of masks, and repeats are paired: all variants see the same rows and seeds.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from tabulate import tabulate
from tqdm import tqdm

from sklearn_dropout import DropoutRNNClassifier

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version
N_EPOCHS, N_REPEATS = (6, 2) if QUICK else (100, 5)

# %%
# Two tasks
# ---------
#
# The digits of scikit-learn have 8 rows of 8 pixels, which is a sequence of 8 steps with 8
# channels. 300 of them are for training and 600 for testing.
#
# A made-up sentence has 6 to 20 words out of 49. Its class says which of two words, 1 and 2, comes
# first; all other words mean nothing. Every tenth label of the 400 training sentences is wrong, so
# there is noise to overfit to; the labels of the 600 test sentences are right. Token 0 is padding,
# in front as in Keras.

N_WORDS = 50


def digits(rng):
    """Rows to train and to test, and their classes."""
    X, y = load_digits(return_X_y=True)
    order = rng.permutation(len(X))
    train, test = order[:300], order[300:900]
    return X[train] / 16, y[train], X[test] / 16, y[test]


def sentences(rng):
    """Padded tokens to train and to test, and their classes."""
    n_rows, n_train, n_steps = 1_000, 400, 20
    X = rng.integers(3, N_WORDS, (n_rows, n_steps))
    lengths = rng.integers(6, n_steps + 1, n_rows)
    for row, length in zip(X, lengths):
        row[: n_steps - length] = 0
        first, second = np.sort(rng.choice(length, 2, replace=False)) + n_steps - length
        row[[first, second]] = rng.permutation([1, 2])
    y = (X == 1).argmax(axis=1) < (X == 2).argmax(axis=1)
    wrong = rng.permutation(n_train)[: n_train // 10]
    labels = y[:n_train].copy()
    labels[wrong] ^= True
    return X[:n_train], labels, X[n_train:], y[n_train:]


TASKS = {
    "digits, row by row": (digits, {"input_shape": (8, 8)}),
    "sentences with padding": (sentences, {"n_tokens": N_WORDS, "embedding_dim": 16}),
}

# %%
# Three networks
# --------------
#
# The rates are common ones: a quarter of the layer's inputs, outputs and recurrent connections. The
# networks have one layer of 64 gated recurrent units; ``alpha=0`` switches off the weight penalty.

RATES = {"input_dropout_rate": 0.25, "dropout_rate": 0.25, "recurrent_dropout_rate": 0.25}
VARIANTS = {
    "no dropout": {"dropout_rate": 0},
    "naive": {**RATES, "variational": False},
    "variational": {**RATES, "variational": True},
}
COLORS = dict(zip(VARIANTS, ["tab:gray", "tab:orange", "tab:blue"]))
CURVES = ["train_score", "valid_score", "valid_loss"]


def curves(task, variant, repeat):
    """Accuracy on both parts and test loss after each epoch: shape (3, n_epochs)."""
    make, params = TASKS[task]
    X_train, y_train, X_test, y_test = make(np.random.default_rng(repeat))
    network = DropoutRNNClassifier(
        (64,),
        cell="gru",
        alpha=0,
        batch_size=32,
        learning_rate_init=0.003,
        max_iter=N_EPOCHS,
        scoring="accuracy",
        random_state=repeat,
        **params,
        **VARIANTS[variant],
    )
    # Without early stopping a validation set only adds curves.
    network.fit(X_train, y_train, X_val=X_test, y_val=y_test)
    return task, variant, np.array([network.history_[:, name] for name in CURVES])


tasks = [
    delayed(curves)(task, variant, repeat)
    for repeat in range(N_REPEATS)
    for task in TASKS
    for variant in VARIANTS
]
found = {(task, variant): [] for task in TASKS for variant in VARIANTS}
results = Parallel(n_jobs=2, return_as="generator")(tasks)
for task, variant, values in tqdm(results, total=len(tasks), unit="fit", disable=None):
    found[task, variant].append(values)
found = {key: np.stack(values) for key, values in found.items()}  # (n_repeats, 3, n_epochs)

# %%
# Curves over the epochs
# ----------------------
#
# The lines are the mean of all repeats; the bands are their standard deviation. Accuracy on the
# training rows is measured with dropout off.

figure, axes = plt.subplots(len(TASKS), 2, figsize=(10, 6.5), layout="constrained")
epochs = np.arange(1, N_EPOCHS + 1)
for (left, right), task in zip(axes, TASKS):
    for variant, color in COLORS.items():
        train, test, loss = found[task, variant].transpose(1, 0, 2)
        left.plot(epochs, train.mean(0), color=color, linestyle=":")
        for ax, values in ((left, test), (right, loss)):
            mean, spread = values.mean(0), values.std(0)
            ax.plot(epochs, mean, color=color, label=variant)
            ax.fill_between(epochs, mean - spread, mean + spread, color=color, alpha=0.15, lw=0)
    left.set(title=task, xlabel="epoch", ylabel="accuracy (dotted: training)")
    right.set(title=task, xlabel="epoch", ylabel="test log loss, nats")
axes[0, 0].legend(loc="lower right")
plt.show()

# %%
# The claim, in numbers
# ---------------------
#
# Mean ± standard deviation of the repeats after the last epoch. *Late overfitting* is how far the
# test loss at the end lies above its minimum. *Variational has less* counts the repeats in which
# the variational network has less late overfitting than the network of that line, and *best epoch*
# is the epoch in which the mean test loss is lowest.


def summary(task):
    """Accuracies, and test losses in nats, one line for each variant."""
    late = {v: found[task, v][:, 2, -1] - found[task, v][:, 2].min(1) for v in VARIANTS}
    for variant in VARIANTS:
        train, test, loss = found[task, variant][..., -1].T
        better = int((late["variational"] < late[variant]).sum())
        accuracy = [f"{v.mean():.3f} ± {v.std():.3f}" for v in (train, test, train - test)]
        losses = [f"{v.mean():.3f} ± {v.std():.3f}" for v in (loss, late[variant])]
        losses.append(int(found[task, variant][:, 2].mean(0).argmin()) + 1)
        losses.append("" if variant == "variational" else f"{better} of {N_REPEATS}")
        yield [variant, *accuracy], [variant, *losses]


ACCURACIES = ["accuracy", "train", "test", "gap"]
LOSSES = ["test loss", "at the end", "late overfitting", "best epoch", "variational has less"]
for task in TASKS:
    for lines, headers in zip(zip(*summary(task)), (ACCURACIES, LOSSES)):
        print(f"{task}:\n{tabulate(lines, headers)}\n")

# %%
# In the full version, half of the claim is confirmed. Compared with no dropout, one mask for all
# steps does resist overfitting: on the sentences the test loss rises much less from its minimum, in
# every repeat, and the gap in accuracy shrinks. But fresh masks do so just as well, and which of
# the two test losses rises less changes from one repeat to the next. On the digits neither kind
# overfits late; there the variational network ends with the lower test loss, and about one more
# correct prediction in a hundred. Sequences of 8 to 20 steps may be too short for fresh masks to do
# the harm that the paper reports for long texts. Nor does dropout make early stopping unnecessary:
# on the sentences, where labels are wrong, the mean test loss of each variant is lowest early in
# training.
