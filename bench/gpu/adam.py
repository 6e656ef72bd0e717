"""Adam with the path norm on a GPU: `pyneedle.Adam.step` against autograd and fused Adam, and against copying."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import pyneedle as pn
from bench.gpu.goals import adam_verdict
from bench.gpu.sides import Ensemble
from bench.gpu.torch_side import TorchSide
from pyneedle.benchmark import (
    DisagreementError,
    Parameters,
    Ratio,
    first_step,
    in_turns,
    make_problem,
    module,
    network_of,
    penalty_of,
)

# p, m, v read and written, the gradient read (kernels.md section 4), and p read once before: a step by itself must
# first find the path norm's vectors, which the training's steps have from the step before.
TRANSFERS = 8
# p, g, m and v take 576 MB, W2 alone 144 MB; of the paper's largest, d = 60, W2 would come out of the L2 cache.
BEYOND_CACHES = 120
COPY_FLOATS = 1 << 28  # 1 GiB a side: beyond any cache
TOLERANCE = 1e-3  # of the learning rate


@dataclass(frozen=True)
class AdamOnGpu:
    """Seconds of a step of every side, round by round; its share of the copy bandwidth that was measured."""

    label: str
    seconds: dict[str, list[float]]
    ratios: dict[str, Ratio]
    copy_bytes_per_second: float
    bandwidth_share: float
    must_reach: str = ""

    def as_markdown(self, peers: int) -> str:
        """A line of the table, without the columns of that many peers."""
        fastest = min(self.ratios, key=lambda name: self.ratios[name].median)
        ours = 1e3 * statistics.median(self.seconds["pyneedle"])
        cells = [self.label, "one pass", f"{ours:.4g}", fastest, str(self.ratios[fastest]), self.must_reach]
        return "| " + " | ".join([*cells, *[""] * peers]) + " |"

    def line(self) -> str:
        """For people."""
        others = ", ".join(f"{name} takes {ratio}" for name, ratio in self.ratios.items())
        ours = 1e3 * statistics.median(self.seconds["pyneedle"])
        return (
            f"{self.label}: {ours:.4g} ms, {self.bandwidth_share:.0%} of the {self.copy_bytes_per_second / 1e12:.2f} "
            f"TB/s of a copy (read and written); {others}"
        )


def measure(d: int, device: str, rounds: int, budget: float) -> AdamOnGpu:
    """GN with the path-norm penalty; both sides are first checked against the first step in float64."""
    torch: Any = module("torch")
    problem = make_problem("GN", d, batch=8, batches=10, validation_rows=1, penalty="path-norm")
    rng = np.random.default_rng(1)
    gradient = {k: rng.normal(0, 1e-3, v.shape).astype(np.float32) for k, v in problem.initial.items()}
    truth = first_step(problem, gradient)
    sides: dict[str, Any] = {
        "pyneedle": OurStep(problem, gradient, device),
        "PyTorch autograd, fused Adam" + (", graph" if device == "cuda" else ""): TorchStep(problem, gradient, device),
    }
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    measures: dict[str, Callable[[], float]] = {}
    for name, side in sides.items():
        side.run()
        got = side.parameters()
        error = max(float(np.max(np.abs(got[k] - v))) for k, v in truth.items()) / 0.01
        if not error <= TOLERANCE:
            raise DisagreementError(f"{name}: first step of Adam with path norm is off by {error:.1e} of its size")
        measures[name] = clock(side.run, wait, budget)
    seconds = in_turns(measures, rounds)
    ours = seconds["pyneedle"]
    ratios = {name: Ratio.of(seconds[name], ours) for name in sides if name != "pyneedle"}
    bandwidth = copy_bandwidth(torch, device, wait)
    size = sum(v.size for v in problem.initial.values())
    rate = 4.0 * TRANSFERS * size / statistics.median(ours)
    share = rate / bandwidth
    must_reach = adam_verdict(share) if d == BEYOND_CACHES else ""
    return AdamOnGpu(f"Adam + path norm, GN d={d}", seconds, ratios, bandwidth, share, must_reach)


class OurStep:
    """`pyneedle.Adam.step` on PyTorch's tensors; on a CPU on NumPy's views of the same memory."""

    def __init__(self, problem: Any, gradient: Parameters, device: str) -> None:
        torch: Any = module("torch")
        self._tensors = {k: torch.from_numpy(v.copy()).to(device) for k, v in problem.initial.items()}
        self._p: Any = self._tensors
        self._g: Any = {k: torch.from_numpy(v.copy()).to(device) for k, v in gradient.items()}
        if device == "cpu":
            self._p, self._g = ({k: t.numpy() for k, t in tensors.items()} for tensors in (self._p, self._g))
        self._network, self._penalty = network_of(problem), penalty_of(problem)
        self._adam = pn.Adam(epsilon_placement="corrected")
        self._state = self._adam.init_state(self._p)

    def run(self) -> None:
        self._adam.step(self._p, self._g, self._state, self._penalty, self._network)

    def parameters(self) -> Parameters:
        return {k: t.cpu().numpy() for k, t in self._tensors.items()}


class TorchStep:
    """Backward of the penalty adds to the gradient that is there; then fused Adam; on a GPU all of it one graph."""

    def __init__(self, problem: Any, gradient: Parameters, device: str) -> None:
        torch: Any = module("torch")
        self._side = TorchSide(
            Ensemble(problem, {k: v[None] for k, v in problem.initial.items()}), device, graphs=False
        )
        self._gradient = {k: torch.from_numpy(v.copy()).to(device) for k, v in gradient.items()}
        self.run = self._once
        if device == "cuda":
            self.run = self._side._captured(self._once)
            self._side.reset()

    def _once(self) -> None:
        for k, p in self._side._p.items():
            if p.grad is None:
                p.grad = self._gradient[k].clone()
            else:
                p.grad.copy_(self._gradient[k])
        self._side._penalty(self._side._p).backward()
        self._side._adam.step()

    def parameters(self) -> Parameters:
        return {k: v[0] for k, v in self._side.parameters().items()}


def clock(run: Callable[[], object], wait: Callable[[], object], budget: float) -> Callable[[], float]:
    """Seconds a call, over about `budget` seconds."""

    def timed(count: int) -> float:
        wait()
        start = time.perf_counter()
        for _ in range(count):
            run()
        wait()
        return (time.perf_counter() - start) / count

    count = max(3, round(budget / max(timed(3), 1e-9)))
    return lambda: timed(count)


def copy_bandwidth(torch: Any, device: str, wait: Callable[[], object]) -> float:
    """Bytes per second of a copy within the memory, read and written; the best of several."""
    size = COPY_FLOATS if device == "cuda" else COPY_FLOATS >> 4
    source = torch.ones(size, device=device)
    target = torch.zeros(size, device=device)
    once = clock(lambda: target.copy_(source), wait, 0.05)
    return 8.0 * size / min(once() for _ in range(5))
