"""Calls of scikit-learn's callbacks during a search, as in scikit-learn's own searches."""

from contextlib import contextmanager, nullcontext

from ..checks.validation import _safe_split, callback_management_context


@contextmanager
def search_events(search, X, y, fit_params):
    """Report a search to the callbacks of `set_callbacks`.

    Parameters
    ----------
    search : DropoutSearchCV or DropoutRandomizedSearchCV
    X, y : data of the search
    fit_params : dict

    Yields
    ------
    events : SearchEvents, or None without callbacks
    """
    if not getattr(search, "_skl_callbacks", None):
        yield None
        return
    with callback_management_context(search):
        events = SearchEvents(search, X, y, fit_params)
        yield events
        events.root.call_on_fit_task_end(**events.details)


class SearchEvents:
    """The tree of tasks of a search: the evaluations, and the last fit.

    Parameters
    ----------
    search : DropoutSearchCV or DropoutRandomizedSearchCV
    X, y : data of the search
    fit_params : dict
    """

    def __init__(self, search, X, y, fit_params):
        weight = fit_params.get("sample_weight")
        metadata = None if weight is None else {"sample_weight": weight}
        self.details = {"estimator": search, "X": X, "y": y, "metadata": metadata}
        self.root = search._init_callback_context(max_subtasks=1 + (search.refit is not False))
        self.root.call_on_fit_task_begin(**self.details)

    @contextmanager
    def evaluations(self, n_evaluations):
        """While candidates are evaluated on folds; yields the task of each evaluation."""
        search = self.details["estimator"]
        tasks = self.root.subcontext("search", None, n_evaluations, sequential_subtasks=False)
        tasks.call_on_fit_task_begin(estimator=search)
        yield [
            Task(tasks.subcontext("candidate-split-evaluation", index), search)
            for index in range(n_evaluations)
        ]
        tasks.call_on_fit_task_end(estimator=search)

    @contextmanager
    def refit(self, estimator):
        """While the best candidate is fitted on all data."""
        task = self.root.subcontext("refit-with-best-params")
        with task.propagate_callback_context(estimator):
            task.call_on_fit_task_begin(**self.details)
            yield
        task.call_on_fit_task_end(**self.details)


class Task:
    """The evaluation of a candidate on a fold."""

    listened = True

    def __init__(self, context, search):
        self.context = context
        self.details = {"estimator": search}

    @contextmanager
    def fit(self, model, evaluation, fold):
        """Context of the fit of the model, whose own tasks callbacks may follow."""

        def rows():
            return _safe_split(model, evaluation.X, evaluation.y, fold.train)

        weight = evaluation.fit_params.get("sample_weight")
        metadata = None if weight is None else {"sample_weight": weight}
        self.details |= {"X": lambda: rows()[0], "y": lambda: rows()[1], "metadata": metadata}
        with self.context.propagate_callback_context(model):
            self.context.call_on_fit_task_begin(**self.details)
            yield

    def end(self):
        """Report that the evaluation is done, scores included."""
        self.context.call_on_fit_task_end(**self.details)


class NoTask:
    """Stands in for a task if there are no callbacks."""

    listened = False

    def fit(self, model, evaluation, fold):
        """Nothing to tell."""
        return nullcontext()

    def end(self):
        """Nothing to tell."""
