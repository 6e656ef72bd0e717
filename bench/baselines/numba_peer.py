"""numba: hand-written forward, backward and Adam, parallel, fastmath off; the dense products through SciPy's BLAS."""

from typing import Any

import numpy as np

from pyneedle.benchmark import WEIGHTS, Array, LoopTrainer, Parameters, Problem, missing, module

f32 = np.float32


class NumbaTrainer(LoopTrainer):
    """Buffers of one batch are made once; a shorter batch uses their first rows."""

    def __init__(self, problem: Problem, threads: int) -> None:
        if problem.activation != "relu":
            raise NotImplementedError("the numba peer knows ReLU only")
        module("numba").set_num_threads(min(threads, module("numba").config.NUMBA_NUM_THREADS))
        self._k: Any = module("bench.baselines.numba_kernels")
        d, alpha, batch = problem.d, problem.alpha, problem.batch
        h = d * alpha
        self._h1: Array
        self._h2: Array
        if problem.network == "GN":
            self._h1, self._h2, self._dz, self._dh = (np.empty((batch, h), f32) for _ in range(4))
        else:
            self._h1, self._h2 = (np.empty((d, batch, alpha), f32) for _ in range(2))
            self._out = np.empty((d, batch), f32)
            self._group = np.zeros(d, np.int64) if problem.network == "LN" else np.arange(d)
        super().__init__(problem)

    def reset(self) -> None:
        super().reset()
        self._g = {k: np.zeros_like(v) for k, v in self._p.items()}

    def _block_weights(self) -> list[Array]:
        """Parameters with an axis of blocks in front, of length 1 for LN."""
        p = self._p
        return [v[None] if self.problem.network == "LN" else v for v in (p["w1"], p["b1"], p["w2"], p["b2"], p["w3"])]

    def _forward(self, x: Array) -> Array:
        p, n, d = self._p, len(x), self.problem.d
        if self.problem.network == "GN":
            h1, h2 = self._h1[:n], self._h2[:n]
            self._k.product(x, p["w1"].T, h1)
            self._k.bias_relu(h1, p["b1"])
            self._k.product(h1, p["w2"].T, h2)
            self._k.bias_relu(h2, p["b2"])
            return h2 @ p["w3"] / f32(d)
        self._xt = np.ascontiguousarray(x.T)
        w1, b1, w2, b2, w3 = self._block_weights()
        w2t = np.ascontiguousarray(w2.transpose(0, 2, 1))
        self._k.blocks_forward(self._xt, w1, b1, w2t, b2, w3, self._group, self._h1, self._h2, self._out)
        total: Array = self._out[:, :n].sum(axis=0)
        return total / f32(d)

    def _gradient(self, x: Array, y: Array) -> float:
        """Loss without penalty; its gradient into self._g."""
        p, g, n = self._p, self._g, len(x)
        error = self._forward(x) - y
        r = error * f32(2.0 / (n * self.problem.d))
        if self.problem.network == "GN":
            h1, h2, dz, dh = self._h1[:n], self._h2[:n], self._dz[:n], self._dh[:n]
            g["w3"] = r @ h2
            self._k.output_delta(r, p["w3"], h2, dz)
            self._k.column_sums(dz, g["b2"])
            self._k.product(dz.T, h1, g["w2"])
            self._k.product(dz, p["w2"], dh)
            self._k.mask(dh, h1)
            self._k.column_sums(dh, g["b1"])
            self._k.product(dh.T, x, g["w1"])
        else:
            self._block_gradient(r)
        return float(error @ error) / n

    def _block_gradient(self, r: Array) -> None:
        d, alpha, shared = self.problem.d, self.problem.alpha, self.problem.network == "LN"
        gw1, gb1, gb2, gw3 = (np.empty((d, alpha), f32) for _ in range(4))
        gw2t = np.empty((d, alpha, alpha), f32)
        _, _, w2, _, w3 = self._block_weights()
        self._k.blocks_backward(self._xt, r, w2, w3, self._group, self._h1, self._h2, gw1, gb1, gw2t, gb2, gw3)
        for name, value in zip(("w1", "b1", "w2", "b2", "w3"), (gw1, gb1, gw2t, gb2, gw3), strict=True):
            total = value.sum(axis=0) if shared else value
            self._g[name] = np.ascontiguousarray(np.swapaxes(total, -1, -2)) if name == "w2" else total

    def _add_path_norm(self) -> float:
        p, g, problem = self._p, self._g, self.problem
        if problem.network == "GN":
            factor = f32(problem.strength / problem.d)
            a1, a3 = np.abs(p["w1"]), np.abs(p["w3"])
            c, q, e = a1.sum(axis=1), np.empty_like(a3), np.empty_like(a3)
            self._k.path_vectors(p["w2"], a3, c, q, e)
            self._k.add_paths(p["w1"], e, np.ones(problem.d, f32), factor, g["w1"])
            self._k.add_paths(p["w2"], a3, c, factor, g["w2"])
        else:  # small enough for NumPy
            factor = f32(problem.strength * (1.0 if problem.network == "LN" else 1.0 / problem.d))
            a1, a2, a3 = (np.abs(p[k]) for k in WEIGHTS)
            q, e = np.einsum("...kj,...j->...k", a2, a1), np.einsum("...k,...kj->...j", a3, a2)
            g["w1"] += factor * np.sign(p["w1"]) * e
            g["w2"] += factor * np.sign(p["w2"]) * a3[..., :, None] * a1[..., None, :]
        g["w3"] += factor * np.sign(p["w3"]) * q
        return float(factor) * float((a3 * q).sum())

    def _update(self) -> None:
        problem, o = self.problem, self.problem.optimizer
        if problem.penalty == "path-norm":
            self._add_path_norm()
        self._t += 1
        c1, c2 = 1 - o.beta1**self._t, 1 - o.beta2**self._t
        epsilon = o.epsilon * c2**0.5 if o.placement == "corrected" else o.epsilon
        betas = (f32(o.beta1), f32(1 - o.beta1), f32(o.beta2), f32(1 - o.beta2))
        step = (*betas, f32(o.learning_rate * c2**0.5 / c1), f32(epsilon))
        for k, p in self._p.items():
            l1 = f32(problem.strength if problem.penalty == "l1" and k in WEIGHTS else 0.0)
            l2 = f32(2 * problem.strength if problem.penalty == "l2" and k in WEIGHTS else 0.0)
            arrays = (a.reshape(-1) for a in (p, self._g[k], self._m[k], self._v[k]))
            self._k.adam(*arrays, *step, l1, l2)

    def loss_and_grad(self) -> tuple[float, Parameters]:
        problem, p = self.problem, self._p
        loss = self._gradient(problem.train_x[: problem.batch], problem.train_y[: problem.batch])
        # L1 and L2 ride on the Adam pass, so that their value and gradient are only formed here, for the check
        if problem.penalty == "path-norm":
            loss += self._add_path_norm()
        gradient = {k: v.copy() for k, v in self._g.items()}
        for k in WEIGHTS if problem.penalty in {"l1", "l2"} else ():
            l1 = problem.penalty == "l1"
            loss += problem.strength * float(np.abs(p[k]).sum() if l1 else np.vdot(p[k], p[k]))
            gradient[k] += f32(problem.strength) * (np.sign(p[k]) if l1 else 2 * p[k])
        return loss, gradient

    def _step(self, x: Array, y: Array) -> None:
        self._gradient(x, y)
        self._update()

    def _predict(self, x: Array) -> Array:
        return self._forward(x)


class NumbaPeer:
    """numba with its default threading layer."""

    name = "numba"

    def available(self) -> str | None:
        # numba takes np.dot from SciPy's BLAS
        return missing("numba") or missing("scipy.linalg.blas")

    def version(self) -> str:
        return f"numba {module('numba').__version__}"

    def prepare(self, problem: Problem, threads: int) -> NumbaTrainer:
        return NumbaTrainer(problem, threads)
