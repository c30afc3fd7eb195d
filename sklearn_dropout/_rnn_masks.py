"""Where a recurrent network drops, and from which streams of random numbers."""

import numpy as np
import torch

from ._random import Use
from .nn._masks import MaskSource
from .nn._rnn_dropout import PassMasks

# Sites that have a mask for each step, unless one serves all.
EACH_STEP = ("input", "output", "recurrent")


def mask_sources(rates, architecture, n_steps, n_rows, per_step, streams, device):
    """Where the masks of a training run come from: see `RNNDropout`."""
    times = n_steps if per_step else 1
    outputs = architecture.widths[1:]
    places = {
        "input": ("input", Use.INPUT, [times * architecture.n_channels]),
        "spatial": ("groups", Use.GROUPS, [architecture.n_channels]),
        "embedding": ("embedding", Use.EMBEDDING, [n_steps]),
        "output": ("hidden", Use.HIDDEN, [*(times * n for n in outputs[:-1]), outputs[-1]]),
        "recurrent": ("recurrent", Use.RECURRENT, [times * n for n in outputs]),
    }
    return {
        site: MaskSource.of_one(rates[kind], widths, n_rows, streams.masks(use, device), device)
        for site, (kind, use, widths) in places.items()
    }


def pass_masks(rates, architecture, n_samples, per_step, streams):
    """Masks of stochastic passes: see `PassMasks`.

    Each pass has streams of its own, made from one word of each use's stream. So its masks depend
    neither on how many passes are drawn at once nor on how many steps have been drawn.
    """
    outputs = architecture.widths[1:]
    places = {
        "spatial": ("groups", Use.GROUPS, [architecture.n_channels]),
        "embedding": ("embedding", Use.EMBEDDING, [architecture.n_tokens or 1]),
        "last": ("hidden", Use.HIDDEN, outputs[-1:]),
        "input": ("input", Use.INPUT, [architecture.n_channels]),
        "output": ("hidden", Use.HIDDEN, outputs[:-1]),
        "recurrent": ("recurrent", Use.RECURRENT, outputs),
    }
    rates = rates | {"last": rates["hidden"][-1:], "output": rates["hidden"][:-1]}
    bits, sources = {}, {}
    for site, (kind, use, widths) in places.items():
        if use not in bits:
            seeds = streams.masks(use, "cpu").random_raw(n_samples)
            bits[use] = [np.random.SFC64(int(seed)) for seed in seeds]
        rate = rates.get(site, rates[kind])
        sources[site] = MaskSource(
            np.tile(rate, (n_samples, 1)), widths, 1, bits[use], torch.arange(n_samples)
        )
    each_step = {site: sources.pop(site) for site in EACH_STEP if per_step}
    return PassMasks(n_samples, sources, each_step, architecture.n_directions)
