"""
==============================================================
A one-step forecast with a band, by dropout at prediction time
==============================================================

The band covers its nominal share of the values while the series continues as before, and misses
most of them once the series leaves the range of the training rows.

A recurrent network forecasts the next value of a series from the last 24. With dropout left on at
prediction, each pass is another thinned network; the spread of many passes shows where the network
is uncertain, and together with the noise of the data it gives a band (Gal & Ghahramani, 2016,
"Dropout as a Bayesian approximation", ICML).

The series is made up, so it can be continued in two ways: like the part that the network has
learned from, and with swings that it has never seen. In the second case the band should be wider,
but it is not; the last section explains why.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

from sklearn_dropout import DropoutRNNRegressor

QUICK = os.environ.get("QUICK", "0") != "0"  # a short version
N_EPOCHS, N_SAMPLES = (10, 20) if QUICK else (150, 200)
N_STEPS, N_TRAIN, N_TEST = 24, 600, 150

# %%
# The series has a season of 24 steps and one of 7, and noise with a standard deviation of 0.15. In
# the last part the swings grow to three times their size.

rng = np.random.default_rng(0)
n_total = N_STEPS + N_TRAIN + 2 * N_TEST
time = np.arange(n_total)
growth = 1 + 2 * np.clip((time - (n_total - N_TEST)) / (N_TEST / 2), 0, 1)
swings = np.sin(2 * np.pi * time / 24) + 0.4 * np.sin(2 * np.pi * time / 7)
series = growth * swings + 0.15 * rng.standard_normal(n_total)

X = np.lib.stride_tricks.sliding_window_view(series, N_STEPS)[:-1]
y, when = series[N_STEPS:], time[N_STEPS:]
PARTS = {
    "training": slice(0, N_TRAIN),
    "test, as in training": slice(N_TRAIN, N_TRAIN + N_TEST),
    "test, larger swings": slice(N_TRAIN + N_TEST, None),
}

# %%
# The network has 32 gated recurrent units. Each column of `X` is a step of one channel; a tenth of
# the hidden units is dropped in the output of the layer and in the input of the next step, with one
# mask for all steps.

forecast = DropoutRNNRegressor(
    (32,),
    cell="gru",
    dropout_rate=0.1,
    recurrent_dropout_rate=0.1,
    learning_rate_init=0.005,
    batch_size=32,
    max_iter=N_EPOCHS,
    random_state=0,
).fit(X[PARTS["training"]], y[PARTS["training"]])

# %%
# ``return_std=True`` gives the mean and standard deviation of the passes, including the noise of
# the data.

mean, std = forecast.predict(X, return_std=True, n_samples=N_SAMPLES, random_state=0)
low, high = mean - 2 * std, mean + 2 * std

figure, ax = plt.subplots(figsize=(10, 4), layout="constrained")
shown = slice(N_TRAIN - 50, None)
ax.fill_between(when[shown], low[shown], high[shown], color="tab:blue", alpha=0.25, lw=0)
ax.plot(when[shown], mean[shown], color="tab:blue", label="forecast ± 2 standard deviations")
ax.plot(when[shown], y[shown], ".", color="black", markersize=3, label="series")
for part in list(PARTS.values())[1:]:
    ax.axvline(when[part][0], color="gray", linestyle=":")
ax.set(xlabel="time, steps", ylabel="value")
ax.legend(loc="upper left")
plt.show()

# %%
# The table evaluates the band: how often it covers the true value (95 % would be right for two
# standard deviations), its half-width, and the error of the forecast.

print(
    tabulate(
        [
            [
                name,
                f"{np.sqrt(np.mean((mean[part] - y[part]) ** 2)):.3f}",
                f"{2 * std[part].mean():.3f}",
                f"{np.mean((low[part] <= y[part]) & (y[part] <= high[part])):.0%}",
            ]
            for name, part in PARTS.items()
        ],
        headers=["part", "error (RMS)", "half-width of the band", "values inside"],
    )
)

# %%
# In the full version the band covers at least its nominal share while the series continues as
# before: it is rather too wide. When the swings grow to three times their size it misses most of
# the values and is hardly wider than before. The gates of the cell saturate: to all thinned
# networks, inputs beyond the range of the training rows look like the largest known ones, so the
# networks do not disagree. Such a band shows how differently the network could have learned rows
# like these; it says nothing about rows that are unlike them.
