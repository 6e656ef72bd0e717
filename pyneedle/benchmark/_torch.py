"""PyTorch on the CPU: autograd and Adam(fused=True), eager or with the forward pass compiled."""

from typing import Any

import numpy as np

from ._peer import missing, module
from ._problem import Parameters, Problem


def _layouts(problem: Problem) -> dict[str, tuple[int, ...]]:
    """Shapes in which this peer keeps the weights: those of nn.Linear, and (d, in, out) for LCN's bmm."""
    d, alpha = problem.d, problem.alpha
    if problem.network == "LN":
        return {"w1": (alpha, 1), "w3": (1, alpha)}
    if problem.network == "LCN":
        return {"w1": (d, 1, alpha), "b1": (d, 1, alpha), "b2": (d, 1, alpha), "w3": (d, alpha, 1)}
    return {"w3": (1, d * alpha)}


class TorchTrainer:
    """The training loop of a PyTorch user; tensors of the data are made once."""

    def __init__(self, problem: Problem, threads: int, compiled: bool = False) -> None:
        self._torch: Any = module("torch")
        self._f: Any = module("torch.nn.functional")
        self._torch.set_num_threads(threads)
        self.problem = problem
        tensor = self._torch.from_numpy
        self._x, self._y = tensor(problem.train_x), tensor(problem.train_y)
        self._validation_x, self._validation_y = tensor(problem.validation_x), tensor(problem.validation_y)
        self._loss: Any = self._plain_loss
        self._predict: Any = self._forward
        if compiled:
            self._loss = self._torch.compile(self._plain_loss, dynamic=False)
            self._predict = self._torch.compile(self._forward, dynamic=False)
        self.reset()

    def reset(self) -> None:
        torch, problem = self._torch, self.problem
        torch.manual_seed(problem.seed)
        shapes = _layouts(problem)
        self._p: dict[str, Any] = {}
        for k, v in problem.initial.items():
            value = np.array(v.transpose(0, 2, 1) if self._swapped(k) else v, order="C")
            self._p[k] = torch.from_numpy(value.reshape(shapes.get(k, v.shape))).requires_grad_()
        o = problem.optimizer
        if o.placement != "corrected":
            raise NotImplementedError("PyTorch's Adam has epsilon beside the corrected root only")
        self._adam = torch.optim.Adam(
            list(self._p.values()), lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.epsilon, fused=True
        )
        self._best = float("inf")
        self._best_p = [p.detach().clone() for p in self._p.values()]

    def _swapped(self, name: str) -> bool:
        return self.problem.network == "LCN" and name == "w2"

    def _numpy(self, tensors: dict[str, Any]) -> Parameters:
        out: Parameters = {}
        for k, v in tensors.items():
            value = v.detach().transpose(1, 2) if self._swapped(k) else v.detach()
            out[k] = value.reshape(self.problem.initial[k].shape).numpy().copy()
        return out

    def parameters(self) -> Parameters:
        return self._numpy(self._p)

    def _forward(self, p: dict[str, Any], x: Any) -> Any:
        problem, f, torch = self.problem, self._f, self._torch
        act = getattr(torch, problem.activation)
        if problem.network == "LCN":
            h = act(torch.baddbmm(p["b1"], x.t().unsqueeze(2), p["w1"]))  # (d, B, alpha)
            h = act(torch.baddbmm(p["b2"], h, p["w2"]))
            return torch.bmm(h, p["w3"]).sum(0).squeeze(1) / problem.d
        h = x.reshape(-1, 1) if problem.network == "LN" else x
        h = act(f.linear(h, p["w1"], p["b1"]))
        h = act(f.linear(h, p["w2"], p["b2"]))
        out = f.linear(h, p["w3"])
        return (out.view(-1, problem.d).sum(1) if problem.network == "LN" else out.squeeze(1)) / problem.d

    def penalty(self, p: dict[str, Any]) -> Any:
        """Strength times penalty, for autograd."""
        problem = self.problem
        w1, w2, w3 = p["w1"], p["w2"], p["w3"]
        if problem.penalty == "l1":
            return problem.strength * (w1.abs().sum() + w2.abs().sum() + w3.abs().sum())
        if problem.penalty == "l2":
            return problem.strength * (w1.square().sum() + w2.square().sum() + w3.square().sum())
        if problem.network == "LCN":
            paths = w1.abs().bmm(w2.abs()).bmm(w3.abs()).sum()
        else:  # from the narrow end: products of a vector and a matrix
            paths = (w3.abs() @ (w2.abs() @ w1.abs().sum(1, keepdim=True))).sum()
            paths = paths * problem.d if problem.network == "LN" else paths
        return problem.strength / problem.d * paths

    def _plain_loss(self, p: dict[str, Any], x: Any, y: Any) -> Any:
        loss = self._f.mse_loss(self._forward(p, x), y)
        return loss if self.problem.penalty == "none" else loss + self.penalty(p)

    def _step(self, x: Any, y: Any) -> None:
        self._adam.zero_grad(set_to_none=True)
        self._loss(self._p, x, y).backward()
        self._adam.step()

    def loss_and_grad(self) -> tuple[float, Parameters]:
        self._adam.zero_grad(set_to_none=True)
        loss = self._loss(self._p, self._x[: self.problem.batch], self._y[: self.problem.batch])
        loss.backward()
        return float(loss.detach()), self._numpy({k: p.grad for k, p in self._p.items()})

    def run_steps(self, count: int) -> None:
        problem = self.problem
        for k in range(count):
            first = k % problem.batches * problem.batch
            self._step(self._x[first : first + problem.batch], self._y[first : first + problem.batch])

    def run_epochs(self, count: int) -> float:
        torch = self._torch
        for _ in range(count):
            for rows in torch.randperm(len(self._x)).split(self.problem.batch):
                self._step(self._x[rows], self._y[rows])
            loss = self._validation_loss()
            if loss < self._best:
                self._best = loss
                with torch.no_grad():
                    torch._foreach_copy_(self._best_p, list(self._p.values()))
        return self._best

    def _validation_loss(self) -> float:
        batch, total = self.problem.batch, 0.0
        with self._torch.no_grad():
            for x, y in zip(self._validation_x.split(batch), self._validation_y.split(batch), strict=True):
                total += float((self._predict(self._p, x) - y).square().sum())
        return total / len(self._validation_x)


class TorchPeer:
    """PyTorch, eager."""

    name = "PyTorch eager"

    def available(self) -> str | None:
        return missing("torch")

    def version(self) -> str:
        return f"torch {module('torch').__version__}"

    def prepare(self, problem: Problem, threads: int) -> TorchTrainer:
        return TorchTrainer(problem, threads)
