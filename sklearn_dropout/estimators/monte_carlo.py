"""Predictions with dropout on, for all families and both tasks."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..checks.random_state import seed_from
from ..dropout.streams import Streams
from ..nn.settings import in_threads, threads_to_use, torch_threads
from ..nn.tensors import dense_rows

# Values of the widest layer that are computed at once, and the rows among them.
_CHUNK_VALUES = 1 << 20
_CHUNK_ROWS = 128


class MonteCarlo:
    """Monte Carlo dropout of all estimators.

    A pass is one thinned network, a draw from the approximate posterior over networks [1]_, with
    one mask for all rows. So the samples of a row do not depend on the other rows, and those of
    one pass belong to one function.

    A family implements

    - ``_draw_masks(n_samples, streams)``: masks of the next passes, in any form. They come
      from the same streams and uses as in training, with batches of one row.
    - ``_sample_outputs(X, masks)``: outputs before the output function, as a tensor of shape
      (n_samples, n_rows, n_outputs), for a dense tensor of rows `X` in the precision to compute in.
      It must bound the memory of the layers before the outputs.

    and a task

    - ``_answers(z)``: samples of the predictions, from such outputs, and ``_n_answers()``, their
      number for each row.
    - ``_uncertainty(X, n_samples, streams)``: an `Uncertainty`.

    References
    ----------
    .. [1] Gal, Y., Ghahramani, Z. (2016). "Dropout as a Bayesian approximation: Representing
       model uncertainty in deep learning." ICML.
    """

    def sample_predictions(self, X, n_samples=100, random_state=None):
        """Predictions with dropout on: samples from the predictive distribution of the network.

        Each pass predicts all rows with one thinned network [1]_, so a pass is one draw of a
        function, and the samples of a row do not depend on the other rows. Only dropout is on. If
        all rates are 0, every sample equals the prediction without dropout.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_rows, n_features)
            Inputs.
        n_samples : int, default=100
            Passes; the error of a mean over them falls with their square root.
        random_state : int, RandomState instance or None, default=None
            Determines the masks; ``None`` for new ones in each call.

        Returns
        -------
        samples : ndarray of shape (n_samples, n_rows, n_outputs or n_classes)
            Targets in the units of `y`, without the noise of a single target, or probabilities in
            the order of `classes_`; float32 for float32 `X`, else float64.

        References
        ----------
        .. [1] Gal, Y., Ghahramani, Z. (2016). "Dropout as a Bayesian approximation: Representing
           model uncertainty in deep learning." ICML, section 4.
        """
        X, streams = self._check_sampling(X, n_samples, random_state)
        samples = np.empty((n_samples, X.shape[0], self._n_answers()), dtype=X.dtype)

        def keep(passes, rows, block):
            samples[passes, rows] = block

        self._sample(X, n_samples, streams, keep)
        return samples

    def predict_uncertainty(self, X, n_samples=100, random_state=None):
        """Predict by passes with dropout on, with the uncertainty of the predictions and its parts.

        Memory is needed for a block of the samples, however many there are.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_rows, n_features)
            Inputs.
        n_samples : int, default=100
            Passes, as in `sample_predictions`.
        random_state : int, RandomState instance or None, default=None
            Determines the masks; ``None`` for new ones in each call.

        Returns
        -------
        uncertainty : Uncertainty
            With `mean`, `total`, `aleatoric` and `epistemic`: of regressors, means and standard
            deviations in the units of `y`; of classifiers, mean probabilities, predictive
            entropy, expected entropy and mutual information, in nats (for multilabel targets, of
            each label). See :class:`~sklearn_dropout.Uncertainty`.
        """
        X, streams = self._check_sampling(X, n_samples, random_state)
        return self._uncertainty(X, n_samples, streams)

    def _check_sampling(self, X, n_samples, random_state):
        """Arguments of the calls that sample: `X` as a table, and the streams of the masks."""
        check_is_fitted(self)
        check_n_samples(n_samples)
        seed = seed_from(random_state)
        return self._validate(X, reset=False), Streams(seed)

    def _reduce(self, X, n_samples, streams, moments, answers=None):
        """Add all samples to `moments`, which has ``add(rows, samples)``."""

        def add(_, rows, block):
            moments.add(rows, block)

        self._sample(X, n_samples, streams, add, answers)
        return moments

    def _sample(self, X, n_samples, streams, take, answers=None):
        """Compute samples in blocks, those of different rows in threads.

        Blocks of passes follow each other, each with its masks, so results do not depend on the
        number of threads.

        Parameters
        ----------
        X : float32 or float64 ndarray or CSR matrix of shape (n_rows, n_features)
        n_samples : int
        streams : Streams
        take : callable (passes, rows, samples)
            Called with the position of each block, as slices, and its samples.
        answers : callable (z) -> tensor of samples, default=None
            From outputs before the output function; ``None`` is `_answers`.
        """
        answers = answers or self._answers
        n_rows = X.shape[0]
        per_chunk = max(1, _CHUNK_VALUES // self._n_network_outputs())
        row_step = min(n_rows, _CHUNK_ROWS, per_chunk)
        pass_step = per_chunk // row_step
        for start in range(0, n_samples, pass_step):
            passes = slice(start, min(start + pass_step, n_samples))
            with torch_threads(threads_to_use()):  # one in a forked child, where others hang
                masks = self._draw_masks(passes.stop - start, streams)

            def compute(rows, passes=passes, masks=masks):
                z = self._sample_outputs(dense_rows(X, rows), masks)
                take(passes, rows, answers(z).numpy())

            in_threads(compute, n_rows, row_step)


def check_n_samples(n_samples):
    """Refuse what is not a number of passes."""
    if not isinstance(n_samples, Integral) or isinstance(n_samples, bool):
        raise TypeError(f"n_samples={n_samples!r} must be an int: the number of passes.")
    if n_samples < 1:
        raise ValueError(f"n_samples={n_samples!r} must be at least 1: the number of passes.")
