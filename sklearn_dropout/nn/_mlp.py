"""Many perceptrons in one set of weights, with the gradient written out.

A single network is a stack of one: a batched matrix product over one network costs what a plain
one does, and the layers of hundreds of small networks cost little more than one layer of one.
The gradient is explicit because for networks of this size automatic differentiation costs more
than the arithmetic; tests hold it to autograd's.
"""

from itertools import pairwise

import torch

from ._activations import ACTIVATIONS
from ._losses import LOSSES
from ._stack import Stack


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


class DenseLayers:
    """The arithmetic of dense layers with dropout between them, on parameters held elsewhere.

    Parameters
    ----------
    weights, weight_gradients : lists of tensors of shape (n_networks, n_in, n_out)
    biases, bias_gradients : lists of tensors of shape (n_networks, n_out)
        Of each layer; the last one is the output layer.
    activation : Activation
        Of the hidden units.
    loss : Loss
    """

    def __init__(self, weights, biases, weight_gradients, bias_gradients, activation, loss):
        self.weights = weights
        self.weight_gradients = weight_gradients
        self.bias_gradients = bias_gradients
        self.activation = activation
        self.loss = loss
        self.n_networks = len(weights[0])
        self.widths = [weight.shape[2] for weight in weights]
        # Views made once: making one costs as much as a small product.
        self._transposed = [weight.transpose(1, 2) for weight in weights]
        self._bias_rows = [bias[:, None] for bias in biases]
        self._buffers = {}

    def forward(self, x):
        """Outputs without dropout: see the function of this name."""
        return forward(x, self.weights, self._bias_rows, self.activation)

    def step(self, x, y, weight, masks, z, below=None):
        """Forward and backward pass of one batch; writes the gradients.

        Parameters
        ----------
        x, y, weight, masks, z : as for ``StackedMLP.step``
        below : tensor like `x`, default=None
            Receives the derivative of the loss by `x`, where that has no dropout here.
        """
        n_rows = x.shape[1]
        buffers = self._buffers.get(n_rows)
        if buffers is None:
            options = {"dtype": x.dtype, "device": x.device}
            buffers = _Buffers(self.n_networks, n_rows, self.widths, options, self.activation)
            self._buffers[n_rows] = buffers
        if masks.layers[0] is not None:
            x = torch.mul(x, masks.layers[0])
        inputs = self._forward_dropped(x, masks, buffers, z)
        d = buffers.deltas[-1]
        self.loss.derivative(z, y, d)
        d.mul_(weight)
        self._backward(d, inputs, masks, buffers, below)

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
        last = len(self.weights) - 1
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

    def _backward(self, d, inputs, masks, buffers, into):
        """Gradients of all layers from `d`, the derivative of the loss by the outputs.

        Where the sign of a dropped activation tells "active and kept", one comparison does for
        the derivatives of activation and dropout. Elsewhere the mask zeroes `d` first, so it does
        not matter that dropped activations are gone.
        """
        activation = self.activation
        for layer in range(len(self.weights) - 1, -1, -1):
            (dropped, transposed), mask = inputs[layer], masks.layers[layer]
            torch.sum(d, 1, out=self.bias_gradients[layer])
            if mask is not None:
                d.mul_(masks.scales[layer].vector)
            torch.bmm(transposed, d, out=self.weight_gradients[layer])
            below = buffers.deltas[layer - 1] if layer else into
            if below is None:
                return
            if self.widths[layer] == 1:  # an outer product, which bmm does slowly
                torch.mul(d, self._transposed[layer], out=below)
            else:
                torch.bmm(d, self._transposed[layer], out=below)
            if layer == 0:
                return
            d = below
            if activation.gates:
                activation.backward(d, dropped)
                continue
            if mask is not None:
                d.mul_(mask)
            saved = buffers.active if activation.from_output else buffers.sums
            activation.backward(d, saved[layer - 1])


class StackedMLP(Stack):
    """`n_networks` multilayer perceptrons of one architecture; weights are (n_in, n_out).

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
        self.activation = ACTIVATIONS[activation]
        self.loss = LOSSES[loss]
        shapes = list(pairwise(self.layer_sizes))
        super().__init__(
            shapes,
            [(n_out,) for _, n_out in shapes],
            incoming_axes=[0] * (len(shapes) - 1),
            n_networks=n_networks,
            dtype=dtype,
            device=device,
        )
        self._layers = DenseLayers(
            self.weights,
            self.biases,
            self.weight_gradients,
            self.bias_gradients,
            self.activation,
            self.loss,
        )

    @property
    def n_layers(self):
        """Number of weight matrices: hidden layers and the output layer."""
        return len(self.layer_sizes) - 1

    @property
    def values_per_row(self):
        """Values that training on one row of one network touches."""
        return sum(self.layer_sizes)

    @property
    def multiplications_per_row(self):
        """Size of the forward pass of one row of all networks."""
        return self.n_weights

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
        return self._layers.forward(x)

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
        self._layers.step(x, y, weight, masks, z)
