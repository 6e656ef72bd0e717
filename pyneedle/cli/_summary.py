"""The summary of a fit: a table for people, a record for programs."""

import math
from typing import Any

from rich.table import Table

import pyneedle
from pyneedle import Fit
from pyneedle.cli._console import print_table


def _steps(fit: Fit, steps_per_epoch: int) -> int:
    return len(fit.history["train_loss"]) * steps_per_epoch


def _units(fit: Fit) -> dict[str, list[int]]:
    """Counts of each hidden layer after the best epoch; nothing where there is none."""
    if fit.best_epoch < 0:
        return {}
    return {kind: [int(n) for n in fit.history[f"{kind}_units"][fit.best_epoch]] for kind in ("dead", "on", "mixed")}


def finite_or_none(value: Any) -> Any:
    """The same value with NaN and infinities as None, which JSON can say."""
    if isinstance(value, dict):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite_or_none(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def record(fit: Fit, steps_per_epoch: int) -> dict[str, Any]:
    """What `pyneedle train --json` prints; all values are plain Python."""
    network, data, steps = fit.network, fit.dataset, _steps(fit, steps_per_epoch)
    assert data is not None
    units = _units(fit)
    return {
        "pyneedle": pyneedle.__version__,
        "status": fit.status,
        "network": network.name,
        "d": network.d,
        "alpha": network.alpha,
        "hidden_layers": network.hidden_layers,
        "activation": network.activation,
        "parameters": network.parameter_count,
        "target": data.target,
        "n_samples": data.n_samples,
        "data_seed": data.seed,
        "sort": data.sort,
        "dtype": str(fit.dtype),
        "epochs": fit.epochs,
        "epochs_finished": len(fit.history["train_loss"]),
        "batch_size": fit.batch_size,
        "learning_rate": fit.optimizer.learning_rate,
        "decay": fit.optimizer.decay,
        "penalty": "none" if fit.penalty is None else fit.penalty.kind,
        "strength": 0.0 if fit.penalty is None else fit.penalty.strength,
        "seed": fit.seed,
        "shuffle": fit.shuffle,
        "kernel": fit.kernel,
        "isa": fit.isa,
        "device": fit.device,
        "threads": fit.threads,
        "best_epoch": fit.best_epoch,
        "train_mse": fit.train_mse,
        "validation_mse": fit.validation_mse,
        "test_mse": fit.test_mse,
        "train_mse_original": fit.train_mse_original,
        "validation_mse_original": fit.validation_mse_original,
        "test_mse_original": fit.test_mse_original,
        "path_norm": fit.path_norm,
        "dead_units": units.get("dead"),
        "on_units": units.get("on"),
        "mixed_units": units.get("mixed"),
        "seconds": fit.seconds,
        "steps": steps,
        "steps_per_second": steps / fit.seconds if fit.seconds > 0.0 else None,
    }


def _where(fit: Fit) -> str:
    if fit.device == "cuda":
        return f"kernel {fit.kernel}, GPU ({fit.isa})"
    return f"kernel {fit.kernel}, level {fit.isa}, {fit.threads} {'thread' if fit.threads == 1 else 'threads'}"


def print_summary(fit: Fit, steps_per_epoch: int) -> None:
    """Print the summary on standard output."""
    network, data, steps = fit.network, fit.dataset, _steps(fit, steps_per_epoch)
    assert data is not None
    layers = "hidden layer" if network.hidden_layers == 1 else "hidden layers"
    penalty = "none" if fit.penalty is None else f"{fit.penalty.kind} {fit.penalty.strength:g}"
    description = (
        f"{network.name}, d = {network.d}, alpha = {network.alpha}, {network.hidden_layers} {layers}, "
        f"{network.activation}"
    )
    # Without a best epoch all numbers below are those of the initial parameters.
    whose = "" if fit.best_epoch >= 0 else ", initial parameters"
    best = f"{fit.best_epoch} (from 0) of {len(fit.history['train_loss'])}" if fit.best_epoch >= 0 else "none"
    rows = [
        ("network", description),
        ("parameters", f"{network.parameter_count:,} ({fit.dtype})"),
        ("data", f"{data.target}, {data.n_samples:,} samples ({len(data.train):,} for training)"),
        ("ran", _where(fit)),
        ("penalty", penalty),
        ("", ""),
        (f"mean squared error{whose}", "scaled      original scale"),
        ("  train", f"{fit.train_mse:<12.3e}{fit.train_mse_original:.3e}"),
        ("  validation", f"{fit.validation_mse:<12.3e}{fit.validation_mse_original:.3e}"),
        ("  test", f"{fit.test_mse:<12.3e}{fit.test_mse_original:.3e}"),
        (f"path norm{whose}", f"{fit.path_norm:.4g}"),
        ("", ""),
        ("best epoch", best),
    ]
    units = _units(fit)
    for layer in range(network.hidden_layers if units else 0):
        counts = " / ".join(str(units[kind][layer]) for kind in ("dead", "on", "mixed"))
        rows.append((f"dead / on / mixed, layer {layer + 1}", counts))
    speed = f", {steps / fit.seconds:,.0f} steps/s" if fit.seconds > 0.0 else ""
    rows.append(("time", f"{fit.seconds:.2f} s{speed}"))
    table = Table(title=f"pyneedle: {fit.status}", show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, value)
    print_table(table)
