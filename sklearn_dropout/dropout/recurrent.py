"""Where a recurrent network drops, and from which streams of random numbers.

A variational mask is drawn once for a sequence and used in all of its steps (Gal & Ghahramani 2016,
section 4); otherwise each step has its own mask. Channels and word types are dropped for all steps
of a sequence in either case, and so is the output of the last layer, of which only the last state
is used.
"""

from threading import Lock

import numpy as np
import torch

from .masks import MaskSource, PassSource, draw_lanes, dropped_levels
from .streams import Use

_USES = {
    "input": Use.INPUT,
    "groups": Use.GROUPS,
    "embedding": Use.EMBEDDING,
    "hidden": Use.HIDDEN,
    "recurrent": Use.RECURRENT,
}
_ALL_USES = _USES | {"noise": Use.NOISE}


def mask_sources(architecture, n_steps, n_rows, per_step, streams, device):
    """Sources of the masks of a training run, one for each kind of rate.

    Parameters
    ----------
    architecture : Architecture
    n_steps : int
        Of the longest sequence.
    n_rows : int
        Of a full batch.
    per_step : bool
        Whether inputs, outputs and recurrent connections have a mask for each step.
    streams : Streams
    device : torch device
    """
    times = n_steps if per_step else 1
    *inner, last = architecture.widths[1:]
    widths = {
        "input": [times * architecture.n_channels],
        "groups": [architecture.n_channels],
        "embedding": [n_steps],
        "hidden": [*(times * n for n in inner), last],
        "recurrent": [times * n for n in (*inner, last)],
        "noise": [n_steps * architecture.n_channels],
    }
    return {
        kind: MaskSource(widths[kind], n_rows, streams.masks(use, device), device)
        for kind, use in _ALL_USES.items()
    }


class PassMasks:
    """Masks of stochastic passes over any rows: each pass is one thinned network.

    Each pass has its own streams, seeded by one word of the stream of each use. So its masks depend
    neither on the number of passes drawn at once nor on the number of steps drawn so far. If each
    step has its own mask, masks are drawn up to the length of the sequences, so that a longer
    sequence begins with the masks of a shorter one.

    Parameters
    ----------
    rates : dict
        Dropout rates, as estimators have them.
    architecture : Architecture
    n_samples : int
        Passes.
    per_step : bool
    streams : Streams
    """

    def __init__(self, rates, architecture, n_samples, per_step, streams):
        self.n_samples = n_samples
        self._bits = {
            kind: [
                np.random.SFC64(int(seed))
                for seed in streams.masks(use, "cpu").random_raw(n_samples)
            ]
            for kind, use in _USES.items()
        }
        *inner, last = architecture.widths[1:]
        self._n_inner = len(inner)
        once = {
            "groups": ([architecture.n_channels], rates["groups"]),
            "embedding": ([architecture.n_tokens or 1], rates["embedding"]),
            "last": ([last], rates["hidden"][-1:]),
        }
        each = {
            "input": ([architecture.n_channels], rates["input"]),
            "hidden": (inner, rates["hidden"][:-1]),
            "recurrent": ([*inner, last], rates["recurrent"]),
        }
        self._each_step = {
            kind: widths for kind, (widths, rate) in each.items() if dropped_levels(rate).any()
        }
        self._lanes = {
            kind: self._draw(kind, widths, 1)
            for kind, (widths, rate) in once.items()
            if dropped_levels(rate).any()
        }
        self._n_steps, self._lock = 0, Lock()
        if not per_step:
            self._reach(1)
            self._each_step = {}

    def _draw(self, kind, widths, n_steps):
        """Lanes of the next steps of each pass, (n_samples, n_steps, width) for each site."""
        bits = self._bits["hidden" if kind == "last" else kind]
        drawn = [draw_lanes(widths, n_steps, of_pass) for of_pass in bits]
        return [torch.stack(site) for site in zip(*drawn)]

    def _reach(self, n_steps):
        """Draw masks for sequences of `n_steps` steps, if fewer have been drawn."""
        n_more = n_steps - self._n_steps
        if n_more <= 0:
            return
        for kind, widths in self._each_step.items():
            more = self._draw(kind, widths, n_more)
            known = self._lanes.get(kind, [lanes[:, :0] for lanes in more])
            self._lanes[kind] = [torch.cat(pair, 1) for pair in zip(known, more)]
        self._n_steps = n_steps

    def sources(self, n_steps):
        """Sources for the layers of a network that reads sequences of `n_steps` steps."""
        with self._lock:  # threads may share the rows
            self._reach(n_steps)
            lanes = {kind: [s.flatten(1) for s in sites] for kind, sites in self._lanes.items()}
        lanes["hidden"] = lanes.get("hidden", [None] * self._n_inner) + lanes.pop("last", [None])
        return {kind: PassSource(lanes.get(kind)) for kind in _USES}
