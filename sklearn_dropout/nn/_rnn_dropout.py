"""Where a recurrent network drops: word types, inputs, outputs of layers, recurrent connections.

A variational mask is drawn once for a sequence and serves all of its steps (Gal & Ghahramani 2016,
section 4); else each step has a mask of its own. Whole channels (`spatial`) and word types are
dropped once for a sequence in either case, and so is the output of the last layer, of which only
the last state is used.
"""

from dataclasses import dataclass, replace
from threading import Lock

import torch


@dataclass(frozen=True)
class SequenceMasks:
    """Masks of a batch of sequences, as factors: 0 where dropped, 1 / (1 - rate) where kept.

    Attributes
    ----------
    sites : dict of int16 tensors of shape (n_steps or 1, n_masks, n_units), or lists of these
        Zeros and ones for ``"input"``, ``"spatial"``, ``"embedding"`` and each layer's
        ``"output"`` and ``"recurrent"``; None where nothing is dropped.
    scales : dict of floats, or lists of float
        What is kept is multiplied by.
    n_directions : int
    dtype : torch dtype
    rows : slice or int64 tensor of shape (n_rows,), default=None
        The mask of each row of the batch; None where they are in this order.
    by_type : bool
        Whether the masks of ``"embedding"`` have a place for each token there is, rather than for
        each step of a sequence, of which those with equal tokens share the first one's.
    """

    sites: dict
    scales: dict
    n_directions: int
    dtype: torch.dtype
    rows: object = None
    by_type: bool = False

    def first(self, n_rows):
        """The masks of the first rows, for a smaller batch."""
        return replace(self, rows=slice(n_rows))

    def _factor(self, mask, scale, n_steps):
        if mask is None:
            return None
        return self._of_rows(mask[:n_steps]).to(self.dtype).mul_(scale)

    def _of_rows(self, mask):
        return mask if self.rows is None else mask[:, self.rows]

    def tokens(self, tokens):
        """Factors of word types.

        Parameters
        ----------
        tokens : int64 tensor of shape (n_steps, n_rows)

        Returns
        -------
        factor : tensor of shape (n_steps, n_rows, 1), or None
        """
        mask = self.sites["embedding"]
        if mask is None:
            return None
        kept = self._of_rows(mask)[0]
        where = tokens if self.by_type else first_occurrences(tokens)
        kept = kept.gather(1, where.t()).t()
        return kept.to(self.dtype).mul_(self.scales["embedding"]).unsqueeze(-1)

    def input(self, n_steps):
        """Factors of the inputs of the first layer, (n_steps or 1, n_rows, n_units), or None."""
        factors = [
            self._factor(self.sites[kind], self.scales[kind], n_steps)
            for kind in ("input", "spatial")
        ]
        single, channels = factors
        if single is None or channels is None:
            return channels if single is None else single
        return single.mul_(channels)

    def output(self, layer, n_steps):
        """Factors of the outputs of a layer, (n_steps or 1, n_rows, n_units), or None."""
        return self._factor(self.sites["output"][layer], self.scales["output"][layer], n_steps)

    def recurrent(self, layer, n_steps):
        """For each step a factor of shape (n_directions, n_rows, n_units of one), or None."""
        scale = self.scales["recurrent"][layer]
        factor = self._factor(self.sites["recurrent"][layer], scale, n_steps)
        if factor is None:
            return None
        factor = factor.unflatten(-1, (self.n_directions, -1)).transpose(1, 2).contiguous()
        return list(factor) if len(factor) == n_steps else [factor[0]] * n_steps


def first_occurrences(tokens):
    """The first step at which the token of each step occurs.

    Parameters
    ----------
    tokens : int64 tensor of shape (n_steps, n_rows)

    Returns
    -------
    first : int64 tensor of shape (n_steps, n_rows)
    """
    values, order = tokens.sort(dim=0, stable=True)
    is_first = torch.ones_like(values, dtype=torch.bool)
    is_first[1:] = values[1:] != values[:-1]
    places = torch.arange(len(tokens), device=tokens.device).unsqueeze(1)
    start = torch.where(is_first, places, 0).cummax(0).values
    return torch.empty_like(order).scatter_(0, order, order.gather(0, start))


