"""CuPy: the textbook with a leading axis of members, products through cuBLAS, elementwise parts fused.

With NumPy in CuPy's place it runs on a CPU, where the tests check it.
"""

from typing import Any

from bench.gpu.sides import Ensemble, chunks, rows_at_a_time, to_numpy
from pyneedle.benchmark import Array, Parameters


def _adam(p: Any, g: Any, m: Any, v: Any, beta1: Any, beta2: Any, size: Any, epsilon: Any, root: Any) -> Any:
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return p - size * m / (root(v) + epsilon), m, v


class CupySide:
    """Forward, backward and Adam as array expressions; nothing is read back within an epoch.

    Parameters
    ----------
    ensemble : Ensemble
        Without a penalty.
    xp : module
        CuPy or NumPy.

    Raises
    ------
    NotImplementedError
        For a penalty.
    """

    def __init__(self, ensemble: Ensemble, xp: Any) -> None:
        problem = ensemble.problem
        if problem.penalty != "none" or problem.activation != "relu":
            raise NotImplementedError("written for ReLU without a penalty")
        self.ensemble, self._xp = ensemble, xp
        arrays = (problem.train_x, problem.train_y, problem.validation_x, problem.validation_y)
        self._x, self._y, self._validation_x, self._validation_y = map(xp.asarray, arrays)
        fuse = xp.fuse() if hasattr(xp, "fuse") else lambda function: function
        self._fused_adam = fuse(
            lambda p, g, m, v, beta1, beta2, size, epsilon: _adam(p, g, m, v, beta1, beta2, size, epsilon, xp.sqrt)
        )
        zero = xp.float32(0)  # an argument: a constant within a fused function might widen it
        relu, back = (
            fuse(lambda z, b, zero: xp.maximum(z + b, zero)),
            fuse(lambda dh, h, zero: xp.where(h > zero, dh, zero)),
        )
        self._hidden = lambda z, b: relu(z, b, zero)
        self._back = lambda dh, h: back(dh, h, zero)
        self.reset()

    def reset(self) -> None:
        xp = self._xp
        self._p = {key: xp.array(value) for key, value in self.ensemble.initial.items()}
        self._m, self._v = ({key: xp.zeros_like(value) for key, value in self._p.items()} for _ in range(2))
        self._t = 0
        self._best = xp.full(self.ensemble.members, xp.inf, xp.float32)
        self._best_p = {key: value.copy() for key, value in self._p.items()}
        self._random = xp.random.RandomState(self.ensemble.problem.seed)
        self._wait()

    def _wait(self) -> None:
        if hasattr(self._xp, "cuda"):
            self._xp.cuda.get_current_stream().synchronize()

    def _inputs(self, x: Any) -> Any:
        """x (members, n, d) as the rows that a block sees: LN (M, n*d, 1), LCN (M, d, n, 1), GN (M, n, d)."""
        network = self.ensemble.problem.network
        if network == "LN":
            return x.reshape(len(x), -1, 1)
        return x.swapaxes(1, 2)[..., None] if network == "LCN" else x

    def _forward(self, inputs: Any) -> tuple[Any, Any, Any]:
        p, problem = self._p, self.ensemble.problem
        z = inputs @ p["w1"].swapaxes(-1, -2) if problem.network == "GN" else inputs * p["w1"][..., None, :]
        h1 = self._hidden(z, p["b1"][..., None, :])
        h2 = self._hidden(h1 @ p["w2"].swapaxes(-1, -2), p["b2"][..., None, :])
        out = (h2 @ p["w3"][..., None])[..., 0]
        if problem.network == "LN":
            out = out.reshape(len(out), -1, problem.d).sum(2)
        elif problem.network == "LCN":
            out = out.sum(1)
        return h1, h2, out / problem.d

    def _gradient(self, x: Any, y: Any) -> tuple[Any, dict[str, Any]]:
        """On x (members, B, d), y (members, B)."""
        p, problem, inputs = self._p, self.ensemble.problem, self._inputs(x)
        h1, h2, f = self._forward(inputs)
        error = f - y
        r = error * (2.0 / (x.shape[1] * problem.d))
        if problem.network == "LN":
            r = self._xp.repeat(r, problem.d, axis=1)  # every input of a row gets the row's residual
        elif problem.network == "LCN":
            r = r[:, None, :]
        g: dict[str, Any] = {"w3": (h2.swapaxes(-1, -2) @ r[..., None])[..., 0]}
        dz2 = self._back(r[..., None] * p["w3"][..., None, :], h2)
        g["w2"], g["b2"] = dz2.swapaxes(-1, -2) @ h1, dz2.sum(-2)
        dz1 = self._back(dz2 @ p["w2"], h1)
        w1 = dz1.swapaxes(-1, -2) @ inputs
        g["w1"], g["b1"] = w1 if problem.network == "GN" else w1[..., 0], dz1.sum(-2)
        return (error * error).mean(1), g

    def _step(self, rows: Any) -> None:
        o, f32 = self.ensemble.problem.optimizer, self._xp.float32
        self._t += 1
        c1, c2 = 1 - o.beta1**self._t, 1 - o.beta2**self._t
        scalars = [f32(s) for s in (o.beta1, o.beta2, o.learning_rate * c2**0.5 / c1, o.epsilon * c2**0.5)]
        for key, g in self._gradient(self._x[rows], self._y[rows])[1].items():
            state = self._fused_adam(self._p[key], g, self._m[key], self._v[key], *scalars)
            self._p[key], self._m[key], self._v[key] = state

    def _validate(self) -> None:
        xp, count, members = self._xp, len(self._validation_x), self.ensemble.members
        loss = xp.zeros(members, xp.float32)
        for part in chunks(count, rows_at_a_time(self.ensemble)):
            x = xp.broadcast_to(self._validation_x[part], (members, *self._validation_x[part].shape))
            error = self._forward(self._inputs(x))[2] - self._validation_y[part]
            loss += (error * error).sum(1)
        loss /= count
        better = loss < self._best
        self._best = xp.where(better, loss, self._best)
        for key, value in self._p.items():
            mask = better.reshape(-1, *[1] * (value.ndim - 1))
            self._best_p[key] = xp.where(mask, value, self._best_p[key])

    def loss_and_grad(self) -> tuple[Array, Parameters]:
        batch, members = self.ensemble.problem.batch, self.ensemble.members
        rows = self._xp.broadcast_to(self._xp.arange(batch), (members, batch))
        loss, g = self._gradient(self._x[rows], self._y[rows])
        return to_numpy({"loss": loss})["loss"], to_numpy(g)

    def run_steps(self, count: int) -> None:
        problem, xp = self.ensemble.problem, self._xp
        for k in range(count):
            first = k % problem.batches * problem.batch
            rows = xp.arange(first, first + problem.batch)
            self._step(xp.broadcast_to(rows, (self.ensemble.members, problem.batch)))
        self._wait()

    def run_epochs(self, count: int) -> Array:
        problem = self.ensemble.problem
        for _ in range(count):
            order = self._random.random_sample((self.ensemble.members, len(problem.train_x))).argsort(1)
            for first in range(0, order.shape[1], problem.batch):
                self._step(order[:, first : first + problem.batch])
            self._validate()
        self._wait()
        return to_numpy({"best": self._best})["best"]

    def parameters(self) -> Parameters:
        return to_numpy(self._p)
