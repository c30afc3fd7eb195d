"""Progress of a training run, and its early end."""

from contextlib import contextmanager


class StopTraining(Exception):
    """A callback has stopped training."""


@contextmanager
def report_progress(verbose, n_epochs):
    """Show how training proceeds: a bar over the epochs (1), or a line for each of them (2).

    Parameters
    ----------
    verbose : bool or int
    n_epochs : int
        Epochs, unless training ends early.

    Yields
    ------
    progress : callable (records), or None if `verbose` is false
        Takes the records of the next epochs: dicts of losses and scores.
    """
    if not verbose:
        yield None
    elif verbose < 2:
        with _bar(n_epochs) as progress:
            yield progress
    else:
        yield _Lines(n_epochs)


@contextmanager
def _bar(n_epochs):
    """A bar with the time left and the latest loss and score."""
    from tqdm.auto import tqdm  # which warns in a notebook without widgets

    with tqdm(total=n_epochs, unit="epoch", desc="training") as bar:

        def progress(records):
            bar.set_postfix_str(_text(records[-1]), refresh=False)
            bar.update(len(records))

        yield progress
        if bar.n < n_epochs:  # not after an error
            bar.set_description("stopped early", refresh=False)
            bar.total = bar.n
            bar.refresh()


class _Lines:
    """Prints a line for each epoch."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs
        self.epoch = 0

    def __call__(self, records):
        for record in records:
            self.epoch += 1
            print(f"Epoch {self.epoch}/{self.n_epochs}: {_text(record)}")


def _text(record):
    return ", ".join(f"{name}={value:.4g}" for name, value in record.items())
