"""The textbook version in float32 NumPy: whole-array expressions, products through NumPy's BLAS."""

import numpy as np

from ._loop import LoopTrainer
from ._problem import WEIGHTS, Array, Parameters, Problem


class NumpyTrainer(LoopTrainer):
    """Forward, backward and Adam as a textbook writes them; LN on (B*d, 1) rows, LCN as a stack of products."""

    def _activate(self, z: Array) -> Array:
        # In place: z is a fresh product, and a pass less over memory is what any user of NumPy would take.
        if self.problem.activation == "relu":
            return np.maximum(z, 0, out=z)
        if self.problem.activation == "tanh":
            return np.tanh(z, out=z)
        np.exp(np.negative(z, out=z), out=z)
        z += 1
        np.reciprocal(z, out=z)
        return z

    def _back(self, dh: Array, h: Array) -> Array:
        if self.problem.activation == "relu":
            return dh * (h > 0)
        slope: Array = 1 - h * h if self.problem.activation == "tanh" else h * (1 - h)
        return dh * slope

    def _forward(self, x: Array) -> tuple[Array, Array, Array]:
        p, d = self._p, self.problem.d
        if self.problem.network == "GN":
            h1 = self._activate(x @ p["w1"].T + p["b1"])
            h2 = self._activate(h1 @ p["w2"].T + p["b2"])
            return h1, h2, h2 @ p["w3"] / np.float32(d)
        if self.problem.network == "LN":
            h1 = self._activate(x.reshape(-1, 1) * p["w1"] + p["b1"])  # (B*d, alpha)
            h2 = self._activate(h1 @ p["w2"].T + p["b2"])
            return h1, h2, (h2 @ p["w3"]).reshape(-1, d).sum(axis=1) / np.float32(d)
        h1 = self._activate(x.T[:, :, None] * p["w1"][:, None, :] + p["b1"][:, None, :])  # (d, B, alpha)
        h2 = self._activate(h1 @ p["w2"].transpose(0, 2, 1) + p["b2"][:, None, :])
        return h1, h2, (h2 @ p["w3"][:, :, None])[:, :, 0].sum(axis=0) / np.float32(d)

    def _gradient(self, x: Array, y: Array) -> tuple[float, Parameters]:
        p, problem = self._p, self.problem
        h1, h2, f = self._forward(x)
        error = f - y
        r = error * np.float32(2.0 / (len(x) * problem.d))  # (B,)
        g: Parameters = {}
        if problem.network == "LCN":
            g["w3"] = (h2.transpose(0, 2, 1) @ r[:, None])[:, :, 0]
            dz2 = self._back(r[None, :, None] * p["w3"][:, None, :], h2)
            g["w2"], g["b2"] = dz2.transpose(0, 2, 1) @ h1, dz2.sum(axis=1)
            dz1 = self._back(dz2 @ p["w2"], h1)
            g["w1"], g["b1"] = (dz1.transpose(0, 2, 1) @ x.T[:, :, None])[:, :, 0], dz1.sum(axis=1)
        else:
            if problem.network == "LN":
                r = np.repeat(r, problem.d)  # every input of a row gets the row's residual
            g["w3"] = r @ h2
            dz2 = self._back(r[:, None] * p["w3"], h2)
            g["w2"], g["b2"] = dz2.T @ h1, dz2.sum(axis=0)
            dz1 = self._back(dz2 @ p["w2"], h1)
            g["w1"] = x.reshape(-1) @ dz1 if problem.network == "LN" else dz1.T @ x
            g["b1"] = dz1.sum(axis=0)
        return float(error @ error) / len(x) + self._penalize(g), g

    def _penalize(self, g: Parameters) -> float:
        """Adds the penalty's gradient to g and returns the penalty."""
        p, problem = self._p, self.problem
        strength = np.float32(problem.strength)
        if problem.penalty == "l1":
            for k in WEIGHTS:
                g[k] += strength * np.sign(p[k])
            return problem.strength * sum(float(np.abs(p[k]).sum()) for k in WEIGHTS)
        if problem.penalty == "l2":
            for k in WEIGHTS:
                g[k] += 2 * strength * p[k]
            return problem.strength * sum(float(np.vdot(p[k], p[k])) for k in WEIGHTS)
        if problem.penalty == "path-norm":
            return self._penalize_paths(g)
        return 0.0

    def _penalize_paths(self, g: Parameters) -> float:
        p, problem = self._p, self.problem
        a1, a2, a3 = (np.abs(p[k]) for k in WEIGHTS)
        c = a1.sum(axis=1) if problem.network == "GN" else a1
        blocks = problem.d if problem.network == "LN" else 1  # the embedded GN holds the one block d times
        factor = np.float32(problem.strength * blocks / problem.d)
        q = (a2 @ c[..., None])[..., 0]
        e = (a3[..., None, :] @ a2)[..., 0, :]
        g["w1"] += factor * np.sign(p["w1"]) * (e[:, None] if problem.network == "GN" else e)
        g["w2"] += factor * np.sign(p["w2"]) * a3[..., :, None] * c[..., None, :]
        g["w3"] += factor * np.sign(p["w3"]) * q
        return float(factor) * float((a3 * q).sum())

    def _adam(self, g: Parameters) -> None:
        o = self.problem.optimizer
        self._t += 1
        c1, c2 = 1 - o.beta1**self._t, 1 - o.beta2**self._t
        # p -= lr mhat / (sqrt(vhat) + eps), with the scalars taken out of the arrays
        size, epsilon = np.float32(o.learning_rate * c2**0.5 / c1), np.float32(o.epsilon)
        if o.placement == "corrected":
            epsilon = np.float32(o.epsilon * c2**0.5)
        for k in self._p:
            p, m, v = self._p[k], self._m[k], self._v[k]
            m *= np.float32(o.beta1)
            m += np.float32(1 - o.beta1) * g[k]
            v *= np.float32(o.beta2)
            v += np.float32(1 - o.beta2) * (g[k] * g[k])
            p -= size * m / (np.sqrt(v) + epsilon)

    def loss_and_grad(self) -> tuple[float, Parameters]:
        return self._gradient(self.problem.train_x[: self.problem.batch], self.problem.train_y[: self.problem.batch])

    def _step(self, x: Array, y: Array) -> None:
        self._adam(self._gradient(x, y)[1])

    def _predict(self, x: Array) -> Array:
        return self._forward(x)[2]


class NumpyPeer:
    """Textbook NumPy; the number of threads is that of NumPy's BLAS, set for the process."""

    name = "NumPy"

    def available(self) -> str | None:
        return None

    def version(self) -> str:
        return f"numpy {np.__version__}"

    def prepare(self, problem: Problem, threads: int) -> NumpyTrainer:  # noqa: ARG002  set for the process
        return NumpyTrainer(problem)
