"""Recurrent networks as operators of an ONNX graph."""

import torch
from torch import nn

from ..nn.recurrent.layers import GRU, LSTM, SimpleRNN

# Order of PyTorch's gates in ONNX: LSTM input, output, forget, cell; GRU update, reset, new.
_GATES = {LSTM: [0, 3, 1, 2], GRU: [1, 0, 2]}
_OPERATORS = {LSTM: "LSTM", GRU: "GRU"}
# Activations of simple cells. Affine is alpha * x + beta.
_ACTIVATIONS = {
    nn.Tanh: {"activations": ["Tanh"]},
    nn.ReLU: {"activations": ["Relu"]},
    nn.Sigmoid: {"activations": ["Sigmoid"]},
    nn.ELU: {"activations": ["Elu"], "activation_alpha": [1.0]},
    nn.Identity: {"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]},
}
_NONLINEARITIES = {"tanh": nn.Tanh, "relu": nn.ReLU}


def add_recurrent(graph, network):
    """Append the operators from sequences to the last state of the last layer.

    Parameters
    ----------
    graph : Graph
    network : RecurrentLayers
        Of a `module_`.
    """
    lengths = []
    if network.n_tokens is None:
        graph.add("Reshape", graph.constant([0, -1, network.n_channels]))
        if network.mask_value is not None:
            lengths = _add_masking(graph, network)
    else:
        lengths = _add_embedding(graph, network)
    graph.add("Transpose", perm=[1, 0, 2])  # ONNX has the steps first
    for layer in network.recurrent_layers():
        last = _add_layer(graph, layer, lengths)
    graph.last = last
    graph.add("Transpose", perm=[1, 0, 2])
    graph.add("Reshape", graph.constant([0, -1]))


def _add_embedding(graph, network):
    """Append the embedding, with padding at the end; return the name of the lengths, if any."""
    (tokens,), lengths = graph.cast("INT64"), []
    if network.mask_zero:
        graph.add("Equal", graph.constant(0))
        (padding,) = graph.cast("INT64")
        lengths = [_lengths(graph, padding)]
        places = _left_aligned(graph, padding)
        graph.last = tokens
        (tokens,) = graph.add("GatherElements", places, axis=1)
    graph.last = graph.constant(network.embedding.weight.detach().numpy())
    graph.add("Gather", tokens, axis=0)
    return lengths


def _add_masking(graph, network):
    """Append the steps, with padding at the end as zeros; return the name of the lengths."""
    steps = graph.last
    if network.mask_value != network.mask_value:
        graph.add("IsNaN")
    else:
        graph.add("Equal", graph.constant(network.mask_value))
    graph.cast("INT64")
    graph.add("ReduceSum", graph.constant([2]), keepdims=0)
    graph.add("Equal", graph.constant(network.n_channels))  # a step is padded in all channels
    (padding,) = graph.cast("INT64")
    lengths = [_lengths(graph, padding)]
    _left_aligned(graph, padding)
    (places,) = graph.add("Unsqueeze", graph.constant([2]))
    graph.last = steps
    (shape,) = graph.add("Shape")
    graph.last = places
    (places,) = graph.add("Expand", shape)
    graph.last = padding
    graph.add("Unsqueeze", graph.constant([2]))
    (padding,) = graph.cast("BOOL")
    graph.add("Where", graph.constant(0.0), steps)
    graph.add("GatherElements", places, axis=1)
    return lengths


def _lengths(graph, padding):
    """Name of the number of steps of each row."""
    graph.last = padding
    graph.add("Neg")
    graph.add("Add", graph.constant(1))
    graph.add("ReduceSum", graph.constant([1]), keepdims=0)
    return graph.cast("INT32")[0]


def _left_aligned(graph, padding):
    """Name of the indices of each row's steps in order, followed by those of its padding.

    ONNX has no stable sort: keys are the indices, and larger than any index for padding.
    """
    graph.last = padding
    graph.add("Shape")
    (n_steps,) = graph.add("Gather", graph.constant([1]), axis=0)
    graph.last = padding
    graph.add("Mul", graph.constant(0))
    graph.add("Add", graph.constant(1))
    (places,) = graph.add("CumSum", graph.constant(1))
    graph.last = padding
    graph.add("Mul", graph.constant(1 << 40))
    graph.add("Add", places)
    graph.last = graph.add("TopK", n_steps, n_outputs=2, axis=1, largest=0, sorted=1)[1]
    return graph.last


def _add_layer(graph, layer, lengths):
    """Append a layer of shape (n_steps, n_samples, n_in) to (n_steps, n_samples, n_out).

    Returns
    -------
    last : str
        Name of the last states, of shape (n_directions, n_samples, n_units).
    """
    attributes = {
        "hidden_size": layer.weight_hh_l0.shape[1],
        "direction": "bidirectional" if layer.bidirectional else "forward",
    }
    if isinstance(layer, GRU):
        attributes["linear_before_reset"] = 1
    elif not isinstance(layer, LSTM):
        attributes |= _activation(layer)
    operator = _OPERATORS.get(type(layer), "RNN")
    last = graph.add(operator, *_parameters(graph, layer), *lengths, n_outputs=2, **attributes)[1]
    graph.add("Transpose", perm=[0, 2, 1, 3])  # the directions side by side
    graph.add("Reshape", graph.constant([0, 0, -1]))
    return last


def _activation(layer):
    simple = isinstance(layer, SimpleRNN)
    kind = type(layer.activation) if simple else _NONLINEARITIES[layer.nonlinearity]
    if kind not in _ACTIVATIONS:
        raise NotImplementedError(
            f"Recurrent {kind.__name__} units cannot be converted for skl2onnx: ONNX has no such "
            "activation for cell='rnn'. Export the network alone with torch.onnx.export and "
            "`module_`."
        )
    return {name: value * (1 + layer.bidirectional) for name, value in _ACTIVATIONS[kind].items()}


def _parameters(graph, layer):
    """Names of weights of inputs, of states, and biases, each with the directions first."""

    def gates(name):
        parts = [getattr(layer, name + end).detach() for end in layer.suffixes]
        n_gates = len(parts[0]) // layer.weight_hh_l0.shape[1]
        order = _GATES.get(type(layer), [0])
        return torch.stack(
            [torch.cat([part.chunk(n_gates)[gate] for gate in order]) for part in parts]
        )

    biases = torch.cat([gates("bias_ih_l0"), gates("bias_hh_l0")], 1)
    arrays = gates("weight_ih_l0"), gates("weight_hh_l0"), biases
    return [graph.constant(array.numpy()) for array in arrays]
