"""
===================================
Dropout tutorials, line by line
===================================

Every layer arrangement of the usual dropout tutorials for Keras is one estimator with a few
parameters here.

This page shows the snippets of these tutorials, each beside the estimator that does the same. The
Keras code is not run; the estimators are run on small data that come with scikit-learn. The scores
show that they work and are not a benchmark.
"""

# %%
# What all snippets need
# ----------------------
#
# In Keras a model is built, compiled and fitted, and a wrapper makes it an estimator. Here the
# model is an estimator from the beginning, so you only write a pipeline and a cross-validation.
# ``alpha=0`` switches off scikit-learn's weight penalty, which Keras does not have.

import os

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dropout import DropoutCNNClassifier, DropoutMLPClassifier, DropoutRNNClassifier

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version

X, y = load_breast_cancer(return_X_y=True)
digits, labels = load_digits(return_X_y=True)
digits = digits / 16
folds = StratifiedKFold(3, shuffle=True, random_state=0)
results = {}


def report(name, model, X, y):
    """Cross-validate a model, and keep and print its scores."""
    scores = cross_validate(model, X, y, cv=folds, return_train_score=True)
    results[name] = train, test = scores["train_score"], scores["test_score"]
    print(f"{name}: accuracy train {train.mean():.3f}, test {test.mean():.3f}")


def epochs(n):
    """Epochs of the full version; two in the short one."""
    return 2 if QUICK else n


# %%
# Dropout between dense layers
# ----------------------------
#
# .. code-block:: python
#
#     model = Sequential([
#         Dense(60, activation="relu"), Dropout(0.2),
#         Dense(30, activation="relu"), Dropout(0.2),
#         Dense(1, activation="sigmoid"),
#     ])
#     model.compile(loss="binary_crossentropy", optimizer=SGD(learning_rate=0.01, momentum=0.8))
#     model.fit(X, y, epochs=60, batch_size=16)

sgd = {
    "solver": "sgd",
    "learning_rate_init": 0.01,
    "momentum": 0.8,
    "nesterovs_momentum": False,
    "alpha": 0,
    "batch_size": 16,
    "max_iter": epochs(60),
    "random_state": 0,
}
hidden = DropoutMLPClassifier((60, 30), dropout_rate=0.2, **sgd)
report("between dense layers", make_pipeline(StandardScaler(), hidden), X, y)

# %%
# On the input
# ------------
#
# .. code-block:: python
#
#     Sequential([Dropout(0.2), Dense(60, activation="relu"), Dense(30, activation="relu"), ...])

visible = DropoutMLPClassifier((60, 30), dropout_rate=0, input_dropout_rate=0.2, **sgd)
report("on the input", make_pipeline(StandardScaler(), visible), X, y)

# %%
# With max-norm
# -------------
#
# .. code-block:: python
#
#     Dense(60, activation="relu", kernel_constraint=MaxNorm(3)), Dropout(0.2), ...
#     model.compile(..., optimizer=SGD(learning_rate=0.1, momentum=0.9))
#
# The bound is used with a large learning rate. Without the bound, steps of this size sometimes lead
# to a useless network or to an overflow.

large_steps = sgd | {"learning_rate_init": 0.1, "momentum": 0.9}
bounded = DropoutMLPClassifier((60, 30), dropout_rate=0.2, max_norm=3, **large_steps)
report("with max-norm, large steps", make_pipeline(StandardScaler(), bounded), X, y)

# %%
# In a convolutional network
# --------------------------
#
# .. code-block:: python
#
#     Sequential([
#         Conv2D(16, 3, padding="same", activation="relu"), MaxPooling2D(2), Dropout(0.25),
#         Conv2D(32, 3, padding="same", activation="relu"), MaxPooling2D(2), Dropout(0.25),
#         Flatten(),
#         Dense(64, activation="relu"), Dropout(0.5),
#         Dense(10, activation="softmax"),
#     ])
#     model.compile(loss="sparse_categorical_crossentropy", optimizer="adam")
#
# ``input_shape`` makes rows of 64 pixels images of one channel, so the data stay a table.

images = {
    "hidden_layer_sizes": (64,),
    "conv_layer_sizes": (16, 32),
    "kernel_size": 3,
    "pool_size": 2,
    "input_shape": (1, 8, 8),
    "alpha": 0,
    "batch_size": 32,
    "max_iter": epochs(12),
    "random_state": 0,
}
conv = DropoutCNNClassifier(conv_dropout_rate=0.25, dropout_rate=0.5, **images)
report("convolutional network", conv, digits, labels)

# %%
# SpatialDropout2D
# ----------------
#
# .. code-block:: python
#
#     Conv2D(16, 3, padding="same", activation="relu"), SpatialDropout2D(0.2), MaxPooling2D(2), ...
#
# This drops feature maps in full. The rank follows from the shape, so signals and volumes need no
# other parameter.

spatial = DropoutCNNClassifier(spatial_dropout_rate=0.2, dropout_rate=0.5, **images)
report("spatial dropout", spatial, digits, labels)

# %%
# Around an LSTM
# --------------
#
# .. code-block:: python
#
#     Sequential([Dropout(0.2), LSTM(32), Dropout(0.2), Dense(10, activation="softmax")])
#
# The digits are now read as 8 steps of 8 pixels. Keras' ``Dropout`` draws a new mask for every
# step, as ``variational=False`` does here.

sequence = {
    "hidden_layer_sizes": (32,),
    "cell": "lstm",
    "input_shape": (8, 8),
    "learning_rate_init": 0.005,
    "alpha": 0,
    "batch_size": 32,
    "max_iter": epochs(20),
    "random_state": 0,
}
around = DropoutRNNClassifier(
    input_dropout_rate=0.2, dropout_rate=0.2, variational=False, **sequence
)
report("around an LSTM", around, digits, labels)

# %%
# Inside an LSTM
# --------------
#
# .. code-block:: python
#
#     LSTM(32, dropout=0.2, recurrent_dropout=0.2)
#
# These two rates draw one mask for a sequence, as ``variational=True``, the default, does here.

inside = DropoutRNNClassifier(
    input_dropout_rate=0.2, recurrent_dropout_rate=0.2, dropout_rate=0, **sequence
)
report("inside an LSTM", inside, digits, labels)

# %%
# All of them
# -----------

figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
heights = np.arange(len(results))
for column, (part, color, marker) in enumerate(
    [("train", "tab:orange", "o"), ("test", "tab:blue", "s")]
):
    scores = np.array([result[column] for result in results.values()])
    ax.plot(scores.mean(axis=1), heights, marker, color=color, label=part)
    ax.hlines(heights, scores.min(axis=1), scores.max(axis=1), color=color, alpha=0.5)
ax.set_yticks(heights, results)
ax.invert_yaxis()
ax.set(xlabel="accuracy, mean and range of 3 folds")
figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()
