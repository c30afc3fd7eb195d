"""Settings of PyTorch during training and prediction, put back afterwards."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

# Fewer multiplications than this are over before a second thread has woken up, and if another
# process has the core, every step waits for it.
_PARALLEL_WORK = 2e7


def threads_for(n_multiplications):
    """Number of threads for a step of the given size: those there are, or one."""
    return threads_to_use() if n_multiplications > _PARALLEL_WORK else 1


# Held while a thread's number of threads is read or changed.
_changing = threading.RLock()
_forked = False


def _after_fork():
    """A child has none of the parent's threads: not the one that may hold the lock, nor OpenMP's.

    Libraries that wait for the threads of OpenMP hang, so a child computes with one thread.
    """
    global _forked
    _forked = True
    _changing._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _threads_here():
    """Number of intra-op threads of the calling thread."""
    with _changing:  # a thread's first question sets it to PyTorch's default of the moment
        return torch.get_num_threads()


def threads_to_use():
    """Number of intra-op threads that work may be shared out to."""
    return 1 if _forked else _threads_here()


def _set_threads_here(n_threads):
    """Set the number of intra-op threads of the calling thread, and of no other.

    ``torch.set_num_threads`` also sets the default of threads that have not computed anything yet.
    Such a new thread tells what it was, and puts it back.
    """
    known, changed = threading.Event(), threading.Event()

    def keep_default():
        default = torch.get_num_threads()
        known.set()
        changed.wait()
        torch.set_num_threads(default)

    keeper = threading.Thread(target=keep_default, name="keep-default", daemon=True)
    with _changing:
        try:
            keeper.start()
            known.wait()
        except RuntimeError:  # no more threads are to be had: then the default changes too
            keeper = None
        finally:  # also where Ctrl-C came in between
            torch.set_num_threads(n_threads)
            changed.set()
            if keeper is not None and keeper.is_alive():
                keeper.join()


@contextmanager
def torch_threads(n_threads):
    """Run with `n_threads` intra-op threads in this thread, while others keep theirs."""
    before = _threads_here()
    if n_threads == before:
        yield
        return
    try:
        _set_threads_here(n_threads)
        yield
    finally:
        _set_threads_here(before)


@contextmanager
def _one_thread_briefly():
    """Run with one intra-op thread for so short a time that changes elsewhere can wait for it."""
    before = _threads_here()
    if before == 1:
        yield
        return
    with _changing:
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def in_threads(function, items):
    """Call a function for each item, in as many threads as PyTorch may use, each computing alone.

    Threads that work on different rows never wait for each other, as those within a matrix
    product do. So the results do not depend on the number of threads either.

    Returns
    -------
    results : list
        In the order of the items.
    """
    n_threads = min(threads_to_use(), len(items))
    if n_threads > 1:
        with ThreadPoolExecutor(n_threads, "predict", _set_threads_here, (1,)) as pool:
            return list(pool.map(function, items))
    with _one_thread_briefly():
        return [function(item) for item in items]


# What PyTorch and NumPy say where memory runs out, or a size is beyond all memory.
_SIGNS = (
    "Unable to allocate",
    "allocate memory",
    "out of memory",
    "Storage size calculation overflowed",
    "multiplication overflow",
    "array is too big",
    "Maximum allowed dimension exceeded",
)


@contextmanager
def raised_by_user():
    """Run code of the user's (callbacks, scorers, solvers), whose errors are passed on."""
    try:
        yield
    except Exception as error:
        error._raised_by_user = True
        raise


@contextmanager
def memory_errors():
    """Turn errors about memory, which are of several kinds, into ``MemoryError`` with a remedy."""
    try:
        yield
    except (MemoryError, RuntimeError, TypeError, ValueError) as error:
        if hasattr(error, "_raised_by_user") or not any(sign in str(error) for sign in _SIGNS):
            raise
        raise MemoryError(
            f"{str(error).splitlines()[0]} The network or its batches do not fit into memory: "
            "use a smaller hidden_layer_sizes or batch_size."
        ) from error


def _start_workers():
    """Let this thread's workers, if it has not computed with several yet, start now.

    Threads begin with the settings of the one that starts them, for good: workers started while
    denormals are flushed would flush those of all later computations.
    """
    if torch.get_num_threads() > 1:
        # PyTorch gives each worker 32768 elements at least.
        torch.empty(torch.get_num_threads() << 15, dtype=torch.uint8).fill_(1)


@contextmanager
def errors_of_numpy_kept():
    """Restore how NumPy treats floating-point errors, which Ctrl-C may leave changed.

    It may come while a context that changes them, here or in scikit-learn, is being left.
    """
    before = np.geterr()
    try:
        yield
    finally:
        np.seterr(**before)


_TINY = np.float32(1e-20)  # its square is denormal


class DenormalFlush:
    """Treats denormal numbers as zero where asked to.

    The moments of weights that no longer receive a gradient decay into denormal numbers, on which
    arithmetic is many times slower. The setting is that of the calling thread. Leaving the context
    restores it once more, for Ctrl-C may come just before `restore` does.
    """

    def __enter__(self):
        _start_workers()
        with np.errstate(under="ignore"):
            self._before = float(_TINY * _TINY) == 0.0
        return self

    def __exit__(self, *exc_info):
        self.restore()

    def on(self):
        """Flush from here on."""
        torch.set_flush_denormal(True)

    def restore(self):
        """Do as was done before."""
        torch.set_flush_denormal(self._before)
