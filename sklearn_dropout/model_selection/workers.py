"""Workers of a search: the calling thread, other threads, or the workers of joblib."""

import threading
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

import joblib
from joblib.parallel import get_active_backend
from sklearn import config_context, get_config
from sklearn.utils.parallel import Parallel, delayed

from ..nn.settings import set_threads_here, torch_threads
from .plan import make_pieces


class Workers:
    """Evaluates the candidates of a search.

    Parameters
    ----------
    n_jobs, pre_dispatch : as for joblib
    hidden : bool
        Whether to show no bar.
    """

    def __init__(self, n_jobs, pre_dispatch, hidden):
        self.n_jobs = n_jobs
        self.pre_dispatch = pre_dispatch
        self.hidden = hidden
        self.n_workers = joblib.effective_n_jobs(n_jobs)

    def evaluate(self, evaluation, candidates, splits):
        """Fit and score all candidates on all folds.

        Parameters
        ----------
        evaluation : Evaluation
        candidates : list of Candidate
        splits : list of pairs (train, test)

        Returns
        -------
        results : list of dict
            Candidate by candidate.
        """
        out = [None] * (len(candidates) * len(splits))
        n_epochs = len(splits) * sum(candidate.n_epochs() for candidate in candidates)
        if not self.hidden:
            print(
                f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, "
                f"totalling {len(out)} fits"
            )
        with _Bar(n_epochs, self.hidden) as bar:
            for run, some, in_threads in self._share_out(candidates):
                pieces = make_pieces(some, splits, self.n_workers, in_threads)
                for results in run(evaluation, pieces, bar):
                    for index, result in results:
                        out[index] = result
        return out

    def _share_out(self, candidates):
        """Who evaluates which candidates.

        Yields
        ------
        run : callable (evaluation, pieces, bar)
            Yields the results of each piece.
        candidates : list of pairs (index, Candidate)
        in_threads : bool
        """
        numbered = list(enumerate(candidates))
        if self.n_workers == 1:
            yield self._here, numbered, False
            return
        parts = {True: [], False: []}
        named = _backend_is_named()
        for index, candidate in numbered:
            parts[not named and candidate.compiled()].append((index, candidate))
        for in_threads, part in parts.items():
            if part:
                yield self._in_threads if in_threads else self._in_joblib, part, in_threads

    def _here(self, evaluation, pieces, bar):
        """Work in the calling thread."""
        for piece in pieces:
            yield _run_with_bar(evaluation.run, piece, bar)

    def _in_threads(self, evaluation, pieces, bar):
        """Work in threads of this process; results come in the order in which they are ready."""
        stop, done, config = threading.Event(), SimpleQueue(), get_config()

        def work(piece):
            with config_context(**config):
                return _run_with_bar(evaluation.run, piece, bar, stop)

        with ThreadPoolExecutor(self.n_workers, "search", set_threads_here, (1,)) as pool:
            try:
                for piece in pieces:
                    pool.submit(work, piece).add_done_callback(done.put)
                for _ in pieces:
                    yield _next(done).result()
            finally:  # after Ctrl-C or an error no other piece is started
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _in_joblib(self, evaluation, pieces, bar):
        """Work in the workers of joblib."""
        backend, _ = get_active_backend()
        can_yield = getattr(backend, "supports_return_generator", False)
        # scikit-learn's versions pass its configuration to the workers.
        parallel = Parallel(
            n_jobs=self.n_jobs,
            pre_dispatch=self.pre_dispatch,
            return_as="generator" if can_yield else "list",
        )
        evaluation = _shared(evaluation)
        calls = (delayed(run_piece)(evaluation, piece) for piece in pieces)
        for piece, results in zip(pieces, parallel(calls), strict=True):
            bar.add(piece.n_epochs)
            yield results


def quietly(records):
    """Show no progress."""


def run_piece(evaluation, piece):
    """Work on a piece in a worker of joblib."""
    with torch_threads(1):
        return evaluation.run(piece, quietly)


def _shared(evaluation):
    """The evaluation; on a Dask cluster, sent once to every worker, of which one may die."""
    backend, _ = get_active_backend()
    client = getattr(backend, "client", None)
    if client is None:
        return evaluation
    return client.scatter(evaluation, broadcast=True, hash=False)


def _backend_is_named():
    """Whether joblib's context names a backend."""
    try:
        threads, processes = (get_active_backend(prefer=p)[0] for p in ("threads", "processes"))
    except ValueError:  # the context requires shared memory, as threads have
        return False
    return type(threads) is type(processes)


def _next(queue):
    """The next entry of a queue; waiting can be interrupted by Ctrl-C, on Windows too."""
    while True:
        try:
            return queue.get(timeout=0.5)
        except Empty:
            pass


class _Stopped(BaseException):
    """Ends work whose results are no longer needed."""


def _run_with_bar(run, piece, bar, stop=None):
    """Results of a piece; the bar counts its epochs as they are trained."""
    n_done = 0

    def progress(records):
        nonlocal n_done
        if stop is not None and stop.is_set():
            raise _Stopped
        n_done += len(records)
        bar.add(len(records))

    results = run(piece, progress)
    bar.add(piece.n_epochs - n_done)  # early stopping may have skipped some
    return results


class _Bar:
    """Progress of a search in network-epochs, for several threads."""

    def __init__(self, n_epochs, hidden):
        self.bar, self.lock = None, threading.Lock()
        if not hidden:
            from tqdm.auto import tqdm  # only now: the import may warn of missing widgets

            self.bar = tqdm(total=n_epochs, unit="epoch", desc="search")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.bar is not None:
            self.bar.close()

    def add(self, n_epochs):
        """Count finished epochs."""
        if self.bar is not None:
            with self.lock:
                self.bar.update(n_epochs)
