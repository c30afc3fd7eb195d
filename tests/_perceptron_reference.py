"""One perceptron under autograd in float64, masks made by NumPy from the contract of a seed."""

import numpy as np
import torch
from scipy.stats import norm
from torch.nn import functional

USES = "input", "groups", "hidden", "noise"
NORMALS = norm.ppf((np.arange(4096) + 0.5) / 4096)
NORMALS = np.float32(NORMALS / NORMALS.std()).astype(float)

ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": functional.elu,
    "selu": torch.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
}


def _binary(z, y):
    return functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(1)


def _gaussian(z, y):
    n = z.shape[1] // 2
    log = 12 * torch.tanh(z[:, n:] / 12)
    return 0.5 * (log + (y[:, :n] - z[:, :n]).square() / log.exp()).sum(1)


LOSSES = {
    "log_loss": lambda z, y: -(y * torch.log_softmax(z, 1)).sum(1),
    "binary_log_loss": _binary,
    "squared_error": lambda z, y: 0.5 * (z - y).square().sum(1),
    "absolute_error": lambda z, y: (z - y).abs().sum(1),
    "huber": lambda z, y: functional.huber_loss(z, y, reduction="none").sum(1),
    "gaussian": lambda z, y: _gaussian(z, y),
    "quantile": lambda z, y: torch.maximum(0.5 * (y - z), -0.5 * (y - z)).sum(1),
    "poisson": lambda z, y: (torch.xlogy(y, y) - y * z - y + z.exp()).sum(1),
}


def bit_generators():
    """New streams of masks, always the same."""
    return {use: np.random.SFC64(place) for place, use in enumerate(USES)}


class Reference:
    """Trains step by step; takes the arguments of `PerceptronTraining` and `TrainingRows`."""

    def __init__(self, weights, biases, **options):
        self.weights = [torch.tensor(w, requires_grad=True) for w in weights]
        self.biases = [torch.tensor(b, requires_grad=True) for b in biases]
        self.parameters = self.weights + self.biases
        self.__dict__.update(options)
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.n_steps = 0
        self.noise_sums = 0.0

    dropout_type, input_noise_std = "bernoulli", 0.0

    def lanes(self, use, widths):
        """Random integers of all rows of a full batch, for each site."""
        n_lanes = self.batch_size * sum(widths)
        lanes = self.bit_generators[use].random_raw(-(-n_lanes // 4)).view("<i2").astype(int)
        ends = np.cumsum([self.batch_size * width for width in widths])
        sites = np.split(lanes[:n_lanes], ends[:-1])
        return [site.reshape(self.batch_size, -1) for site in sites]

    def masks(self, use, widths):
        """Factors and addends of all rows of a full batch, for each site."""
        dropped = np.rint(self.rates[use] * 65536).astype(int)
        if not dropped.any():
            return [(torch.ones(self.batch_size, width), 0.0) for width in widths]
        sites = zip(self.lanes(use, widths), dropped)
        return [tuple(map(torch.as_tensor, self.noise(use, *site))) for site in sites]

    def noise(self, use, lanes, dropped):
        kept, rate = lanes >= dropped - 32768, dropped / 65536
        if self.dropout_type == "gaussian":
            return 1 + np.sqrt(rate / (1 - rate)) * NORMALS[(lanes + 32768) >> 4], 0.0
        if self.dropout_type == "alpha" and use == "hidden" and dropped:
            low = -1.6732632423543772 * 1.0507009873554805
            a = ((1 - rate) * (1 + rate * low**2)) ** -0.5
            return a * kept, a * low * ~kept - a * rate * low
        return kept / (1 - rate), 0.0

    def outputs(self, x, masks):
        """Outputs before the output function."""
        for w, b, mask in zip(self.weights, self.biases, [*masks, None]):
            x = x @ w + b
            if mask is not None:
                factor, addend = (
                    p[: len(x)] if torch.is_tensor(p) and p.dim() else p for p in mask
                )
                x = ACTIVATIONS[self.activation](x) * factor + addend
        return x

    def epoch(self, order):
        """Mean loss of an epoch."""
        weight = np.ones(len(order)) if self.weight is None else self.weight
        self.noise_sums = 0.0
        starts = range(0, len(order), self.batch_size)
        batches = [order[start : start + self.batch_size] for start in starts]
        return sum(self.step(batch, weight[batch]) for batch in batches) / weight.sum()

    def step(self, batch, weight):
        """Loss of a batch times its weight, before its step."""
        weight = torch.from_numpy(weight)
        total = weight.sum()
        ((of_inputs, _),) = self.masks("input", [self.X.shape[1]])
        ((of_groups, _),) = self.masks("groups", [self.group_of_column.max() + 1])
        of_hidden = self.masks("hidden", [w.shape[1] for w in self.weights[:-1]])
        x = torch.from_numpy(self.X[self.rows[batch]])
        if self.input_noise_std:
            (lanes,) = self.lanes("noise", [self.X.shape[1]])
            normals = torch.from_numpy(NORMALS[(lanes[: len(x)] + 32768) >> 4])
            x = x + self.input_noise_std * normals
        x = x * (of_inputs * of_groups[:, self.group_of_column])[: len(x)]
        y = torch.from_numpy(self.targets[self.codes[batch]])
        z = self.outputs(x, of_hidden)
        loss = (LOSSES[self.loss](z, y) * weight).sum()
        if self.solver != "adamw":
            loss = loss + 0.5 * self.alpha * sum(w.square().sum() for w in self.weights)
        gradients = torch.autograd.grad(loss / total, self.parameters)
        with torch.no_grad():
            mean = z.exp() if self.loss == "poisson" else z
            if self.loss == "gaussian":
                mean, y = (part[:, : part.shape[1] // 2] for part in (z, y))
            sums = torch.stack([(mean - y).square(), mean]) * weight[:, None]
            self.noise_sums = self.noise_sums + sums.sum(1).numpy()
            self.update(gradients)
        return float(loss.detach())

    def update(self, gradients):
        """Adam, AdamW or SGD, then max-norm."""
        self.n_steps += 1
        rate, t = self.learning_rate, self.n_steps
        for place, (p, g) in enumerate(zip(self.parameters, gradients)):
            m, v = self.first[place], self.second[place]
            if self.solver == "sgd":
                m.mul_(self.momentum).sub_(rate * g)
                p.add_(self.momentum * m - rate * g if self.nesterov else m)
                continue
            if self.solver == "adamw" and place < len(self.weights):
                p.mul_(1 - rate * self.alpha)
            m.mul_(self.beta_1).add_((1 - self.beta_1) * g)
            v.mul_(self.beta_2).add_((1 - self.beta_2) * g * g)
            scale = (v / (1 - self.beta_2**t)).sqrt() + self.epsilon
            p.sub_(rate / (1 - self.beta_1**t) * m / scale)
        for w in self.weights[:-1]:
            w.mul_((self.max_norm / w.norm(dim=0)).clamp(max=1))
