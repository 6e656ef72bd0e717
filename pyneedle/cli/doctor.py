"""`pyneedle doctor`."""

import os
import platform
import sys
from importlib import metadata

import numpy as np
import typer
from rich import box
from rich.table import Table

import pyneedle as pn
from pyneedle import _blas, _checks, _machine, _native
from pyneedle._checks import Array
from pyneedle._networks import Network
from pyneedle.cli import _doctor_adam, _doctor_cuda
from pyneedle.cli._console import console, print_table
from pyneedle.cli._errors import FAILURE

# Largest difference to the reference, relative to the largest entry of the gradient.
_TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _system() -> tuple[list[tuple[str, str]], bool]:
    """Lines of the report, and whether nothing is wrong with them."""
    good = True
    try:
        level = _native.active_level()
    except ValueError as error:
        good, level = False, f"error: {error}"
    try:
        path = _blas.ensure_loaded()
        blas = f"{_native.blas_info()}\n{path}"
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        good, blas = False, f"error: {error}"
    cuda, cuda_good = _doctor_cuda.system()
    packages = ("numpy", "scipy-openblas32", "matplotlib", "pandas", "rich", "typer")
    return [
        ("pyneedle", pn.__version__),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("packages", ", ".join(f"{package} {_version(package)}" for package in packages)),
        ("system", platform.platform()),
        ("processor", _machine.processor()),
        ("features", " ".join(_machine.vector_extensions()) or "none that kernels use"),
        ("levels compiled", " ".join(_native.compiled_levels())),
        ("levels supported", " ".join(_native.supported_levels())),
        ("level chosen", level),
        ("PYNEEDLE_ISA", os.environ.get("PYNEEDLE_ISA", "not set")),
        ("BLAS", blas),
        ("threads", f"{_checks.threads(None)} (cores that this process may run on)"),
        *cuda,
    ], good and cuda_good


def _networks(activation: str) -> list[Network]:
    kinds = (pn.LocalNetwork, pn.LocallyConnectedNetwork, pn.GlobalNetwork)
    small = [kind(3, 7, layers, activation) for kind in kinds for layers in (1, 2)]  # type: ignore[arg-type]
    # Wide enough for the masked products of GN's active kernel, which few mixed units don't pay for.
    return [*small, pn.GlobalNetwork(3, 30, 2, activation)]  # type: ignore[arg-type]


def _batch(network: Network, dtype: str) -> tuple[dict[str, Array], Array, Array]:
    """Parameters and a small batch."""
    generator = np.random.Generator(np.random.PCG64(1))
    x = generator.uniform(-1.0, 1.0, (37, network.d)).astype(dtype)
    y = generator.uniform(-1.0, 1.0, 37).astype(dtype)
    # Not the initial parameters: their zero biases put every kink of the network at x = 0.
    p = {key: generator.uniform(-0.7, 0.7, shape).astype(dtype) for key, shape in network.parameter_shapes.items()}
    return p, x, y


def _difference(network: Network, kernel: str, dtype: str) -> float:
    """Largest error of prediction and gradient on a small batch, against the reference in float64."""
    p, x, y = _batch(network, dtype)
    exact = {key: value.astype(np.float64) for key, value in p.items()}
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    prediction = network.forward(p, x, kernel)
    _, gradient = network.loss_and_grad(p, x, y, kernel=kernel)
    wanted = network.forward(exact, x64, "reference")
    _, wanted_gradient = network.loss_and_grad(exact, x64, y64, kernel="reference")
    scale = max(float(np.abs(value).max()) for value in wanted_gradient.values())
    worst = max(float(np.abs(gradient[key] - value).max()) for key, value in wanted_gradient.items())
    return max(worst / scale, float(np.abs(prediction - wanted).max() / np.abs(wanted).max()))


def _self_check(table: Table) -> bool:
    """Compare every kernel with the reference; a row for each kernel, precision and activation."""
    good = True
    for activation in ("relu", "tanh", "sigmoid"):
        by_kernel: dict[tuple[str, str], list[Network]] = {}
        for network in _networks(activation):
            for kernel in network.kernels:
                if kernel != "reference":
                    by_kernel.setdefault((network.name, kernel), []).append(network)
        for (name, kernel), networks in by_kernel.items():
            for dtype, tolerance in _TOLERANCE.items():
                try:
                    error = max(_difference(network, kernel, dtype) for network in networks)
                    fine, shown = error <= tolerance, f"{error:.1e}"
                except (ImportError, OSError, RuntimeError, ValueError) as problem:
                    fine, shown = False, str(problem)
                good = good and fine
                table.add_row(name, kernel, dtype, activation, shown, "ok" if fine else "FAILED")
        good = _doctor_cuda.self_check(table, _networks(activation), activation) and good
    for dtype, tolerance in _TOLERANCE.items():
        error = _doctor_adam.difference(dtype)
        good = good and error <= tolerance
        table.add_row("GN", "Adam, path norm", dtype, "", f"{error:.1e}", "ok" if error <= tolerance else "FAILED")
    return good


def doctor() -> None:
    """Report versions, processor, BLAS, threads and GPUs, and check every kernel against the reference.

    The exit status is 1 where something is wrong.
    """
    system = Table(title="pyneedle doctor", show_header=False, title_justify="left", box=box.SIMPLE_HEAD)
    system.add_column(no_wrap=True)
    system.add_column(overflow="fold")
    lines, good = _system()
    for name, value in lines:
        system.add_row(name, value)
    console().print(system)
    allowed = ", ".join(f"{tolerance:.0e} in {dtype}" for dtype, tolerance in _TOLERANCE.items())
    title = f"kernels against the reference (allowed: {allowed})"
    checks = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("network", "kernel", "dtype", "activation", "error", "result"):
        checks.add_column(heading, no_wrap=True)
    good = _self_check(checks) and good
    print_table(checks)
    if not good:
        typer.echo("Error: a check failed", err=True)
        raise typer.Exit(FAILURE)
