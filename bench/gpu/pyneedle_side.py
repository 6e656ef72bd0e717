"""pyneedle's side of a comparison on a GPU, through its public functions only."""

import time
from dataclasses import replace
from typing import Any

import numpy as np

import pyneedle as pn
from bench.gpu.sides import Ensemble, without_validation
from pyneedle.benchmark import Array, Parameters, Problem, What, dataset_of, module, network_of, penalty_of
from pyneedle.benchmark._side import adam_of


class PyneedleGpuSide:
    """An ensemble through `pyneedle.train_ensemble`, its gradients through arrays on the GPU.

    Parameters
    ----------
    ensemble : Ensemble
        What to train.
    kernel : str
        "auto" or a name.
    device : {"cuda", "cpu"}
        On a CPU for tests.
    """

    def __init__(self, ensemble: Ensemble, kernel: str = "auto", device: Any = "cuda") -> None:
        self.ensemble, self.problem, self._kernel, self._device = ensemble, ensemble.problem, kernel, device
        self.network = network_of(ensemble.problem)
        self._datasets: dict[str, pn.Dataset] = {}
        self._parameters: Parameters = ensemble.initial
        self.kernel = kernel  # that ran, after the first training

    def _fits(self, what: What, epochs: int, problem: Problem | None = None) -> list[pn.Fit]:
        data = {"epoch": self.problem, "step": without_validation(self.problem)}
        if problem is None and what not in self._datasets:
            self._datasets[what] = dataset_of(data[what])
        dataset = self._datasets[what] if problem is None else dataset_of(problem)
        runs = [
            pn.Run(
                self.network,
                dataset,
                epochs=epochs,
                batch_size=self.problem.batch,
                optimizer=adam_of(self.problem.optimizer),
                penalty=penalty_of(self.problem),
                seed=self.problem.seed + i,
                initial={key: value[i] for key, value in self.ensemble.initial.items()},
                kernel=self._kernel,
                device=self._device,
                shuffle=what == "epoch",
            )
            for i in range(self.ensemble.members)
        ]
        fits = pn.train_ensemble(runs, progress=False)
        self.kernel = fits[0].kernel
        return fits

    def reset(self) -> None:
        self._parameters = self.ensemble.initial

    def loss_and_grad(self) -> tuple[Array, Parameters]:
        problem = self.problem
        x, y = problem.train_x[: problem.batch], problem.train_y[: problem.batch]
        put, get = (np.asarray, np.asarray) if self._device == "cpu" else _cupy_or_torch()
        losses, gradients = [], []
        for i in range(self.ensemble.members):
            p = {key: put(np.ascontiguousarray(value[i])) for key, value in self._parameters.items()}
            loss, g = self.network.loss_and_grad(p, put(x), put(y), penalty_of(problem), kernel=self._kernel)
            losses.append(loss)
            gradients.append({key: get(value) for key, value in g.items()})
        return np.array(losses), {key: np.stack([g[key] for g in gradients]) for key in gradients[0]}

    def run_steps(self, count: int) -> None:
        problem = self.problem
        if not 0 < count <= problem.batches:
            raise ValueError(f"count must be 1 to {problem.batches}, the number of batches, got {count}")
        rows = count * problem.batch
        cut = replace(without_validation(problem), train_x=problem.train_x[:rows], train_y=problem.train_y[:rows])
        self._keep(self._fits("step", 1, cut))

    def run_epochs(self, count: int) -> Array:
        fits = self._fits("epoch", count)
        self._keep(fits)
        return np.array([np.min(fit.history["validation_loss"]) for fit in fits])

    def _keep(self, fits: list[pn.Fit]) -> None:
        self._parameters = {key: np.stack([fit.last_parameters[key] for fit in fits]) for key in self._parameters}

    def parameters(self) -> Parameters:
        return self._parameters

    def seconds(self, what: What, epochs: int) -> float:
        """Time from outside of one whole call of `pyneedle.train_ensemble`."""
        start = time.perf_counter()
        self._fits(what, epochs)
        return time.perf_counter() - start


def _cupy_or_torch() -> tuple[Any, Any]:
    """How arrays come onto the GPU and back."""
    try:
        cupy = module("cupy")
    except ImportError:
        torch = module("torch")
        return lambda a: torch.from_numpy(a).cuda(), lambda t: t.cpu().numpy()
    return cupy.asarray, cupy.asnumpy
