"""Cost of a training step against d, alpha, B, and of an ensemble against its members; measured and plotted."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyneedle as pn
from bench.ensemble import runs_of
from pyneedle.benchmark import Comparison, NetworkName, Peer, Problem, compare, make_problem

Say = Callable[[str], None]
Attempt = Callable[[Callable[[], None]], None]  # calls it, and takes note where a side did not compute the same

# Told apart without colour: marker, line style, and grey levels that a printer keeps apart.
STYLES = (
    ("o", "-", "0.0"),
    ("s", "--", "0.35"),
    ("^", "-.", "0.5"),
    ("D", ":", "0.2"),
    ("v", "--", "0.6"),
    ("x", "-", "0.7"),
)


@dataclass(frozen=True)
class Axis:
    """What is varied, over which values, for each network."""

    name: str
    label: str
    values: dict[NetworkName, tuple[int, ...]]


AXES = (
    Axis("d", "inputs d", {"LN": (4, 8, 16, 32, 60), "LCN": (4, 8, 16, 32, 60), "GN": (4, 8, 12, 20)}),
    Axis("alpha", "nodes per input", {"LN": (8, 16, 32, 64, 128), "LCN": (8, 16, 32, 64, 128), "GN": (8, 16, 32, 64)}),
    Axis(
        "batch", "batch rows B", {"LN": (50, 200, 800, 3200), "LCN": (50, 200, 800, 3200), "GN": (50, 200, 800, 1600)}
    ),
)
FIXED: dict[NetworkName, dict[str, int]] = {
    "LN": {"d": 20, "alpha": 50, "batch": 800},
    "LCN": {"d": 20, "alpha": 50, "batch": 800},
    "GN": {"d": 8, "alpha": 50, "batch": 800},
}
MEMBERS = (1, 2, 4, 8, 16)


def measure(
    axis: Axis, network: NetworkName, peers: Sequence[Peer], options: argparse.Namespace, say: Say, attempt: Attempt
) -> list[Comparison]:
    """A comparison per value, everything else as in FIXED; every side is checked each time."""
    rows: list[Comparison] = []
    values = axis.values[network][::2] if options.quick else axis.values[network]
    for value in values:
        sizes = {**FIXED[network], axis.name: value}
        problem = make_problem(network, sizes["d"], sizes["alpha"], sizes["batch"], batches=20, validation_rows=1)

        def one(problem: Problem = problem) -> None:
            rows.extend(compare(problem, peers, ("auto",), options.threads, options.rounds, options.budget, say=say))

        attempt(one)
    return rows


def ensemble_rates(options: argparse.Namespace) -> dict[str, dict[int, float]]:
    """Member-steps per second of LN and LCN ensembles at d = 20, by number of members."""
    rates: dict[str, dict[int, float]] = {}
    for network in ("LN", "LCN"):
        rates[network] = {}
        for members in MEMBERS[::2] if options.quick else MEMBERS:
            probe = pn.train_ensemble(runs_of(network, 20, 1, 1), 1, progress=False)[0].seconds
            epochs = max(1, round(options.budget * options.threads / members / max(probe, 1e-6)))
            runs = runs_of(network, 20, members, epochs)
            seconds = []
            for _ in range(options.rounds):
                start = time.perf_counter()
                pn.train_ensemble(runs, options.threads, progress=False)
                seconds.append(time.perf_counter() - start)
            rates[network][members] = members * epochs * 80 / statistics.median(seconds)
    return rates


def draw_all(
    folder: Path, peers: Sequence[Peer], options: argparse.Namespace, say: Say, attempt: Attempt
) -> Iterator[Path]:
    """Writes a PNG per axis with a panel per network, one for ensembles, and the numbers as JSON."""
    import matplotlib as mpl

    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    numbers: dict[str, Any] = {}
    for axis in AXES:
        rows = {network: measure(axis, network, peers, options, say, attempt) for network in options.networks}
        numbers[axis.name] = {network: [row.as_dict() for row in found] for network, found in rows.items()}
        yield _draw_axis(folder / f"cost_{axis.name}.png", axis, rows)
    rates = ensemble_rates(options)
    numbers["members"] = rates
    yield _draw_members(folder / "cost_members.png", rates, options.threads)
    path = folder / "curves.json"
    path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    yield path


def _draw_axis(path: Path, axis: Axis, rows: dict[NetworkName, list[Comparison]]) -> Path:
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    figure, panels = plt.subplots(1, len(rows), figsize=(4.2 * len(rows), 3.8), squeeze=False, layout="constrained")
    for panel, (network, found) in zip(panels[0], rows.items(), strict=True):
        sides = list(dict.fromkeys(side for row in found for side in row.seconds))
        for side, (marker, line, grey) in zip(sides, STYLES, strict=False):
            points = [(getattr(row, axis.name), 1e3 * row.seconds[side]) for row in found if side in row.seconds]
            width = 2.4 if side == "pyneedle" else 1.2
            panel.loglog(
                *zip(*points, strict=True), marker=marker, linestyle=line, color=grey, linewidth=width, label=side
            )
        fixed = ", ".join(f"{k} = {v}" for k, v in FIXED[network].items() if k != axis.name)
        panel.set(title=f"{network} ({fixed})", xlabel=axis.label, ylabel="ms per training step")
        panel.set_xticks(axis.values[network], [str(v) for v in axis.values[network]])
        panel.xaxis.set_minor_locator(NullLocator())  # only x: a y axis within a decade is labelled by minor ticks
        panel.grid(visible=True, color="0.9")
    panels[0][0].legend(fontsize="small")
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def _draw_members(path: Path, rates: dict[str, dict[int, float]], threads: int) -> Path:
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    figure, panel = plt.subplots(figsize=(4.6, 3.8), layout="constrained")
    for (network, found), (marker, line, grey) in zip(rates.items(), STYLES, strict=False):
        panel.semilogx(list(found), list(found.values()), marker=marker, linestyle=line, color=grey, label=network)
    panel.set(
        title=f"ensembles, d = 20, B = 80, {threads} threads", xlabel="members", ylabel="steps per second, all members"
    )
    panel.set_xticks(MEMBERS, [str(m) for m in MEMBERS])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_ylim(bottom=0.0)
    panel.grid(visible=True, color="0.9")
    panel.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path
