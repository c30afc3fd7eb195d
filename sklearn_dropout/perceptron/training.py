"""One perceptron in training."""

from contextlib import contextmanager
from itertools import accumulate, pairwise
from time import perf_counter

import numpy as np

from . import layout as at
from .data import Rows, plain
from .functions import ACTIVATIONS
from .loop import predict, train
from .losses import LOSSES
from .noise import KINDS
from .plan import PLACES, Plan
from .team import Team, new_barrier, pace
from .updates import SOLVERS

_CALL = 30_000.0  # microseconds: about the longest wait for Ctrl-C and other threads
_SHARED_CALL = 0.005  # seconds that threads share steps until they may decide otherwise
_SHARED_STEP = 2_000.0  # microseconds of products and update, above which threads share a step
# Each of them has a gradient of its own: the least rows it gets, and the numbers of all gradients
# beyond which no more than two threads share.
_SHARED_ROWS, _SHARED_NUMBERS = 32, 4_000_000
_STREAMS = (*PLACES, "noise")


class PerceptronTraining:
    """One perceptron in training: its parameters, gradient, moments and buffers.

    Parameters
    ----------
    weights, biases : lists of ndarrays of shape (n_in, n_out) and (n_out,)
        Initial values.
    activation : str
        scikit-learn's name.
    sample : TrainingRows
        Its dtype is that of the training.
    recipe : Recipe
    loss : Loss
    dropout : DropoutSettings
        Rates "input" and "groups" of shape (1,), "hidden" of shape (n_hidden_layers,).
    group_of_column : int64 ndarray of shape (n_features,)
        Columns that "groups" drops together have the same number, from 0.
    bit_generators : dict of numpy.random.SFC64
        For the places with a rate above zero, and "noise" for noise on the inputs.
    n_threads : int, default=1

    Attributes
    ----------
    learning_rate : float
        May be changed between calls.
    parameters : ndarray of shape (n_parameters,)
        All weights, then all biases.
    weights, biases : lists of ndarrays
        Views of `parameters`.
    noise_sums : float64 ndarray of shape (2, n_targets)
        Over the last epoch, with dropout on: weighted sums of (mean - target) ** 2 and of the
        mean.
    """

    def __init__(
        self,
        weights,
        biases,
        *,
        activation,
        sample,
        recipe,
        loss,
        dropout,
        group_of_column,
        bit_generators,
        n_threads=1,
    ):
        self.dtype, self._sample = sample.dtype, sample
        self._sizes = (weights[0].shape[0], *(w.shape[1] for w in weights))
        self._n_parameters = sum(piece.size for piece in [*weights, *biases])
        self._batch_size = min(recipe.batch_size, sample.n_rows)
        self.learning_rate = recipe.learning_rate_init
        self._bit_generators = bit_generators
        self._groups, self._groups_owner = plain(group_of_column, np.int64)
        time_of_products = self._time_of_products()
        layers, counts = self._set_parts(n_threads if time_of_products > _SHARED_STEP else 1)
        self._set_parameters(weights, biases)
        counts[at.ACTIVATION] = ACTIVATIONS[activation]
        counts[at.LOSS] = LOSSES[loss.name]
        counts[at.SOLVER] = SOLVERS[recipe.solver]
        counts[at.NESTEROV] = recipe.nesterovs_momentum
        counts[at.N_ROWS] = sample.n_rows
        counts[at.WEIGHTED] = sample.is_weighted
        self._settings = np.zeros(at.SCALE_HIDDEN + 2 * len(weights), dtype=np.float64)
        self._settings[at.ALPHA : at.SCALE_INPUT] = (
            recipe.alpha,
            recipe.beta_1,
            recipe.beta_2,
            recipe.epsilon,
            recipe.momentum,
            recipe.max_norm,
            dropout.input_noise_std,
            loss.quantile,
        )
        self._set_streams(counts, dropout)
        self._layers, self._counts = at.of_parts(layers, counts)
        self.noise_sums = np.zeros((2, self._sizes[-1] // loss.n_heads))
        self._pace = pace()
        self._shared = next(self._pace)
        self._call_steps = max(1, int(_CALL / self._step_time(time_of_products)))

    def _set_parts(self, n_threads):
        """Split the rows of a batch among threads, and into blocks that fit into the cache."""
        batch, is_sparse = self._batch_size, self._sample.X.is_sparse
        largest = max(2, _SHARED_NUMBERS // self._n_parameters)
        n_parts = max(1, min(n_threads, batch // _SHARED_ROWS, largest))
        layers, counts, n_work = at.step_layout(self._sizes, batch, n_parts, is_sparse)
        self._places = np.zeros((n_parts, batch), dtype=np.int64)
        self._row_weight = np.ones((n_parts, counts[at.BLOCK]))
        size = at.full_lines(self._n_parameters + 2 * at.LANES)  # a few more for `tiles`
        end = (3 + n_parts) * size
        memory = at.aligned_zeros(end + n_work, self.dtype)
        self._all, self._first, self._second = memory[: 3 * size].reshape(3, size)
        self._gradients, self._work = memory[3 * size : end], memory[end:]
        return layers, counts

    def _set_parameters(self, weights, biases):
        """Copy the initial values."""
        pieces = [*weights, *biases]
        ends = accumulate(piece.size for piece in pieces)
        self.parameters = self._all[: self._n_parameters]
        views = [
            self.parameters[end - piece.size : end].reshape(piece.shape)
            for piece, end in zip(pieces, ends)
        ]
        for view, piece in zip(views, pieces):
            view[...] = piece
        self.weights, self.biases = views[: len(weights)], views[len(weights) :]

    def _set_streams(self, counts, dropout):
        """Set the random words of each place in a step."""
        n_groups = int(self._groups.max()) + 1
        widths = self._sizes[0], n_groups, sum(self._sizes[1:-1])
        n_words = [-(-self._batch_size * width // 4) for width in widths]
        counts[at.N_GROUPS] = n_groups
        counts[at.KIND] = KINDS[dropout.dropout_type]
        counts[at.ADDS_NOISE] = adds_noise = dropout.input_noise_std > 0
        counts[at.WORDS_NOISE] = n_words[0] if adds_noise else 0
        self._plan = Plan(dropout.rates, dropout.dropout_type, n_words)
        n_used = self._plan.words() + int(counts[at.WORDS_NOISE])
        self._words = at.aligned_zeros(max(1, n_used), np.uint64)
        self._lanes = self._words.view(np.int16)

    def follow(self, learning_rates, factors):
        """Follow schedules in the next call of `epochs`.

        Parameters
        ----------
        learning_rates : float64 ndarray of shape (n_epochs,), or None
        factors : float64 ndarray of shape (n_epochs,), or None
            Factors of all dropout rates.
        """
        self._plan.learning_rates = learning_rates
        if factors is not None:
            self._plan.factors = factors

    def _time_of_products(self):
        """Estimate for the products and the update of a step, in microseconds."""
        first, *others = (n_in * n_out for n_in, n_out in pairwise(self._sizes))
        products = 3 * self._batch_size * (sum(others) + self._sample.density * first)
        return products / 30e3 + self._n_parameters / 1000

    def _step_time(self, time_of_products):
        """Estimate for a step in one thread, too long for most networks, in microseconds."""
        per_row = sum(self._sizes[1:]) + self._sample.density * self._sizes[0]
        n_values, n_words = self._batch_size * per_row, self._words.size
        return 1.0 + 2 * time_of_products + n_values / 200 + n_words / 400

    @contextmanager
    def _streams(self):
        """Context with the states of the bit generators, which are written back at its end."""
        states = np.zeros(4 * len(_STREAMS), dtype=np.uint64)
        used = {
            index: self._bit_generators[name]
            for index, name in enumerate(_STREAMS)
            if name in self._bit_generators
        }
        for index, source in used.items():
            states[4 * index : 4 * index + 4] = source.state["state"]["state"]
        try:
            yield states
        finally:
            for index, source in used.items():
                state = source.state
                state["state"]["state"] = states[4 * index : 4 * index + 4]
                source.state = state

    def epochs(self, order):
        """Train for several epochs.

        Parameters
        ----------
        order : int64 ndarray of shape (n_epochs, n_rows)
            Positions in the sample, in the order of training.

        Returns
        -------
        losses : float64 ndarray of shape (n_epochs,)
            Weighted means over the rows, with dropout on and the parameters of each step.
        """
        sample, (n_epochs, n_rows) = self._sample, order.shape
        plan = self._plan.rows(self.learning_rate)
        flat_order, _owner = plain(order, np.int64)
        n_steps = n_epochs * -(-n_rows // self._batch_size)
        n_parts = len(self._counts)
        losses, sums = np.zeros((n_parts, n_epochs)), np.zeros((n_parts, self.noise_sums.size))
        with self._streams() as states:

            def call(begin, end, first_part, last_part, arrivals):
                train(
                    self._counts, self._layers, self._settings, plan, *sample.X.arrays,
                    self._groups, *sample.arrays, flat_order, self._all, self._gradients,
                    self._first, self._second, self._work, states, self._words, self._lanes,
                    self._places, self._row_weight, losses, sums, begin, end, first_part,
                    last_part, arrivals,
                )  # fmt: skip

            if n_parts == 1:
                for begin in range(0, n_steps, self._call_steps):
                    call(begin, min(begin + self._call_steps, n_steps), 0, 0, new_barrier(1))
            else:
                self._share(call, n_steps)
        self.noise_sums = sums.sum(axis=0).reshape(2, -1)
        return losses.sum(axis=0) / sample.total_weight

    def _share(self, call, n_steps):
        """Train with several threads, each with its part of the rows and of the parameters.

        If sharing does not pay, this thread computes all parts, with the same result.
        """
        n_parts, begin, n_call = len(self._counts), 0, 1

        def call_part(part, arrivals, begin, end):
            call(begin, end, part, part, arrivals)

        with Team(n_parts) as team:
            while begin < n_steps:
                start, end = perf_counter(), min(begin + n_call, n_steps)
                if self._shared:
                    team.run(call_part, begin, end)
                else:
                    call(begin, end, 0, n_parts - 1, new_barrier(1))
                seconds = (perf_counter() - start) / (end - begin)
                self._shared = self._pace.send(seconds)
                n_call = max(1, int(_SHARED_CALL / seconds))
                begin = end

    def outputs(self, X, rows=None):
        """Outputs before the output function, with dropout off.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n_samples, n_features)
        rows : int64 ndarray of shape (n_rows,), default=None
            Rows of `X`; ``None`` takes all.

        Returns
        -------
        outputs : ndarray of shape (n_rows, n_outputs)
        """
        data = Rows(X, self.dtype)
        if rows is None:
            rows = np.arange(data.n_rows)
        rows, owner = plain(rows, np.int64)
        n_outputs = self._sizes[-1]
        out = np.empty((len(owner), n_outputs), dtype=self.dtype)
        layers, counts, work = self._layers[0].copy(), self._counts[0].copy(), self._work
        counts[[at.DROPS_INPUT, at.DROPS_GROUPS]] = 0  # sparse rows have no argument `training`
        counts[at.SPARSE] = data.is_sparse
        if self._sample.X.is_sparse and not data.is_sparse:  # `work` has no space for dense inputs
            counts[at.N_PARTS] = 1
            work = at.aligned_zeros(at.work_layout(layers, counts), self.dtype)
        if len(owner):
            predict(
                counts, layers, self._settings, *data.arrays, self._groups, rows, self._all, work,
                self._lanes, out,
            )  # fmt: skip
        return out

    def learned_rates(self):
        """None are."""
        return []

    def export(self):
        """Weights and biases, as lists of arrays that share no memory."""
        return [w.copy() for w in self.weights], [b.copy() for b in self.biases]

    def copy_parameters(self):
        """Copy of the parameters, for `set_parameters`."""
        return self.parameters.copy()

    def set_parameters(self, parameters):
        """Restore parameters from `copy_parameters`."""
        self.parameters[:] = parameters

    def _memory(self):
        n = self.parameters.size
        if self._counts[0, at.SOLVER] == SOLVERS["sgd"]:
            return {"velocity": self._first[:n]}
        return {"first_moment": self._first[:n], "second_moment": self._second[:n]}

    def snapshot(self):
        """State for `go_back`, after which `epochs` continues as if from here."""
        generators = [source.state for source in self._bit_generators.values()]
        return self.copy_parameters(), self.get_state(), generators, self.noise_sums

    def go_back(self, snapshot):
        """Undo the calls of `epochs` since a snapshot."""
        parameters, state, generators, self.noise_sums = snapshot
        self.set_parameters(parameters)
        self.set_state(state)
        for source, known in zip(self._bit_generators.values(), generators):
            source.state = known

    def get_state(self):
        """State for `set_state`: arrays that share no memory."""
        state = {name: array.copy() for name, array in self._memory().items()}
        if "velocity" in state:
            return state
        return {"count": self._counts[:1, at.STEPS_DONE].astype(np.float32)} | state

    def set_state(self, state):
        """Continue from the result of `get_state`, unless it is that of another solver."""
        if state.keys() != self.get_state().keys():
            return
        if "count" in state:
            self._counts[:, at.STEPS_DONE] = int(np.asarray(state["count"]).reshape(-1)[0])
        for name, array in self._memory().items():
            array[:] = state[name]
