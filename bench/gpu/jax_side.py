"""JAX: vmap over the members, a scan over the steps of an epoch, all of an epoch in one jit."""

from typing import Any

import numpy as np

from bench.gpu.sides import Ensemble, chunks, rows_at_a_time, to_numpy
from pyneedle.benchmark import Array, JaxTrainer, Parameters, module


class JaxSide(JaxTrainer):
    """The functional training loop; state is donated. Loss, penalty and Adam are those of the comparison on the CPU.

    Parameters
    ----------
    ensemble : Ensemble
        What to train, on JAX's default device.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self._jax: Any = module("jax")
        self._jnp: Any = module("jax.numpy")
        self._jax.config.update("jax_default_matmul_precision", "highest")  # no TF32
        self.ensemble, self.problem = ensemble, ensemble.problem
        jax, jnp, problem = self._jax, self._jnp, ensemble.problem
        self._x, self._y = jnp.asarray(problem.train_x), jnp.asarray(problem.train_y)
        self._validation_x, self._validation_y = jnp.asarray(problem.validation_x), jnp.asarray(problem.validation_y)
        self._both = jax.jit(jax.vmap(jax.value_and_grad(self._loss), in_axes=(0, None, None)))
        self._many_steps = jax.jit(self._scan, donate_argnums=0)
        self._epoch = jax.jit(self._whole_epoch, donate_argnums=(0, 1))
        self.reset()

    def reset(self) -> None:
        jnp, members = self._jnp, self.ensemble.members
        p = {key: jnp.array(value) for key, value in self.ensemble.initial.items()}
        m, v = ({key: jnp.zeros_like(value) for key, value in p.items()} for _ in range(2))
        self.state = (p, m, v, jnp.zeros((), jnp.int32))
        copies = {key: jnp.array(value) for key, value in self.ensemble.initial.items()}
        self._best_state = (jnp.full(members, jnp.inf, jnp.float32), copies)
        self._key = self._jax.random.key(self.problem.seed)
        self._jax.block_until_ready((self.state, self._best_state))

    def _scan(self, state: Any, rows: Any) -> Any:
        """Steps on rows (steps, members, B)."""
        gradient = self._jax.vmap(self._jax.grad(self._loss))

        def step(state: Any, rows: Any) -> Any:
            return self.adam(state, gradient(state[0], self._x[rows], self._y[rows])), None

        return self._jax.lax.scan(step, state, rows)[0]

    def _whole_epoch(self, state: Any, best: Any, key: Any) -> Any:
        jax, jnp, problem = self._jax, self._jnp, self.problem
        keys = jax.random.split(key, self.ensemble.members)
        order = jax.vmap(lambda k: jax.random.permutation(k, len(problem.train_x)))(keys)
        rows = order.reshape(self.ensemble.members, problem.batches, problem.batch).swapaxes(0, 1)
        state = self._scan(state, rows)
        predict = jax.vmap(self._forward, in_axes=(0, None))
        parts = [
            jnp.square(predict(state[0], self._validation_x[part]) - self._validation_y[part]).sum(1)
            for part in chunks(len(problem.validation_x), rows_at_a_time(self.ensemble))
        ]
        loss = sum(parts) / len(problem.validation_x)
        better = loss < best[0]

        def choose(new: Any, old: Any) -> Any:
            return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return state, (jnp.where(better, loss, best[0]), jax.tree.map(choose, state[0], best[1]))

    def loss_and_grad(self) -> tuple[Array, Parameters]:  # type: ignore[override]
        batch = self.problem.batch
        loss, g = self._both(self.state[0], self._x[:batch], self._y[:batch])
        return np.asarray(loss), to_numpy(g)

    def run_steps(self, count: int) -> None:
        problem, members = self.problem, self.ensemble.members
        in_order = np.arange(problem.batches * problem.batch, dtype=np.int32).reshape(problem.batches, 1, -1)
        left = count
        while left:
            now = min(left, problem.batches)
            rows = np.broadcast_to(in_order[:now], (now, members, problem.batch))
            self.state = self._many_steps(self.state, self._jnp.asarray(rows))
            left -= now
        self._jax.block_until_ready(self.state)

    def run_epochs(self, count: int) -> Array:  # type: ignore[override]
        for _ in range(count):
            self._key, key = self._jax.random.split(self._key)
            self.state, self._best_state = self._epoch(self.state, self._best_state, key)
        self._jax.block_until_ready((self.state, self._best_state))
        return np.asarray(self._best_state[0])

    def parameters(self) -> Parameters:
        return to_numpy(self.state[0])
