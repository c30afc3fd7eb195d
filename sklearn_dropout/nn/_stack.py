"""The parameters of a stack of networks: flat for the optimiser, in layers for the arithmetic."""

import numpy as np
import torch


def _views(flat, shapes):
    """Consecutive pieces of a flat tensor, in the given shapes."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    return [piece.view(shape) for piece, shape in zip(flat.split(sizes), shapes, strict=True)]


class Stack:
    """Weights and biases of `n_networks` networks of one architecture, with their gradient.

    A kind of network derives from it and adds, beside its arithmetic, what the training loop
    asks for: ``loss``, ``values_per_row``, ``multiplications_per_row``, ``forward(x)`` and
    ``step(x, y, weight, masks, z)``.

    Parameters
    ----------
    weight_shapes, bias_shapes : lists of tuples of int
        Of one network, from the input to the output.
    incoming_axes : list of int, tuple of int or None
        For each of the first weights, the axes that the incoming weights of a unit are summed
        over by max-norm; None for weights that it leaves alone, as the last ones are.
    n_networks : int, default=1
        Networks in the stack. It is the first axis of every array below.
    dtype, device
        Of weights and arithmetic.

    Attributes
    ----------
    parameters, gradient : tensors of shape (n_parameters,)
        All weights of all networks, then all biases, without gaps: what an optimiser updates.
    weights, biases, weight_gradients, bias_gradients : lists of tensors
        Views of these, of the given shapes behind the axis of the networks.
    uses_autograd : bool
        Whether `step` records operations, for which its tensors must not be of inference mode.
    """

    uses_autograd = False

    def __init__(
        self,
        weight_shapes,
        bias_shapes,
        incoming_axes,
        *,
        n_networks=1,
        dtype=torch.float32,
        device="cpu",
    ):
        self.n_networks = n_networks
        self._options = {"dtype": dtype, "device": device}
        self._shapes = [(n_networks, *shape) for shape in [*weight_shapes, *bias_shapes]]
        self._n_biases = len(bias_shapes)
        n_parameters = sum(torch.Size(shape).numel() for shape in self._shapes)
        self.parameters = torch.zeros(n_parameters, **self._options)
        self.gradient = torch.zeros(n_parameters, **self._options)
        self.weights, self.biases = self._split(self.parameters)
        self.weight_gradients, self.bias_gradients = self._split(self.gradient)
        self._flat_weights = self.parameters[: self.n_weights]
        self._flat_gradient = self.gradient[: self.n_weights]
        single = n_networks == 1 and self._flat_weights.device.type == "cpu"
        self._weights_in_numpy = self._flat_weights.numpy() if single else None
        self._bounded = [
            (weight, [axis + 1 for axis in np.atleast_1d(axes)])
            for weight, axes in zip(self.weights, incoming_axes)
            if axes is not None
        ]
        self._squares = None

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
        n = len(views) - self._n_biases
        return views[:n], views[n:]

    def squared_norms(self):
        """Sum of squares of each network's weights: tensor or ndarray of shape (n_networks,)."""
        if self._weights_in_numpy is not None:  # where a small product costs less
            return np.dot(self._weights_in_numpy, self._weights_in_numpy)[None]
        return sum(weight.square().flatten(1).sum(1) for weight in self.weights)

    def add_penalty(self, decay):
        """Add the gradient of L2 penalties, ``decay * weights``, to the gradient.

        Parameters
        ----------
        decay : tensor of shape (n_networks,), or float for all
        """
        if not torch.is_tensor(decay):
            self._flat_gradient.add_(self._flat_weights, alpha=decay)
            return
        for weight, gradient in zip(self.weights, self.weight_gradients):
            gradient.addcmul_(weight, decay.view(-1, *[1] * (weight.dim() - 1)))

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

    def select(self, flat, places):
        """The part of some networks of a tensor like `parameters`, in the same order.

        Parameters
        ----------
        flat : tensor of shape (n_parameters,)
        places : list of int
        """
        return torch.cat([view[places].ravel() for view in _views(flat, self._shapes)])

    def export(self, network):
        """Weights and biases of one network, as NumPy arrays that share no memory."""
        arrays = [p[network].cpu().numpy().copy() for p in self.weights + self.biases]
        n = len(self.weights)
        return arrays[:n], arrays[n:]

    def clip_norms(self, max_norm):
        """Bound the L2 norm of each hidden unit's incoming weights, in place.

        Parameters
        ----------
        max_norm : tensor of shape (n_networks,)
            Upper bounds; infinity leaves a network alone.

        References
        ----------
        Srivastava et al. 2014, section 5.1: dropout with max-norm regularisation.
        """
        if self._squares is None:
            self._squares = [torch.empty_like(weight) for weight, _ in self._bounded]
        for (weight, axes), squares in zip(self._bounded, self._squares):
            # torch.linalg.vector_norm over this axis takes ten times as long.
            norms = torch.mul(weight, weight, out=squares).sum(axes, keepdim=True)
            bound = max_norm.view(-1, *[1] * (weight.dim() - 1))
            weight.mul_(norms.rsqrt_().mul_(bound).clamp_max_(1.0))
