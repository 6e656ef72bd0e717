"""The same training in plain float64 NumPy: what every side is checked against. Short and slow, on purpose."""

import numpy as np

from ._problem import WEIGHTS, Array, Optimizer, Parameters, Problem


def _activate(problem: Problem, z: Array) -> Array:
    if problem.activation == "relu":
        return np.maximum(z, 0.0)
    return np.tanh(z) if problem.activation == "tanh" else 1.0 / (1.0 + np.exp(-z))


def _slope(problem: Problem, h: Array) -> Array:
    if problem.activation == "relu":
        return (h > 0.0).astype(h.dtype)
    return 1.0 - h * h if problem.activation == "tanh" else h * (1.0 - h)


def _stacked(problem: Problem, p: Parameters) -> Parameters:
    """Parameters with a leading axis of blocks: LN repeats its one block d times, GN is one block."""
    if problem.network == "LCN":
        return {**p, "w1": p["w1"][:, :, None]}
    if problem.network == "GN":
        return {k: v[None] for k, v in p.items()}
    p = {**p, "w1": p["w1"][:, None]}
    return {k: np.broadcast_to(v, (problem.d, *v.shape)) for k, v in p.items()}


def _unstacked(problem: Problem, g: Parameters) -> Parameters:
    if problem.network == "LCN":
        return {**g, "w1": g["w1"][:, :, 0]}
    if problem.network == "GN":
        return {k: v[0] for k, v in g.items()}
    g = {k: v.sum(axis=0) for k, v in g.items()}  # one block, used d times
    return {**g, "w1": g["w1"][:, 0]}


def path_norm(problem: Problem, p: Parameters) -> float:
    """Equation 22 of the paper: (1/d) sum |w1_ji| |w2_kj| |w3_k|; that of the embedded GN for LN and LCN."""
    s = _stacked(problem, {k: np.abs(p[k]) for k in WEIGHTS})
    return float(np.einsum("gji,gkj,gk->", s["w1"], s["w2"], s["w3"], optimize=True) / problem.d)


def penalty_and_gradient(problem: Problem, p: Parameters) -> tuple[float, Parameters]:
    """The penalty times its strength, and its gradient by the weights; sign(0) = 0."""
    strength, weights = problem.strength, {k: p[k] for k in WEIGHTS}
    if problem.penalty == "l1":
        value = strength * sum(float(np.abs(w).sum()) for w in weights.values())
        return value, {k: strength * np.sign(w) for k, w in weights.items()}
    if problem.penalty == "l2":
        value = strength * sum(float((w * w).sum()) for w in weights.values())
        return value, {k: 2.0 * strength * w for k, w in weights.items()}
    if problem.penalty == "path-norm":
        s = _stacked(problem, weights)
        a1, a2, a3 = (np.abs(s[k]) for k in WEIGHTS)
        c, e = a1.sum(axis=2), np.einsum("gk,gkj->gj", a3, a2)
        factor = strength / problem.d
        g = {
            "w1": factor * np.sign(s["w1"]) * e[:, :, None],
            "w2": factor * np.sign(s["w2"]) * a3[:, :, None] * c[:, None, :],
            "w3": factor * np.sign(s["w3"]) * np.einsum("gkj,gj->gk", a2, c),
        }
        return strength * path_norm(problem, p), _unstacked(problem, g)
    return 0.0, {}


def _forward(problem: Problem, s: Parameters, x: Array) -> tuple[Array, Array, Array, Array]:
    """Blocks' inputs (blocks, n, in), both hidden layers (blocks, n, width), and f (n,)."""
    inputs = x[None] if problem.network == "GN" else x.T[:, :, None]
    h1 = _activate(problem, inputs @ s["w1"].transpose(0, 2, 1) + s["b1"][:, None, :])
    h2 = _activate(problem, h1 @ s["w2"].transpose(0, 2, 1) + s["b2"][:, None, :])
    return inputs, h1, h2, (h2 @ s["w3"][:, :, None])[:, :, 0].sum(axis=0) / problem.d


