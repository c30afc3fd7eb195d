"""A convolutional network with dropout, its gradient written out.

One network is a stack of one: several at once take longer than one after another. Parameters have
the axis of networks all the same, so that the training loop need not know.
"""

from itertools import pairwise

import torch

from ._activations import ACTIVATIONS
from ._conv import ConvBlock, as_image, channels_last
from ._losses import LOSSES
from ._mlp import DenseLayers
from ._stack import Stack

# Values of the widest place that are computed at once without dropout.
_CHUNK_VALUES = 1 << 22


def make_blocks(layout, activation):
    """Arithmetic of the blocks of a layout."""
    sizes = as_image(layout.kernel_size), as_image(layout.pool_size)
    n_convs = layout.convs_per_block
    return [ConvBlock(n_convs, *sizes, layout.padding, activation) for _ in layout.filters]


def stages(weights, biases, layout, activation):
    """The network without dropout, in pieces that end where dropout may act.

    Parameters
    ----------
    weights, biases : lists of tensors
        Of one network: those of the convolutions, then those of the dense layers.
    layout : ConvLayout
    activation : Activation

    Returns
    -------
    stages : list of callables (x) -> x
        One for each block and each dense layer; the first takes samples as `arrange` returns
        them, the last gives the outputs before the output function.
    """
    n_convs = layout.convs_per_block
    found = []
    for number, block in enumerate(make_blocks(layout, activation)):
        own = slice(number * n_convs, (number + 1) * n_convs)
        found.append(_ConvStage(block, [_kernel(w) for w in weights[own]], biases[own]))
    n = len(found) * n_convs
    last = len(weights) - 1
    for place in range(n, len(weights)):
        hidden = activation if place < last else None
        found.append(_DenseStage(weights[place], biases[place], hidden))
    return found


class _ConvStage:
    def __init__(self, block, weights, biases):
        self.block, self.weights, self.biases = block, weights, biases

    def __call__(self, x):
        return self.block.forward(x, self.weights, self.biases)


class _DenseStage:
    def __init__(self, weight, bias, activation):
        self.weight, self.bias, self.activation = weight, bias, activation

    def __call__(self, x):
        z = torch.addmm(self.bias, x.flatten(1), self.weight)
        if self.activation is None:
            return z
        out = z if self.activation.from_output else torch.empty_like(z)
        self.activation.forward(z, out)
        return out


def _kernel(weight):
    """A weight (n_out, n_in, *kernel_size) as that of a convolution of images or volumes."""
    return weight.unsqueeze(2) if weight.dim() == 3 else weight


def arrange(x, input_shape):
    """Rows of a table as images or volumes with their channels innermost.

    Parameters
    ----------
    x : tensor of shape (n_rows, n_features)
    input_shape : tuple (channels, *positions)

    Returns
    -------
    x : tensor of shape (n_rows, channels, *positions), signals with a height of one
    """
    shape = (len(x), input_shape[0], *as_image(input_shape[1:]))
    return channels_last(shape, x).copy_(x.view(shape))


