"""Calls of scikit-learn's callbacks during a fit, whose subtasks are its epochs."""

from contextlib import contextmanager
from inspect import signature

from ..checks.validation import callback_management_context


@contextmanager
def fit_events(estimator, call):
    """Report a fit to the callbacks of `set_callbacks` and of meta-estimators.

    Parameters
    ----------
    estimator : DropoutNetwork
    call : FitCall

    Yields
    ------
    events : FitEvents, or None without callbacks
    """
    if not (hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")):
        yield None
        return
    with callback_management_context(estimator):
        events = FitEvents(estimator, call)
        yield events
        events.end()


class FitEvents:
    """The tree of tasks of one fit.

    Parameters
    ----------
    estimator : DropoutNetwork
    call : FitCall
    """

    def __init__(self, estimator, call):
        self.estimator = estimator
        metadata = None if call.sample_weight is None else {"sample_weight": call.sample_weight}
        self.details = {"estimator": estimator, "X": call.X, "y": call.y, "metadata": metadata}
        n_epochs = 1 if call.partial else int(estimator.max_iter)
        self.root = estimator._init_callback_context(max_subtasks=n_epochs)
        self.root.call_on_fit_task_begin(**self.details)
        hooks = [c.on_fit_task_end for c in getattr(estimator, "_skl_callbacks", [])]
        # Whether a callback needs a network that can predict after each epoch.
        self.needs_network = any("fitted_estimator" in signature(hook).parameters for hook in hooks)

    def epochs(self, n_epochs, network):
        """Report that epochs are done.

        Parameters
        ----------
        n_epochs : int
        network : callable () -> dict
            Attributes of the network as it is now.

        Returns
        -------
        n_told : int or None
            Epochs after which a callback stops training.
        """
        for n_told in range(1, n_epochs + 1):
            task = self.root.subcontext(task_name="epoch")
            task.call_on_fit_task_begin(**self.details)
            if task.call_on_fit_task_end(**self.details, reconstruction_attributes=network):
                return n_told
        return None

    def end(self):
        """The fit is done."""
        attributes = vars(self.estimator)
        fitted = {name: value for name, value in attributes.items() if "callback" not in name}
        self.root.call_on_fit_task_end(**self.details, reconstruction_attributes=fitted)
