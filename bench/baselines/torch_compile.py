"""PyTorch with forward and backward compiled; the optimiser stays Adam(fused=True), a single call already."""

import shutil

from pyneedle.benchmark import Problem, TorchTrainer, missing, module


class TorchCompilePeer:
    """torch.compile with the default (inductor) backend, fixed shapes."""

    name = "torch.compile"
    _reason: str | None = None
    _tried = False

    def available(self) -> str | None:
        if not self._tried:
            type(self)._tried, type(self)._reason = True, self._why_not()
        return self._reason

    def _why_not(self) -> str | None:
        if reason := missing("torch"):
            return reason
        if not (shutil.which("g++") or shutil.which("clang++")):
            return "torch.compile needs a C++ compiler, and neither g++ nor clang++ is on the path"
        torch = module("torch")
        try:
            torch.compile(lambda x: (x * 2).relu() + 1)(torch.ones(8))
        except Exception as error:  # noqa: BLE001  whatever the compiler chain lacks here, the peer is only skipped
            return f"torch.compile cannot run here: {type(error).__name__}: {error}".splitlines()[0]
        return None

    def version(self) -> str:
        return f"torch {module('torch').__version__}, compiled"

    def prepare(self, problem: Problem, threads: int) -> TorchTrainer:
        module("torch").compiler.reset()  # a new network is a new program, not a recompilation that counts to the limit
        return TorchTrainer(problem, threads, compiled=True)
