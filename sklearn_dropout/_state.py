"""Process-wide settings of PyTorch during training, put back afterwards."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

# Fewer multiplications than this are over before a second thread has woken up, and if another
# process has the core, every step waits for it.
_PARALLEL_WORK = 2e7


def threads_for(n_multiplications):
    """Number of threads for a step of the given size: those there are, or one."""
    return torch.get_num_threads() if n_multiplications > _PARALLEL_WORK else 1


@contextmanager
def torch_threads(n_threads):
    """Run with `n_threads` intra-op threads."""
    before = torch.get_num_threads()
    if n_threads == before:
        yield
        return
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_threads(function, items):
    """Call a function for each item, in as many threads as PyTorch may use, each computing alone.

    Threads that work on different rows never wait for each other, as those within a matrix
    product do.

    Returns
    -------
    results : list
        In the order of the items.
    """
    n_threads = min(torch.get_num_threads(), len(items))
    with torch_threads(1):
        if n_threads == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(n_threads, "predict", torch.set_num_threads, (1,)) as pool:
            return list(pool.map(function, items))


class DenormalFlush:
    """Treats denormal numbers as zero where asked to.

    The moments of weights that no longer receive a gradient decay into denormal numbers, on which
    arithmetic is many times slower.
    """

    def __init__(self):
        tiny = torch.tensor(1e-30, dtype=torch.float32)
        self._before = float(tiny * 1e-10) == 0.0

    def on(self):
        """Flush from here on."""
        torch.set_flush_denormal(True)

    def restore(self):
        """Do as was done before."""
        torch.set_flush_denormal(self._before)
