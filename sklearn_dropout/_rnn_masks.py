"""Where a recurrent network drops, and from which streams of random numbers."""

import torch

from ._random import Use
from .nn._masks import MaskSource
from .nn._rnn_dropout import PassMasks


def _source(rates, widths, n_rows, stream):
    device = stream.device if isinstance(stream, torch.Generator) else "cpu"
    one = torch.zeros(1, dtype=torch.int64, device=device)
    return MaskSource(rates[None], widths, n_rows, [stream], one, device)


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
        site: _source(rates[kind], widths, n_rows, streams.masks(use, device))
        for site, (kind, use, widths) in places.items()
    }


def pass_masks(rates, architecture, n_samples, per_step, streams):
    """Masks of stochastic passes: see `PassMasks`."""
    outputs = architecture.widths[1:]
    once = {
        "spatial": (rates["groups"], Use.GROUPS, [architecture.n_channels]),
        "embedding": (rates["embedding"], Use.EMBEDDING, [architecture.n_tokens or 1]),
        "last": (rates["hidden"][-1:], Use.HIDDEN, outputs[-1:]),
    }
    each = {
        "input": (rates["input"], Use.INPUT, [architecture.n_channels]),
        "output": (rates["hidden"][:-1], Use.HIDDEN, outputs[:-1]),
        "recurrent": (rates["recurrent"], Use.RECURRENT, outputs),
    }

    def sources(places, n_rows):
        return {
            site: _source(rates, widths, n_rows, streams.masks(use, "cpu"))
            for site, (rates, use, widths) in places.items()
        }

    if not per_step:
        return PassMasks(sources(once | each, 1), {}, n_samples, architecture.n_directions)
    return PassMasks(
        sources(once, 1), sources(each, n_samples), n_samples, architecture.n_directions
    )
