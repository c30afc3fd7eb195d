"""The training loop of networks that are PyTorch modules, under automatic differentiation."""

from contextlib import nullcontext
from copy import deepcopy

import numpy as np
import torch

from .concrete import concrete_layers
from .losses import OUT_ACTIVATIONS
from .optimizers import make_optimizer, memory_of, remember
from .settings import raised_by_user
from .tensors import dense_rows

# Values of one row, times rows, that are computed at once with dropout off.
_CHUNK_VALUES = 1 << 22


class ModuleTraining:
    """A PyTorch module in training, with its optimiser.

    Parameters
    ----------
    module : nn.Sequential
        Its last layer, ``out_activation``, is the output function.
    sources : list of MaskSource
        Sources of the masks of its dropout layers.
    sample : Sample
        Rows to train on.
    recipe : Recipe
    loss : Loss
    bounded : callable (module) -> list of (parameter, axes)
        The weights that `max_norm` bounds, and the axes that belong to one unit.
    unpack : callable (module) -> (weights, biases)
        Returns the parameters of such a module, in the shapes of `coefs_` and `intercepts_`.
    pack : callable (weights, biases) -> module
        The inverse of `unpack`.
    values_per_row : int
        Number of values in the passes of one row.
    """

    def __init__(
        self,
        module,
        sources,
        *,
        sample,
        recipe,
        loss,
        bounded,
        unpack,
        pack,
        values_per_row,
    ):
        self.module = module.train()
        self.sources = sources
        self.sample = sample
        self.batch_size = min(recipe.batch_size, sample.n_rows)
        self.device = recipe.device
        self.loss = loss
        self.max_norm = recipe.max_norm
        # The decay of AdamW is not part of the loss.
        self.alpha = 0.0 if recipe.solver == "adamw" else recipe.alpha
        self._alpha_given = recipe.alpha
        self.optimizer = make_optimizer(module, recipe)
        self._concrete = concrete_layers(module)
        self._set_parameter_lists(module.parameters())
        self._rates = {layer: layer.rate for layer in module.modules() if hasattr(layer, "rate")}
        self._named = isinstance(recipe.solver, str)
        self.monitor = None
        self.noise_sums = None
        self._bounded, self._unpack, self._pack = bounded, unpack, pack
        self._chunk = max(1, _CHUNK_VALUES // values_per_row)

    @property
    def learning_rate(self):
        """Step size of all parameters."""
        return self.optimizer.param_groups[0]["lr"]

    @learning_rate.setter
    def learning_rate(self, value):
        for group in self.optimizer.param_groups:
            group["lr"] = value

    def follow(self, learning_rates, factors):
        """Follow schedules in the next call of `epochs`, which must be for one epoch.

        Parameters
        ----------
        learning_rates : float64 ndarray of shape (1,), or None
        factors : float64 ndarray of shape (1,), or None
            Factor of all dropout rates.
        """
        if learning_rates is not None:
            self.learning_rate = float(learning_rates[0])
        if factors is not None:
            for layer, rate in self._rates.items():
                layer.rate = float(factors[0]) * rate

    def epochs(self, order):
        """Train on all rows, once for each row of `order`.

        Parameters
        ----------
        order : int64 ndarray of shape (n_epochs, n_rows)
            Positions of the rows in the sample.

        Returns
        -------
        losses : float64 ndarray of shape (n_epochs,)
            Mean loss with dropout on, the penalty included.
        """
        return np.array([self._epoch(positions) for positions in order])

    def _epoch(self, positions):
        total, sums = 0.0, 0.0
        for start in range(0, len(positions), self.batch_size):
            batch = positions[start : start + self.batch_size]
            x = self.sample.inputs(batch, self.device)
            y = self.sample.answers(batch, self.device)
            share, weight = self.sample.shares(batch, self.device)
            z, loss, penalty = self._step(x, y, share, weight)
            total += loss * weight + penalty
            sums = sums + self._noise_sums(z, y, share) * weight
        self.noise_sums = sums
        return total / self.sample.total_weight

    def _step(self, x, y, share, weight):
        """Train on one batch: outputs, mean loss, and the penalty times the batch's weight."""
        monitor = self.monitor
        if monitor is not None:
            self._follow_parameters()
            monitor.batch_begin(x, y)
        if monitor is not None or not self.module.training:  # callbacks may have called the module
            self.module.train()
        for source in self.sources:
            source.next_step()
        self.optimizer.zero_grad()
        answer, z = self._run(x)
        loss = torch.dot(self.loss.rows(z, y), share)
        regularizer = self._regularizer(weight) if self._concrete else None
        (loss if regularizer is None else loss + regularizer).backward()
        penalty = self._add_penalty(weight)
        if regularizer is not None:
            penalty += float(regularizer.detach()) * weight
        if monitor is not None:
            monitor.gradient_computed()
        with nullcontext() if self._named else raised_by_user():
            self.optimizer.step()
        if np.isfinite(self.max_norm):
            self._clip_norms()
        z, loss = z.detach(), loss.detach()
        if monitor is not None:
            monitor.batch_end(answer.detach(), loss)
        return z, float(loss), penalty

    def _run(self, x):
        """Outputs of the module, and its outputs before the output function."""
        caught = []
        hook = self.module.out_activation.register_forward_pre_hook(
            lambda _, args: caught.append(*args)
        )
        try:
            return self.module(x), caught[-1]
        finally:
            hook.remove()

    def _noise_sums(self, z, y, share):
        """Weighted sums of the squared residuals and of the means, of one batch."""
        if self.loss.noise is None:
            return 0.0
        return noise_sums(OUT_ACTIVATIONS[self.loss.out_activation](z), y, share)

    def _set_parameter_lists(self, parameters):
        """Set the lists of all parameters, and of those that the L2 penalty is for."""
        self._parameters = list(parameters)
        elsewhere = {p for _, weights in self._concrete for p in weights}
        self._penalised = [p for p in self._parameters if p.dim() > 1 and p not in elsewhere]

    def _follow_parameters(self):
        """Replace parameters in the optimiser by new ones of the module."""
        parameters = list(self.module.parameters())
        new = {old: p for old, p in zip(self._parameters, parameters) if old is not p}
        if not new:
            return
        self._set_parameter_lists(parameters)
        for group in self.optimizer.param_groups:
            group["params"] = [new.get(p, p) for p in group["params"]]
        for old, p in new.items():
            if old in self.optimizer.state:
                self.optimizer.state[p] = self.optimizer.state.pop(old)

    def _regularizer(self, weight):
        """Regularisers of learned rates, for a batch with the given weight."""
        alpha, entropy = self._alpha_given / weight, 1 / self.sample.total_weight
        terms = [layer.regularizer(weights, alpha, entropy) for layer, weights in self._concrete]
        return sum(terms)

    @torch.no_grad()
    def _add_penalty(self, weight):
        """Add the gradient of the L2 penalty; its value times the weight of the batch."""
        if not self.alpha:
            return 0.0
        squares = 0.0
        for p in self._penalised:
            squares += float(p.square().sum())
            if p.grad is not None:
                p.grad.add_(p, alpha=self.alpha / weight)
        return 0.5 * self.alpha * squares

    @torch.no_grad()
    def _clip_norms(self):
        """Bound the norm of each unit's incoming weights (Srivastava et al. 2014, section 5.1)."""
        for parameter, axes in self._bounded(self.module):
            if parameter.requires_grad:
                norms = parameter.square().sum(axes, keepdim=True).sqrt_()
                parameter.mul_((self.max_norm / norms).clamp_max_(1.0))

    def outputs(self, X, rows):
        """Outputs before the output function, with dropout off.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n_samples, n_features)
        rows : int64 ndarray of shape (n_rows,)
            Rows of `X`.

        Returns
        -------
        outputs : tensor of shape (n_rows, n_outputs)
        """
        parts = [self._run_off(X, rows[slice(*p)])[2] for p in _pieces(len(rows), self._chunk)]
        return torch.cat(parts).cpu()

    def batches_off(self, sample):
        """Run on a sample with dropout off, a batch at a time.

        Yields
        ------
        x, y, answer : tensors of shape (n, n_features), (n, n_outputs), (n, n_outputs)
        loss : scalar tensor
            Weighted mean over the rows of the batch.
        """
        for start, stop in _pieces(sample.n_rows, self.batch_size):
            rows = slice(start, stop)
            x, answer, z = self._run_off(sample.X, sample.rows[rows])
            y = sample.answers(rows, self.device)
            share, _ = sample.shares(rows, self.device)
            yield x, y, answer, (self.loss.rows(z, y) * share).sum()

    def _run_off(self, X, rows):
        self.module.eval()  # the next step switches back
        with torch.no_grad():
            x = dense_rows(X, rows).to(self.device)
            return x, *self._run(x)

    def export(self):
        """Weights and biases, as lists of NumPy arrays that share no memory."""
        return _arrays(self._unpack(self.module))

    def copy_parameters(self):
        """Copy of the parameters, for `set_parameters`."""
        return deepcopy(self.module.state_dict())

    def set_parameters(self, parameters):
        """Restore parameters from `copy_parameters`."""
        self.module.load_state_dict(parameters)

    def get_state(self):
        """State of the optimiser: flat arrays in the order of the estimator's parameters."""
        parameters = list(self.module.parameters())
        if not self._named:
            return {_kind(self.optimizer): _map(self.optimizer.state_dict(), _to_array)}
        memory = memory_of(self.optimizer, parameters)
        state = {}
        for name, values in memory.items():
            counts = name == "count"
            state[name] = np.array([values], np.float32) if counts else self._flat(values)
        return state

    def _flat(self, values):
        """Flatten tensors like the module's parameters into one array, in the estimator's order."""
        shadow = deepcopy(self.module)
        for parameter, value in zip(shadow.parameters(), values, strict=True):
            parameter.data = value
        weights, biases = _arrays(self._unpack(shadow))
        logits = [layer.logit.detach().cpu().numpy() for layer, _ in concrete_layers(shadow)]
        return np.concatenate([array.ravel() for array in weights + biases + logits])

    def set_state(self, state):
        """Continue from the result of `get_state`, unless it is that of another solver."""
        kind = _kind(self.optimizer)
        if not self._named:
            if kind in state:
                self.optimizer.load_state_dict(_map(state[kind], _to_tensor))
            return
        parameters = list(self.module.parameters())
        if memory_of(self.optimizer, parameters).keys() != state.keys():
            return
        memory = {
            name: value[0] if name == "count" else self._unflat(value)
            for name, value in state.items()
        }
        remember(self.optimizer, parameters, memory)

    def _unflat(self, flat):
        """The inverse of `_flat`."""
        weights, biases = self.export()
        n_weights, arrays = len(weights), weights + biases
        *pieces, logits = np.split(flat, np.cumsum([array.size for array in arrays]))
        tensors = [
            torch.from_numpy(piece.reshape(array.shape).copy()).to(self.device)
            for piece, array in zip(pieces, arrays)
        ]
        module = self._pack(tensors[:n_weights], tensors[n_weights:])
        for (layer, _), value in zip(concrete_layers(module), logits, strict=True):
            layer.logit.data.fill_(float(value))
        return list(module.parameters())

    def learned_rates(self):
        """Learned rates: pairs of place and value."""
        return [(layer.place, layer.rate) for layer, _ in self._concrete]


def _pieces(n_rows, size):
    """Pairs (start, stop) that cut rows into pieces of a size."""
    return [(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def _kind(optimizer):
    return str(type(optimizer))


def _arrays(parts):
    return tuple([p.detach().cpu().numpy().copy() for p in part] for part in parts)


def _to_array(thing):
    return thing.cpu().numpy().copy() if torch.is_tensor(thing) else thing


def _to_tensor(thing):
    return torch.from_numpy(thing.copy()) if isinstance(thing, np.ndarray) else thing


def _map(state, leaf):
    """A copy of nested dicts and lists with `leaf` applied to their values."""
    if isinstance(state, dict):
        return {key: _map(value, leaf) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_map(value, leaf) for value in state)
    return leaf(state)


def noise_sums(mean, y, weight):
    """Weighted sums over rows of the squared residuals and of the means.

    Parameters
    ----------
    mean, y : tensors of shape (n_rows, n_outputs)
    weight : tensor of shape (n_rows,)

    Returns
    -------
    sums : float64 ndarray of shape (2, n_outputs)
    """
    weight, y = weight[:, None], y[:, : mean.shape[1]]
    sums = [((mean - y).square() * weight).sum(0), (mean * weight).sum(0)]
    return torch.stack(sums).double().cpu().numpy()