class RNNDropout:
    """The dropout of one recurrent network in training.

    Parameters
    ----------
    sources : dict of MaskSource
        ``"input"``, ``"spatial"``, ``"embedding"`` of one site; ``"output"``, ``"recurrent"`` of
        one site for each layer. Widths are those of a sequence: `n_steps` times the units where
        each step has a mask of its own.
    n_steps : int
        Steps of a sequence.
    per_step : bool
        Whether inputs, outputs and recurrent connections have a mask for each step.
    n_directions : int
    dtype : torch dtype, default=torch.float32
    """

    def __init__(self, sources, n_steps, per_step, n_directions, dtype=torch.float32):
        self.sources = sources
        self.n_steps = n_steps if per_step else 1
        self.n_directions = n_directions
        self.dtype = dtype
        scales = {kind: [float(s[0]) for s in source.scales] for kind, source in sources.items()}
        single = {kind: scales[kind][0] for kind in ("input", "spatial", "embedding")}
        self.scales = scales | single

    def draw(self, n_steps):
        """Masks of the next training steps.

        Returns
        -------
        masks : list of SequenceMasks, length n_steps
        """
        drawn = {kind: source.draw(n_steps) for kind, source in self.sources.items()}
        return [
            SequenceMasks(self._sites(drawn, step), self.scales, self.n_directions, self.dtype)
            for step in range(n_steps)
        ]

    def _sites(self, drawn, step):
        def site(mask, n_steps=1):
            if mask is None:
                return None
            return mask[step, 0].unflatten(-1, (n_steps, -1)).transpose(0, 1)

        *inner, last = drawn["output"]
        return {
            "input": site(*drawn["input"], self.n_steps),
            "spatial": site(*drawn["spatial"]),
            "embedding": site(*drawn["embedding"]),
            "output": [*(site(mask, self.n_steps) for mask in inner), site(last)],
            "recurrent": [site(mask, self.n_steps) for mask in drawn["recurrent"]],
        }


def _drawn(source, n_steps):
    """Masks of shape (n_steps, n_networks, n_units) for each site, of a source of one row."""
    return [None if mask is None else mask[:, :, 0] for mask in source.draw(n_steps)]


class PassMasks:
    """Masks of stochastic passes over any rows: each pass is one thinned network.

    Where each step has a mask of its own, masks are drawn as far as sequences reach, so that a
    longer sequence begins with the masks of a shorter one.

    Parameters
    ----------
    n_samples : int
        Passes: the networks of each source, which draws for one row.
    once : dict of MaskSource
        Sources of sites with one mask in a pass: ``"spatial"``, ``"embedding"`` (of a unit for
        each token), ``"last"``, the last layer's output, and what is not in `each_step`.
    each_step : dict of MaskSource
        ``"input"``, ``"output"`` of the other layers and ``"recurrent"``, or none of them.
    n_directions : int
    """

    def __init__(self, n_samples, once, each_step, n_directions):
        self.n_samples = n_samples
        self.n_directions = n_directions
        self._each_step = each_step
        self._sites = {kind: _drawn(source, 1) for kind, source in once.items()}
        self._scales = {
            kind: [float(scale[0]) for scale in source.scales]
            for kind, source in (once | each_step).items()
        }
        self._scales["output"] = self._scales["output"] + self._scales.pop("last")
        self._n_steps = 0
        self._lock = Lock()

    def reach(self, n_steps):
        """Draw masks for sequences of `n_steps` steps, where there are not enough yet."""
        with self._lock:  # rows may be shared out among threads
            n_more = n_steps - self._n_steps
            if n_more <= 0:
                return
            for kind, source in self._each_step.items():
                more = _drawn(source, n_more)
                known = self._sites.get(kind, more)
                if self._n_steps:
                    more = [
                        None if new is None else torch.cat([old, new])
                        for old, new in zip(known, more)
                    ]
                self._sites[kind] = more
            self._n_steps = n_steps

    def of(self, passes, n_rows, dtype):
        """Masks for a batch of several passes over the same rows, one pass after the other.

        Parameters
        ----------
        passes : range
        n_rows : int
        dtype : torch dtype

        Returns
        -------
        masks : SequenceMasks
        """
        sites = dict(self._sites)
        sites["output"] = sites["output"] + sites.pop("last")
        scales = dict(self._scales)
        for kind in ("input", "spatial", "embedding"):
            (sites[kind],), (scales[kind],) = sites[kind], scales[kind]
        rows = torch.tensor(passes).repeat_interleave(n_rows)
        return SequenceMasks(sites, scales, self.n_directions, dtype, rows, by_type=True)
