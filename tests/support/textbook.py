"""The network, its loss and its gradient as a textbook writes them, in NumPy, in the precision of the arrays given.

The float32 version is the measure of accuracy: a kernel may have at most twice its error, both against float64.
"""

import numpy as np

ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, z.dtype.type(0)), lambda z, h: (z > 0).astype(z.dtype)),
    "tanh": (np.tanh, lambda z, h: 1 - h * h),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z, h: h * (1 - h)),
}


def blocks_of(net, p):
    """Weights and biases of every block, each with leading axis "block", shared ones repeated.

    In the order [w1, b1, (w2, b2,) out].
    """
    block_in = getattr(net, "block_in", net.d)
    blocks = net.d // block_in
    width = p["b1"].shape[-1]
    names = ["w1", "b1", "w2", "b2", "w3"] if net.hidden_layers == 2 else ["w1", "b1", "w2"]
    shapes = [(width, block_in), (width,), (width, width), (width,), (width,)]
    if net.hidden_layers == 1:
        shapes = [*shapes[:2], (width,)]
    return [
        np.broadcast_to(p[name].reshape(-1, *shape), (blocks, *shape))
        for name, shape in zip(names, shapes, strict=True)
    ]


def forward_trace(net, p, x):
    act, _ = ACTIVATIONS[net.activation]
    tensors = blocks_of(net, p)
    blocks = len(tensors[0])
    xs = x.reshape(len(x), blocks, -1).transpose(1, 0, 2)  # (block, row, block_in)
    z1 = xs @ tensors[0].transpose(0, 2, 1) + tensors[1][:, None]
    layers = [(z1, act(z1))]
    if net.hidden_layers == 2:
        z2 = layers[0][1] @ tensors[2].transpose(0, 2, 1) + tensors[3][:, None]
        layers.append((z2, act(z2)))
    out = (layers[-1][1] @ tensors[-1][:, :, None])[..., 0].sum(axis=0)
    return xs, layers, out / x.dtype.type(net.d)


def forward(net, p, x):
    return forward_trace(net, p, x)[2]


def loss_and_grad(net, p, x, y):
    """Mean squared error and its gradient, no penalty."""
    _, derivative = ACTIVATIONS[net.activation]
    tensors = blocks_of(net, p)
    xs, layers, f = forward_trace(net, p, x)
    error = f - y
    residual = (2 * error / x.dtype.type(len(x) * net.d))[None, :, None]  # (1, row, 1)
    z, h = layers[-1]
    grads = [(h.transpose(0, 2, 1) @ np.broadcast_to(residual, (len(h), len(x), 1)))[..., 0]]
    dz = residual * tensors[-1][:, None] * derivative(z, h)
    if net.hidden_layers == 2:
        z1, h1 = layers[0]
        grads = [dz.transpose(0, 2, 1) @ h1, dz.sum(axis=1), *grads]
        dz = (dz @ tensors[2]) * derivative(z1, h1)
    grads = [dz.transpose(0, 2, 1) @ xs, dz.sum(axis=1), *grads]
    shared = net.parameter_shapes["b1"] == p["b1"].shape and p["b1"].ndim == 1 and len(tensors[0]) > 1
    if shared:
        grads = [g.sum(axis=0) for g in grads]
    return float(np.mean(error * error)), {
        name: g.reshape(shape) for (name, shape), g in zip(net.parameter_shapes.items(), grads, strict=True)
    }


def flat(p):
    return np.concatenate([np.ravel(a) for a in p.values()])


def relative_error(g, truth):
    """Euclidean norm of the difference of two gradients, over the norm of the truth."""
    a, b = flat(g).astype(np.float64), flat(truth).astype(np.float64)
    distance = np.linalg.norm(a - b)
    return float(distance / np.linalg.norm(b)) if distance > 0 else 0.0


def worst_relative_error(g, truth):
    """The largest relative error of a tensor: a small one does not hide behind the others."""
    assert list(g) == list(truth)
    return max(relative_error({name: g[name]}, {name: truth[name]}) for name in truth)
