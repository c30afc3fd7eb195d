"""Many perceptrons in one set of weights, with the gradient written out.

A single network is a stack of one: a batched matrix product over one network costs what a plain
one does, and the layers of hundreds of small networks cost little more than one layer of one.
The gradient is explicit because for networks of this size automatic differentiation costs more
than the arithmetic; tests hold it to autograd's.
"""

from itertools import pairwise

import numpy as np
import torch

from ._activations import ACTIVATIONS
from ._losses import LOSSES


def forward(x, weights, biases, activation):
    """Outputs of perceptrons without dropout, before the output function.

    Parameters
    ----------
    x : tensor of shape (..., n_rows, n_features)
    weights : list of tensors of shape (..., n_in, n_out)
    biases : list of tensors of shape (..., 1, n_out)
    activation : Activation

    Returns
    -------
    z : tensor of shape (..., n_rows, n_outputs)
    """
    last = len(weights) - 1
    for layer, (weight, bias) in enumerate(zip(weights, biases)):
        x = torch.matmul(x, weight).add_(bias)
        if layer < last:
            out = x if activation.from_output else torch.empty_like(x)
            activation.forward(x, out)
            x = out
    return x


def _views(flat, shapes):
    """Consecutive pieces of a flat tensor, in the given shapes."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    return [piece.view(shape) for piece, shape in zip(flat.split(sizes), shapes, strict=True)]


class _Buffers:
    """Memory of one training step for batches of one size, used again at every step.

    Attributes
    ----------
    sums, active, deltas : lists of tensors of shape (n_networks, n_rows, n_units)
        Of each layer: weighted sums, activations, derivatives of the loss by the sums. Where the
        derivative of an activation follows from its value, the first two share memory.
    transposed : list of tensors
        `active` with the last two axes swapped.
    """

    def __init__(self, n_networks, n_rows, widths, options, activation):
        def empty():
            return [torch.empty((n_networks, n_rows, width), **options) for width in widths]

        self.sums = empty()
        self.active = self.sums if activation.from_output else empty()
        self.transposed = [h.transpose(1, 2) for h in self.active]
        self.deltas = empty()


class StackedMLP:
    """`n_networks` multilayer perceptrons of one architecture.

    Parameters
    ----------
    layer_sizes : sequence of int
        Units of the input, of each hidden layer and of the output.
    n_networks : int, default=1
        Networks in the stack. It is the first axis of every array below.
    activation : str, default="relu"
        Of the hidden units; a key of ``ACTIVATIONS``.
    loss : str, default="squared_error"
        A key of ``LOSSES``.
    dtype, device
        Of weights and arithmetic.

    Attributes
    ----------
    parameters, gradient : tensors of shape (n_parameters,)
        All weights of all networks, then all biases, without gaps: what an optimiser updates.
    weights : list of tensors of shape (n_networks, n_in, n_out)
    biases : list of tensors of shape (n_networks, n_out)
        Views of `parameters`.
    """

    def __init__(
        self,
        layer_sizes,
        n_networks=1,
        *,
        activation="relu",
        loss="squared_error",
        dtype=torch.float32,
        device="cpu",
    ):
        self.layer_sizes = tuple(layer_sizes)
        self.n_networks = n_networks
        self.activation = ACTIVATIONS[activation]
        self.loss = LOSSES[loss]
        self._options = {"dtype": dtype, "device": device}
        shapes = [(n_networks, n_in, n_out) for n_in, n_out in pairwise(self.layer_sizes)]
        shapes += [(n_networks, n_out) for n_out in self.layer_sizes[1:]]
        self._shapes = shapes
        n_parameters = sum(torch.Size(shape).numel() for shape in shapes)
        self.parameters = torch.zeros(n_parameters, **self._options)
        self.gradient = torch.zeros(n_parameters, **self._options)
        self.weights, self.biases = self._split(self.parameters)
        self.weight_gradients, self.bias_gradients = self._split(self.gradient)
        self._flat_weights = self.parameters[: self.n_weights]
        single = n_networks == 1 and self._flat_weights.device.type == "cpu"
        self._weights_in_numpy = self._flat_weights.numpy() if single else None
        self._flat_gradient = self.gradient[: self.n_weights]
        # Views made once: making one costs as much as a small product.
        self._transposed = [weight.transpose(1, 2) for weight in self.weights]
        self._bias_rows = [bias[:, None] for bias in self.biases]
        self._buffers = {}
        self._squares = None

    @property
    def n_layers(self):
        """Number of weight matrices: hidden layers and the output layer."""
        return len(self.layer_sizes) - 1

    @property
    def n_weights(self):
        """Number of leading `parameters` that are weights; the rest are biases."""
        return sum(weight.numel() for weight in self.weights)

    def parameter_pieces(self, start, stop, apart):
        """Weights and biases of networks `start` to `stop`, for an optimiser.

        Parameters
        ----------
        start, stop : int
        apart : bool
            Whether weights and biases must not share a tensor.

        Returns
        -------
        pieces : list of (is_weight, list of parameters, list of gradients)
            Contiguous tensors, as few as the networks allow.
        """
        if (start, stop) == (0, self.n_networks):
            if not apart:
                return [(True, [self.parameters], [self.gradient])]
            n = self.n_weights
            return [
                (True, [self.parameters[:n]], [self.gradient[:n]]),
                (False, [self.parameters[n:]], [self.gradient[n:]]),
            ]
        pieces = [
            (True, self.weights, self.weight_gradients),
            (False, self.biases, self.bias_gradients),
        ]
        return [
            (is_weight, [p[start:stop] for p in parameters], [g[start:stop] for g in gradients])
            for is_weight, parameters, gradients in pieces
        ]

    def _split(self, flat):
        views = _views(flat, self._shapes)
        return views[: self.n_layers], views[self.n_layers :]

    def forward(self, x):
        """Outputs without dropout, before the output function.

        Parameters
        ----------
        x : tensor of shape (n_networks, n_rows, n_features), or (1, n_rows, n_features) for all

        Returns
        -------
        z : tensor of shape (n_networks, n_rows, n_outputs)
        """
        x = x.expand(self.n_networks, -1, -1)
        return forward(x, self.weights, self._bias_rows, self.activation)

    def step(self, x, y, weight, masks, z):
        """Forward and backward pass of one batch; leaves the derivative in `gradient`.

        The loss of a network is the sum over its rows of row weight times row loss; weights that
        sum to one make it a weighted mean.

        Parameters
        ----------
        x : tensor of shape (n_networks, n_rows, n_features)
            Inputs.
        y : tensor of shape (n_networks, n_rows, n_outputs)
            Targets.
        weight : tensor of shape (n_networks, n_rows, 1), or broadcast to it
            Weights of the rows.
        masks : StepMasks
            What dropout does in this step.
        z : tensor of shape (n_networks, n_rows, n_outputs)
            Receives the outputs before the output function, for the value of the loss.
        """
        n_rows = x.shape[1]
        buffers = self._buffers.get(n_rows)
        if buffers is None:
            widths = self.layer_sizes[1:]
            buffers = _Buffers(self.n_networks, n_rows, widths, self._options, self.activation)
            self._buffers[n_rows] = buffers
        if masks.layers[0] is not None:
            x = torch.mul(x, masks.layers[0])
        inputs = self._forward_dropped(x, masks, buffers, z)
        d = buffers.deltas[-1]
        self.loss.derivative(z, y, d)
        d.mul_(weight)
        self._backward(d, inputs, masks, buffers)

    def _affine(self, layer, x, scale, out):
        """Write ``scale * x @ weights + biases`` of one layer into `out`."""
        if self.n_networks == 1:
            torch.baddbmm(
                self._bias_rows[layer], x, self.weights[layer], alpha=scale.number, out=out
            )
        else:
            torch.bmm(x, self.weights[layer] * scale.vector, out=out)
            out.add_(self._bias_rows[layer])

    def _forward_dropped(self, x, masks, buffers, z):
        """Write the outputs into `z`; return what entered each layer.

        Returns
        -------
        inputs : list of pairs of tensors
            Input of each layer, dropped but not scaled, and the same with its axes swapped.
        """
        inputs = [(x, x.transpose(1, 2))]
        last = self.n_layers - 1
        for layer in range(last):
            total, active = buffers.sums[layer], buffers.active[layer]
            self._affine(layer, x, masks.scales[layer], total)
            self.activation.forward(total, active)
            if masks.layers[layer + 1] is not None:
                active.mul_(masks.layers[layer + 1])
            x = active
            inputs.append((x, buffers.transposed[layer]))
        self._affine(last, x, masks.scales[last], z)
        return inputs

    def _backward(self, d, inputs, masks, buffers):
        """Gradients of all layers from `d`, the derivative of the loss by the outputs.

        Where the sign of a dropped activation tells "active and kept", one comparison does for
        the derivatives of activation and dropout. Elsewhere the mask zeroes `d` first, so it does
        not matter that dropped activations are gone.
        """
        activation = self.activation
        for layer in range(self.n_layers - 1, -1, -1):
            (dropped, transposed), mask = inputs[layer], masks.layers[layer]
            torch.sum(d, 1, out=self.bias_gradients[layer])
            if mask is not None:
                d.mul_(masks.scales[layer].vector)
            torch.bmm(transposed, d, out=self.weight_gradients[layer])
            if layer == 0:
                return
            below = buffers.deltas[layer - 1]
            if self.layer_sizes[layer + 1] == 1:  # an outer product, which bmm does slowly
                torch.mul(d, self._transposed[layer], out=below)
            else:
                torch.bmm(d, self._transposed[layer], out=below)
            d = below
            if activation.gates:
                activation.backward(d, dropped)
                continue
            if mask is not None:
                d.mul_(mask)
            saved = buffers.active if activation.from_output else buffers.sums
            activation.backward(d, saved[layer - 1])

    def squared_norms(self):
        """Sum of squares of each network's weights: tensor or ndarray of shape (n_networks,)."""
        if self._weights_in_numpy is not None:  # where a small product costs less
            return np.dot(self._weights_in_numpy, self._weights_in_numpy)[None]
        return sum(weight.square().sum((1, 2)) for weight in self.weights)

    def add_penalty(self, decay):
        """Add the gradient of L2 penalties, ``decay * weights``, to the gradient.

        Parameters
        ----------
        decay : tensor of shape (n_networks, 1, 1), or float for all
        """
        if not torch.is_tensor(decay):
            self._flat_gradient.add_(self._flat_weights, alpha=decay)
            return
        for weight, gradient in zip(self.weights, self.weight_gradients):
            gradient.addcmul_(weight, decay)

    def load(self, network, weights, biases):
        """Set the parameters of one network of the stack from arrays."""
        pairs = list(zip(self.weights + self.biases, [*weights, *biases], strict=True))
        for ours, theirs in pairs:
            if ours.shape[1:] != theirs.shape:
                raise ValueError(f"Parameters of shape {theirs.shape} for {ours.shape[1:]}.")
        for ours, theirs in pairs:
            ours[network].copy_(torch.as_tensor(theirs))

    def save(self, into, which):
        """Copy the parameters of some networks into a tensor like `parameters`.

        Parameters
        ----------
        into : tensor of shape (n_parameters,)
        which : bool ndarray of shape (n_networks,)
        """
        if which.all():
            into.copy_(self.parameters)
        elif which.any():
            which = torch.from_numpy(which).to(into.device)
            for theirs, ours in zip(_views(into, self._shapes), self.weights + self.biases):
                theirs[which] = ours[which]

    def export(self, network):
        """Weights and biases of one network, as NumPy arrays that share no memory."""
        arrays = [p[network].cpu().numpy().copy() for p in self.weights + self.biases]
        return arrays[: self.n_layers], arrays[self.n_layers :]

    def clip_norms(self, max_norm):
        """Bound the L2 norm of each hidden unit's incoming weights, in place.

        Parameters
        ----------
        max_norm : tensor of shape (n_networks, 1, 1)
            Upper bounds; infinity leaves a network alone.

        References
        ----------
        Srivastava et al. 2014, section 5.1: dropout with max-norm regularisation.
        """
        if self._squares is None:
            self._squares = [torch.empty_like(weight) for weight in self.weights[:-1]]
        for weight, squares in zip(self.weights, self._squares):
            # torch.linalg.vector_norm over this axis takes ten times as long.
            norms = torch.mul(weight, weight, out=squares).sum(1, keepdim=True)
            weight.mul_(norms.rsqrt_().mul_(max_norm).clamp_max_(1.0))
