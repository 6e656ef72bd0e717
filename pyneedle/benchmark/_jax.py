"""JAX on the CPU: the whole step (gradient and Adam) in one jit."""

from typing import Any

import numpy as np

from ._peer import missing, module
from ._problem import WEIGHTS, Parameters, Problem

State = tuple[dict[str, Any], dict[str, Any], dict[str, Any], Any]  # parameters, m, v, t


class JaxTrainer:
    """A functional training loop; the state's buffers are donated, so that Adam works in place."""

    def __init__(self, problem: Problem) -> None:
        self._jax: Any = module("jax")
        self._jnp: Any = module("jax.numpy")
        self.problem = problem
        self._x, self._y = self._jnp.asarray(problem.train_x), self._jnp.asarray(problem.train_y)
        self._validation_x = self._jnp.asarray(problem.validation_x)
        self._validation_y = self._jnp.asarray(problem.validation_y)
        jit = self._jax.jit
        self._value_and_grad = jit(self._jax.value_and_grad(self._loss))
        self._step = jit(self._step_rows, donate_argnums=0)
        self._step_in_order = jit(self._step_at, donate_argnums=0)
        self._validate = jit(self._squared_error)
        self._copy = jit(lambda p: self._jax.tree.map(self._jnp.copy, p))
        self.reset()

    def reset(self) -> None:
        jnp = self._jnp
        self._rng = np.random.default_rng(self.problem.seed)
        p = {k: jnp.array(v) for k, v in self.problem.initial.items()}
        zeros = [{k: jnp.zeros_like(v) for k, v in p.items()} for _ in range(2)]
        self.state: State = (p, zeros[0], zeros[1], jnp.zeros((), jnp.int32))
        self._best = float("inf")
        self._best_p = p

    def parameters(self) -> Parameters:
        return {k: np.array(v) for k, v in self.state[0].items()}

    def _forward(self, p: dict[str, Any], x: Any) -> Any:
        problem, jnp = self.problem, self._jnp
        act = getattr(self._jax.nn, problem.activation)
        if problem.network == "LCN":
            h = act(x.T[:, :, None] * p["w1"][:, None, :] + p["b1"][:, None, :])  # (d, B, alpha)
            h = act(jnp.einsum("dbj,dkj->dbk", h, p["w2"]) + p["b2"][:, None, :])
            return jnp.einsum("dbk,dk->b", h, p["w3"]) / problem.d
        if problem.network == "LN":
            h = act(x.reshape(-1, 1) * p["w1"] + p["b1"])  # (B*d, alpha)
            h = act(h @ p["w2"].T + p["b2"])
            return (h @ p["w3"]).reshape(-1, problem.d).sum(axis=1) / problem.d
        h = act(x @ p["w1"].T + p["b1"])
        h = act(h @ p["w2"].T + p["b2"])
        return h @ p["w3"] / problem.d

    def penalty(self, p: dict[str, Any]) -> Any:
        """Strength times penalty, for autograd."""
        problem, jnp = self.problem, self._jnp
        if problem.penalty == "l1":
            return problem.strength * sum(jnp.abs(p[k]).sum() for k in WEIGHTS)
        if problem.penalty == "l2":
            return problem.strength * sum(jnp.square(p[k]).sum() for k in WEIGHTS)
        a1, a2, a3 = (jnp.abs(p[k]) for k in WEIGHTS)
        c = a1.sum(axis=1) if problem.network == "GN" else a1
        paths = (a3 * jnp.einsum("...kj,...j->...k", a2, c)).sum()
        return problem.strength * (1.0 if problem.network == "LN" else 1.0 / problem.d) * paths

    def _loss(self, p: dict[str, Any], x: Any, y: Any) -> Any:
        loss = self._jnp.mean(self._jnp.square(self._forward(p, x) - y))
        return loss if self.problem.penalty == "none" else loss + self.penalty(p)

    def adam(self, state: State, g: dict[str, Any]) -> State:
        """One step from the whole gradient."""
        o, jnp, tree = self.problem.optimizer, self._jnp, self._jax.tree
        p, m, v, t = state
        t = t + 1
        c1, c2 = 1 - o.beta1 ** t.astype(jnp.float32), 1 - o.beta2 ** t.astype(jnp.float32)
        m = tree.map(lambda m, g: o.beta1 * m + (1 - o.beta1) * g, m, g)
        v = tree.map(lambda v, g: o.beta2 * v + (1 - o.beta2) * g * g, v, g)
        size = o.learning_rate * jnp.sqrt(c2) / c1
        epsilon = o.epsilon * jnp.sqrt(c2) if o.placement == "corrected" else o.epsilon
        p = tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) + epsilon), p, m, v)
        return p, m, v, t

    def _step_rows(self, state: State, x: Any, y: Any, rows: Any) -> State:
        return self.adam(state, self._jax.grad(self._loss)(state[0], x[rows], y[rows]))

    def _step_at(self, state: State, x: Any, y: Any, first: Any) -> State:
        cut = self._jax.lax.dynamic_slice_in_dim
        batch = self.problem.batch
        return self.adam(state, self._jax.grad(self._loss)(state[0], cut(x, first, batch), cut(y, first, batch)))

    def _squared_error(self, p: dict[str, Any], x: Any, y: Any) -> Any:
        return self._jnp.square(self._forward(p, x) - y).sum()

    def loss_and_grad(self) -> tuple[float, Parameters]:
        batch = self.problem.batch
        loss, g = self._value_and_grad(self.state[0], self._x[:batch], self._y[:batch])
        return float(loss), {k: np.array(v) for k, v in g.items()}

    def run_steps(self, count: int) -> None:
        problem = self.problem
        for k in range(count):
            self.state = self._step_in_order(self.state, self._x, self._y, k % problem.batches * problem.batch)
        self._jax.block_until_ready(self.state)

    def run_epochs(self, count: int) -> float:
        for _ in range(count):
            order = self._rng.permutation(len(self.problem.train_x)).astype(np.int32)
            for first in range(0, len(order), self.problem.batch):
                self.state = self._step(self.state, self._x, self._y, order[first : first + self.problem.batch])
            loss = self._validation_loss()
            if loss < self._best:
                self._best, self._best_p = loss, self._copy(self.state[0])
        self._jax.block_until_ready((self.state, self._best_p))
        return self._best

    def _validation_loss(self) -> float:
        batch, n = self.problem.batch, len(self.problem.validation_x)
        parts = [
            self._validate(
                self.state[0], self._validation_x[first : first + batch], self._validation_y[first : first + batch]
            )
            for first in range(0, n, batch)
        ]
        return float(sum(float(part) for part in parts)) / n


class JaxPeer:
    """JAX, jit; XLA takes all the cores that the process may use."""

    name = "JAX jit"

    def available(self) -> str | None:
        return missing("jax")

    def version(self) -> str:
        return f"jax {module('jax').__version__}"

    def prepare(self, problem: Problem, threads: int) -> JaxTrainer:  # noqa: ARG002  set for the process
        return JaxTrainer(problem)