def forward(problem: Problem, parameters: Parameters, x: Array) -> Array:
    """f(x), shape (n,), in float64."""
    s = _stacked(problem, {k: v.astype(np.float64) for k, v in parameters.items()})
    return _forward(problem, s, x.astype(np.float64))[3]


def pre_activations(problem: Problem, parameters: Parameters, x: Array) -> list[tuple[Array, Array, int]]:
    """Of each hidden layer in float64: z, the root of the summed squares of its terms, and how many terms it has.

    Both arrays are (blocks, n, width); the bias is a term.
    """
    s = _stacked(problem, {k: v.astype(np.float64) for k, v in parameters.items()})
    inputs, h1, _, _ = _forward(problem, s, x.astype(np.float64))
    found = []
    for h, w, b in ((inputs, s["w1"], s["b1"]), (h1, s["w2"], s["b2"])):
        z = h @ w.transpose(0, 2, 1) + b[:, None, :]
        squares = (h * h) @ (w * w).transpose(0, 2, 1) + (b * b)[:, None, :]
        found.append((z, np.sqrt(squares), w.shape[2] + 1))
    return found


def loss_and_grad(problem: Problem, parameters: Parameters, x: Array, y: Array) -> tuple[float, Parameters]:
    """Mean squared error plus penalty on the rows x, and its gradient, in float64."""
    p = {k: v.astype(np.float64) for k, v in parameters.items()}
    s = _stacked(problem, p)
    inputs, h1, h2, f = _forward(problem, s, x.astype(np.float64))
    error = f - y.astype(np.float64)
    r = 2.0 * error / (len(x) * problem.d)
    dz2 = r[None, :, None] * s["w3"][:, None, :] * _slope(problem, h2)
    dz1 = (dz2 @ s["w2"]) * _slope(problem, h1)
    gradient = _unstacked(
        problem,
        {
            "w1": dz1.transpose(0, 2, 1) @ inputs,
            "b1": dz1.sum(axis=1),
            "w2": dz2.transpose(0, 2, 1) @ h1,
            "b2": dz2.sum(axis=1),
            "w3": (h2 * r[None, :, None]).sum(axis=1),
        },
    )
    value, extra = penalty_and_gradient(problem, p)
    for name, g in extra.items():
        gradient[name] = gradient[name] + g
    return float(np.mean(error**2)) + value, gradient


def adam(o: Optimizer, t: int, p: Array, g: Array, m: Array, v: Array) -> None:
    """Step t (from 1) in place on float64 arrays, by the formulas of `Optimizer`."""
    m[...] = o.beta1 * m + (1.0 - o.beta1) * g
    v[...] = o.beta2 * v + (1.0 - o.beta2) * g * g
    c1, c2 = 1.0 - o.beta1**t, 1.0 - o.beta2**t
    if o.placement == "corrected":
        p -= o.learning_rate * (m / c1) / (np.sqrt(v / c2) + o.epsilon)
    else:
        p -= o.learning_rate * np.sqrt(c2) / c1 * m / (np.sqrt(v) + o.epsilon)


def first_step(problem: Problem, gradient: Parameters) -> Parameters:
    """Parameters after Adam's first step on a given gradient plus that of the penalty."""
    p = {k: v.astype(np.float64) for k, v in problem.initial.items()}
    extra = penalty_and_gradient(problem, p)[1]
    for name, value in p.items():
        g = gradient[name].astype(np.float64) + extra.get(name, 0.0)
        adam(problem.optimizer, 1, value, g, np.zeros_like(g), np.zeros_like(g))
    return p


def train(problem: Problem, steps: int) -> Parameters:
    """Parameters after `steps` steps over the batches in their order."""
    p = {k: v.astype(np.float64) for k, v in problem.initial.items()}
    m = {k: np.zeros_like(v) for k, v in p.items()}
    v2 = {k: np.zeros_like(v) for k, v in p.items()}
    for t in range(1, steps + 1):
        first = (t - 1) % problem.batches * problem.batch
        rows = slice(first, first + problem.batch)
        _, g = loss_and_grad(problem, p, problem.train_x[rows], problem.train_y[rows])
        for name, value in p.items():
            adam(problem.optimizer, t, value, g[name], m[name], v2[name])
    return p
