"""Settings of PyTorch during training and prediction, restored afterwards."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import numpy as np
import torch

# Fewer multiplications than this are done before a second thread has woken up; and if another
# process uses the core, every step waits for it.
_PARALLEL_WORK = 2e7


def threads_for(n_multiplications):
    """Number of threads for a step of the given size: all available ones, or one."""
    return threads_to_use() if n_multiplications > _PARALLEL_WORK else 1


# Held while a thread's number of threads is read or changed.
_changing = threading.RLock()
_forked = False


def _after_fork():
    """A forked child has no threads of its parent: neither one that holds the lock, nor OpenMP's.

    Libraries that wait for threads of OpenMP hang, so a child computes with one thread.
    """
    global _forked
    _forked = True
    _changing._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _threads_here():
    """Number of intra-op threads of the calling thread."""
    with _changing:  # the first call in a thread sets its number to PyTorch's present default
        return torch.get_num_threads()


def threads_to_use():
    """Number of intra-op threads that may share work."""
    return 1 if _forked else _threads_here()


def set_threads_here(n_threads):
    """Set the number of intra-op threads of the calling thread, and of no other.

    ``torch.set_num_threads`` also sets the default of threads that have not computed anything yet.
    A new thread is used to find the default and to restore it.
    """
    known, changed = threading.Event(), threading.Event()

    def keep_default():
        default = torch.get_num_threads()
        known.set()
        changed.wait()
        torch.set_num_threads(default)

    keeper = threading.Thread(target=keep_default, name="keep-default", daemon=True)
    with _changing:
        torch.get_num_threads()  # the first call in a thread would undo what has been set before
        try:
            keeper.start()
            known.wait()
        except RuntimeError:  # no more threads can be started: then the default changes too
            keeper = None
        finally:  # even after Ctrl-C
            torch.set_num_threads(n_threads)
            changed.set()
            if keeper is not None and keeper.is_alive():
                keeper.join()


@contextmanager
def torch_threads(n_threads):
    """Context with `n_threads` intra-op threads in this thread; other threads keep theirs."""
    before = _threads_here()
    if n_threads == before:
        yield
        return
    try:
        set_threads_here(n_threads)
        yield
    finally:
        set_threads_here(before)


@contextmanager
def _one_thread_briefly():
    """Context with one intra-op thread, for work so short that other threads can wait for it."""
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


def in_threads(compute, n_rows, step):
    """Call a function for all rows of a table, in as many threads as PyTorch may use.

    Each call computes with one thread, without gradients and autocast. Threads that work on
    different rows never wait for each other, as those of a matrix product do, and results do not
    depend on the number of threads.

    Parameters
    ----------
    compute : callable (rows) -> result
        Takes at most `step` rows at a time, as a slice.
    n_rows, step : int

    Returns
    -------
    results : list
        In the order of the rows.
    """

    def call(start):
        with torch.inference_mode(), without_autocast():
            return compute(slice(start, min(start + step, n_rows)))

    starts = range(0, n_rows, step)
    n_threads = min(threads_to_use(), len(starts))
    if n_threads > 1:
        with ThreadPoolExecutor(n_threads, "predict", set_threads_here, (1,)) as pool:
            return list(pool.map(call, starts))
    with _one_thread_briefly():
        return [call(start) for start in starts]


def without_autocast(device="cpu"):
    """Context in which PyTorch casts nothing by itself, whatever the caller has asked for."""
    kind = torch.device(device).type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


# Error messages of PyTorch and NumPy about memory that runs out, or sizes beyond any memory.
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
    """Context for code of the user (callbacks, scorers, solvers), whose errors are passed on."""
    try:
        yield
    except Exception as error:
        error._raised_by_user = True
        raise


@contextmanager
def memory_errors():
    """Turn the different errors about memory into a ``MemoryError`` with a remedy."""
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
    """Start the worker threads of this thread, unless they run already.

    Threads inherit the settings of the thread that starts them: workers started while denormals are
    flushed would flush them in all later computations.
    """
    if torch.get_num_threads() > 1:
        # PyTorch gives each worker at least 32768 elements.
        torch.empty(torch.get_num_threads() << 15, dtype=torch.uint8).fill_(1)


@contextmanager
def errors_of_numpy_kept():
    """Restore NumPy's handling of floating-point errors, which Ctrl-C may leave changed.

    Ctrl-C may come while a context that changes it, here or in scikit-learn, is being left.
    """
    before = np.geterr()
    try:
        yield
    finally:
        np.seterr(**before)


class DenormalFlush:
    """Treats denormal numbers as zero on request.

    The moments of weights that no longer receive a gradient decay into denormal numbers, on which
    arithmetic is many times slower. The setting is that of the calling thread. Leaving the context
    restores it again, since Ctrl-C may come just before `restore` does.
    """

    def __enter__(self):
        _start_workers()
        self._before = sys.float_info.min / 2 == 0.0
        return self

    def __exit__(self, *exc_info):
        self.restore()

    def on(self):
        """Flush from here on."""
        torch.set_flush_denormal(True)

    def restore(self):
        """Restore the setting from before."""
        torch.set_flush_denormal(self._before)
