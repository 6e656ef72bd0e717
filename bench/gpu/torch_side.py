"""PyTorch: autograd and fused Adam for one model, torch.func's vmap of grad for many; on a GPU in CUDA graphs."""

from typing import Any

from bench.gpu.sides import STEPS_AT_ONCE, Ensemble, chunks, rows_at_a_time
from pyneedle.benchmark import WEIGHTS, Array, Parameters, module

WARM_UP = 3  # calls on a side stream before a capture, as PyTorch's documentation asks for


class TorchSide:
    """The training loop of a PyTorch user who knows CUDA graphs and torch.func.

    Every member has an order of its own; parameters, moments and the best of both stay on the device.

    Parameters
    ----------
    ensemble : Ensemble
        What to train.
    device : str
        "cuda", or "cpu", where everything but the graphs runs.
    graphs : bool
        Put ten steps, and the validation, into one CUDA graph each.
    tf32 : bool
        Let products round their factors to TF32.
    """

    def __init__(self, ensemble: Ensemble, device: str = "cuda", graphs: bool = True, tf32: bool = False) -> None:
        self._torch: Any = module("torch")
        self._func: Any = module("torch.func")
        self._f: Any = module("torch.nn.functional")
        torch, problem = self._torch, ensemble.problem
        self._precision = "high" if tf32 else "highest"
        self._set_precision()
        self.ensemble, self._device, self._graphs = ensemble, torch.device(device), graphs
        self._x, self._y, self._validation_x, self._validation_y = (
            torch.from_numpy(a).to(self._device)
            for a in (problem.train_x, problem.train_y, problem.validation_x, problem.validation_y)
        )
        self._single = ensemble.members == 1
        self._p = {key: self._tensor(value) for key, value in ensemble.initial.items()}
        self._start = {key: value.detach().clone() for key, value in self._p.items()}
        o = problem.optimizer
        capturable = {"capturable": True} if self._device.type == "cuda" else {}
        self._adam = torch.optim.Adam(
            list(self._p.values()),
            lr=o.learning_rate,
            betas=(o.beta1, o.beta2),
            eps=o.epsilon,
            fused=True,
            **capturable,
        )
        size = (ensemble.members, STEPS_AT_ONCE * problem.batch)
        self._rows = torch.zeros(size, dtype=torch.int64, device=self._device)
        self._best = torch.full((ensemble.members,), torch.inf, device=self._device)
        self._best_p = {key: value.clone() for key, value in self._start.items()}
        self._gradient = self._func.vmap(self._func.grad(self._loss))
        self._predict = self._func.vmap(self._forward, in_dims=(0, None))
        self._in_order = torch.arange(len(problem.train_x), device=self._device).expand(ensemble.members, -1)
        self._steps, self._validation = self._ten_steps, self._validate
        if graphs:
            self._steps, self._validation = self._captured(self._ten_steps), self._captured(self._validate)
        self.reset()

    def _set_precision(self) -> None:
        """PyTorch has one setting for all; sides take turns."""
        self._torch.set_float32_matmul_precision(self._precision)

    def _tensor(self, value: Array) -> Any:
        """A parameter of all members; of a single one without that axis."""
        tensor = self._torch.from_numpy(value[0] if self._single else value).to(self._device).clone()
        return tensor.requires_grad_(self._single)

    def reset(self) -> None:
        torch = self._torch
        torch.manual_seed(self.ensemble.problem.seed)
        with torch.no_grad():
            for key, value in self._start.items():  # in place: graphs know the addresses
                self._p[key].copy_(value)
            for state in self._adam.state.values():
                for value in state.values():
                    value.zero_()
            self._best.fill_(torch.inf)
        self._wait()

    def _wait(self) -> None:
        if self._device.type == "cuda":
            self._torch.cuda.synchronize()

    def _captured(self, work: Any) -> Any:
        """Work as one CUDA graph."""
        torch = self._torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    def _forward(self, p: dict[str, Any], x: Any) -> Any:
        """One model: LN as Linear on (B*d, 1), LCN as bmm, GN as Linear."""
        problem, f, torch = self.ensemble.problem, self._f, self._torch
        if problem.network == "LCN":
            h = torch.relu(x.t().unsqueeze(2) * p["w1"].unsqueeze(1) + p["b1"].unsqueeze(1))  # (d, B, alpha)
            h = torch.relu(torch.baddbmm(p["b2"].unsqueeze(1), h, p["w2"].transpose(1, 2)))
            return torch.bmm(h, p["w3"].unsqueeze(2)).sum(0).squeeze(1) / problem.d
        if problem.network == "LN":
            h = torch.relu(f.linear(x.reshape(-1, 1), p["w1"].unsqueeze(1), p["b1"]))
            h = torch.relu(f.linear(h, p["w2"], p["b2"]))
            return (h @ p["w3"]).view(-1, problem.d).sum(1) / problem.d
        h = torch.relu(f.linear(x, p["w1"], p["b1"]))
        h = torch.relu(f.linear(h, p["w2"], p["b2"]))
        return h @ p["w3"] / problem.d

    def _penalty(self, p: dict[str, Any]) -> Any:
        problem = self.ensemble.problem
        if problem.penalty == "none":
            return 0.0
        weights = [p[key] for key in WEIGHTS]
        if problem.penalty == "l1":
            return problem.strength * sum(w.abs().sum() for w in weights)
        if problem.penalty == "l2":
            return problem.strength * sum(w.square().sum() for w in weights)
        w1, w2, w3 = (w.abs() for w in weights)
        c = w1.sum(1) if problem.network == "GN" else w1
        paths = (w3 * (w2 @ c.unsqueeze(-1)).squeeze(-1)).sum()
        return problem.strength * (1.0 if problem.network == "LN" else 1.0 / problem.d) * paths

    def _loss(self, p: dict[str, Any], x: Any, y: Any) -> Any:
        return (self._forward(p, x) - y).square().mean() + self._penalty(p)

    def _step(self, rows: Any) -> None:
        """One step of all members on rows (members, B)."""
        if self._single:
            for p in self._p.values():
                p.grad = None
            self._loss(self._p, self._x[rows[0]], self._y[rows[0]]).backward()
        else:
            for key, g in self._gradient(self._p, self._x[rows], self._y[rows]).items():
                self._p[key].grad = g.contiguous()  # vmap may leave it transposed, which fused Adam does not see
        self._adam.step()

    def _ten_steps(self) -> None:
        batch = self.ensemble.problem.batch
        for first in range(0, STEPS_AT_ONCE * batch, batch):
            self._step(self._rows[:, first : first + batch])

    def _validate(self) -> None:
        """Compute the validation losses, and keep the parameters of the members that are better than before."""
        torch, count = self._torch, len(self._validation_x)
        with torch.no_grad():
            p = {key: value.unsqueeze(0) for key, value in self._p.items()} if self._single else self._p
            parts = [
                (self._predict(p, self._validation_x[rows]) - self._validation_y[rows]).square().sum(1)
                for rows in chunks(count, rows_at_a_time(self.ensemble))
            ]
            loss = torch.stack(parts).sum(0) / count
            better = loss < self._best
            self._best.copy_(torch.where(better, loss, self._best))
            for key, value in self._p.items():
                mask = better[0] if self._single else better.view(-1, *[1] * (value.dim() - 1))
                self._best_p[key].copy_(torch.where(mask, value, self._best_p[key]))

    def _run(self, order: Any, first: int) -> None:
        size = self._rows.shape[1]
        self._rows.copy_(order[:, first : first + size])
        self._steps()

    def loss_and_grad(self) -> tuple[Array, Parameters]:
        self._set_precision()
        batch = self.ensemble.problem.batch
        p = {key: value.detach().unsqueeze(0) if self._single else value for key, value in self._p.items()}
        both = self._func.vmap(self._func.grad_and_value(self._loss), in_dims=(0, None, None))
        gradient, loss = both(p, self._x[:batch], self._y[:batch])
        return loss.cpu().numpy(), {key: g.cpu().numpy() for key, g in gradient.items()}

    def run_steps(self, count: int) -> None:
        self._set_precision()
        size, total = self._rows.shape[1], self._in_order.shape[1]
        for k in range(count // STEPS_AT_ONCE):
            self._run(self._in_order, k * size % total)
        self._wait()

    def run_epochs(self, count: int) -> Array:
        torch = self._torch
        self._set_precision()
        for _ in range(count):
            order = torch.rand(self._in_order.shape, device=self._device).argsort(1)
            for first in range(0, order.shape[1], self._rows.shape[1]):
                self._run(order, first)
            self._validation()
        self._wait()
        best: Array = self._best.cpu().numpy()
        return best

    def parameters(self) -> Parameters:
        found = {key: value.detach().cpu().numpy() for key, value in self._p.items()}
        return {key: value[None] if self._single else value for key, value in found.items()}