class StackedCNN(Stack):
    """A convolutional network, its parameters with a leading axis of length one.

    Weights are (n_out, n_in, *kernel_size) in convolutions, (n_in, n_out) in dense layers.

    Parameters
    ----------
    layout : ConvLayout
        Of the convolutions.
    dense_sizes : sequence of int
        Units of each hidden dense layer and of the output.
    activation : str, default="relu"
        Of the hidden units; a key of ``ACTIVATIONS``.
    loss : str, default="squared_error"
        A key of ``LOSSES``.
    dtype, device
        Of weights and arithmetic.
    """

    def __init__(
        self,
        layout,
        dense_sizes,
        *,
        activation="relu",
        loss="squared_error",
        dtype=torch.float32,
        device="cpu",
    ):
        self.layout = layout
        self.dense_sizes = tuple(dense_sizes)
        self.activation = ACTIVATIONS[activation]
        self.loss = LOSSES[loss]
        convs = layout.conv_shapes
        dense = list(pairwise((layout.n_outputs, *self.dense_sizes)))
        axes = [tuple(range(1, len(shape))) for shape in convs]
        super().__init__(
            convs + dense,
            [(shape[0],) for shape in convs] + [(n_out,) for _, n_out in dense],
            incoming_axes=axes + [0] * (len(dense) - 1),
            dtype=dtype,
            device=device,
        )
        self._n_convs = n = len(convs)
        self._blocks = make_blocks(layout, self.activation)
        self._dense = DenseLayers(
            self.weights[n:],
            self.biases[n:],
            self.weight_gradients[n:],
            self.bias_gradients[n:],
            self.activation,
            self.loss,
        )
        self._kernels = [_kernel(weight[0]) for weight in self.weights[:n]]
        self._kernel_gradients = [_kernel(weight[0]) for weight in self.weight_gradients[:n]]

    @property
    def values_per_row(self):
        """Values that training on one row touches."""
        return self.layout.widest + sum(self.dense_sizes)

    @property
    def multiplications_per_row(self):
        """Size of the forward pass of one row."""
        dense = sum(weight.numel() for weight in self.weights[self._n_convs :])
        return self.layout.n_multiplications + dense

    def forward(self, x):
        """Outputs without dropout, before the output function.

        Parameters
        ----------
        x : tensor of shape (1, n_rows, n_features)

        Returns
        -------
        z : tensor of shape (1, n_rows, n_outputs)
        """
        weights, biases = [w[0] for w in self.weights], [b[0] for b in self.biases]
        pieces = stages(weights, biases, self.layout, self.activation)
        parts = []
        for rows in x[0].split(max(1, _CHUNK_VALUES // self.layout.widest)):
            h = arrange(rows, self.layout.input_shape)
            for piece in pieces:
                h = piece(h)
            parts.append(h)
        return torch.cat(parts)[None]

    def step(self, x, y, weight, masks, z):
        """Forward and backward pass of one batch; leaves the derivative in `gradient`.

        Parameters
        ----------
        x : tensor of shape (1, n_rows, n_features)
            Inputs.
        y : tensor of shape (1, n_rows, n_outputs)
            Targets.
        weight : tensor of shape (1, n_rows, 1), or broadcast to it
            Weights of the rows.
        masks : CNNStepMasks
            What dropout does in this step.
        z : tensor of shape (1, n_rows, n_outputs)
            Receives the outputs before the output function, for the value of the loss.
        """
        tape = []
        h = arrange(x[0], self.layout.input_shape)
        masks.drop_inputs(h)
        weights = self._scaled_kernels(masks.scales)
        for block, (kernels, biases) in enumerate(zip(weights, self._of_blocks(self.biases))):
            h = self._blocks[block].forward(h, kernels, [bias[0] for bias in biases], tape)
            masks.drop_maps(h, block)
        scale = masks.scales[-1]
        flat = torch.empty((1, len(h), self.layout.n_outputs), dtype=h.dtype, device=h.device)
        torch.mul(h, scale, out=flat.view(h.shape))
        below = torch.empty_like(flat)
        self._dense.step(flat, y, weight, masks.dense, z, below)
        d = torch.mul(below.view(h.shape), scale, out=torch.empty_like(h))
        self._backward(d, weights, masks, tape)

    def _of_blocks(self, values):
        """Values of convolutions, cut into those of each block."""
        n = self.layout.convs_per_block
        return [values[start : start + n] for start in range(0, self._n_convs, n)]

    def _scaled_kernels(self, scales):
        """Weights that make up for what dropout leaves of the input of each block."""
        blocks = self._of_blocks(self._kernels)
        return [
            [first if scale == 1.0 else first * scale, *others]
            for (first, *others), scale in zip(blocks, scales)
        ]

    def _backward(self, d, weights, masks, tape):
        """Gradients of all convolutions from `d`, the derivative by what the last block left."""
        kernels = self._of_blocks(self._kernel_gradients)
        biases = self._of_blocks(self.bias_gradients)
        for number in range(len(self._blocks) - 1, -1, -1):
            block = self._blocks[number]
            if block.needs_masks:
                masks.drop_maps(d, number)
            d, gradients = block.backward(d, weights[number], tape, number > 0)
            for place, (d_weight, d_bias) in enumerate(gradients):
                scale = masks.scales[number] if place == 0 else 1.0
                torch.mul(d_weight, scale, out=kernels[number][place])
                biases[number][place][0].copy_(d_bias)
