"""Cost of a training step against d, alpha, B, and of an ensemble against its members; measured and plotted.

`python -m bench.curves DIR` draws the pictures in DIR again, from the numbers beside them.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyneedle as pn
from bench.ensemble import runs_of
from pyneedle.benchmark import Comparison, NetworkName, Peer, Problem, compare, make_problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pyneedle._plots import Look

Say = Callable[[str], None]
Attempt = Callable[[Callable[[], None]], None]  # calls it, and takes note where a side did not compute the same

NUMBERS = "curves.json"


@dataclass(frozen=True)
class Axis:
    """What is varied, over which values, for each network."""

    name: str
    label: str
    values: dict[NetworkName, tuple[int, ...]]


AXES = (
    Axis("d", "number of inputs $d$", {"LN": (4, 8, 16, 32, 60), "LCN": (4, 8, 16, 32, 60), "GN": (4, 8, 12, 20)}),
    Axis(
        "alpha",
        r"nodes per input $\alpha$",
        {"LN": (8, 16, 32, 64, 128), "LCN": (8, 16, 32, 64, 128), "GN": (8, 16, 32, 64)},
    ),
    Axis(
        "batch",
        "rows of a batch $B$",
        {"LN": (50, 200, 800, 3200), "LCN": (50, 200, 800, 3200), "GN": (50, 200, 800, 1600)},
    ),
)
FIXED: dict[NetworkName, dict[str, int]] = {
    "LN": {"d": 20, "alpha": 50, "batch": 800},
    "LCN": {"d": 20, "alpha": 50, "batch": 800},
    "GN": {"d": 8, "alpha": 50, "batch": 800},
}
SYMBOLS = {"d": "d", "alpha": r"\alpha", "batch": "B"}
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


def ensemble_rates(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Member-steps per second of LN and LCN ensembles at d = 20, round by round, by number of members."""
    rates: dict[str, dict[str, list[float]]] = {}
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
            rates[network][str(members)] = [members * epochs * 80 / one for one in seconds]
    return rates


def draw_all(
    folder: Path, peers: Sequence[Peer], options: argparse.Namespace, say: Say, attempt: Attempt
) -> Iterator[Path]:
    """Measures, and writes the numbers as JSON and the pictures of `draw`."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers: dict[str, Any] = {"threads": options.threads}
    for axis in AXES:
        rows = {network: measure(axis, network, peers, options, say, attempt) for network in options.networks}
        numbers[axis.name] = {network: [row.as_dict() for row in found] for network, found in rows.items()}
    numbers["members"] = ensemble_rates(options)
    path = folder / NUMBERS
    path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    yield path
    yield from draw(folder, numbers)


def draw(folder: Path, numbers: dict[str, Any]) -> Iterator[Path]:
    """Writes a PNG per axis with a panel per network, and one for ensembles; lines are medians, points rounds."""
    from pyneedle import _plots

    for axis in AXES:
        with _plots.styled():
            figure = _figure_of(axis, numbers[axis.name])
        yield _saved(figure, folder / f"cost_{axis.name}.png")
    with _plots.styled():
        figure = _figure_of_members(numbers["members"], numbers["threads"])
    yield _saved(figure, folder / "cost_members.png")


def _saved(figure: "Figure", path: Path) -> Path:
    from pyneedle import _plots

    _plots.save(figure, path)
    return path


def _figure_of(axis: Axis, found: dict[NetworkName, list[dict[str, Any]]]) -> "Figure":
    from pyneedle import _plots

    figure = _plots.new_figure(2.7 * len(found), 2.9)
    panels = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    names = dict.fromkeys(side for rows in found.values() for row in rows for side in row["rounds"])
    looks = dict(zip(names, _plots.looks(len(names)), strict=True))
    for i, (panel, (network, rows)) in enumerate(zip(panels, found.items(), strict=True)):
        for side, look in looks.items():
            rounds = {
                row[axis.name]: [1e3 * one for one in row["rounds"][side]] for row in rows if side in row["rounds"]
            }
            _line(panel, rounds, look, 2.2 if side == "pyneedle" else 1.2)
        fixed = ", ".join(f"${SYMBOLS[k]} = {v}$" for k, v in FIXED[network].items() if k != axis.name)
        panel.set_title(f"({'abc'[i]}) {network}, {fixed}", loc="left", fontsize=10)
        panel.set_xlabel(axis.label)
    for panel, network in zip(panels, found, strict=True):  # when all share the ordinate's range
        _plots.log_axes(panel, axis.values[network])
    panels[0].set_ylabel("ms per training step")
    keys = [_plots.line_key(look, side, linewidth=2.2 if side == "pyneedle" else 1.2) for side, look in looks.items()]
    _plots.legend(panels[-1], keys)
    return figure


def _figure_of_members(rates: dict[str, dict[str, list[float]]], threads: int) -> "Figure":
    from pyneedle import _plots

    figure = _plots.new_figure(4.0, 3.2)
    panel = figure.add_subplot()
    looks = dict(zip(rates, _plots.looks(len(rates)), strict=True))
    for network, found in rates.items():
        _line(panel, {int(members): rounds for members, rounds in found.items()}, looks[network], 1.5)
    _plots.log_axes(panel, MEMBERS)
    panel.set_title(f"$d = 20$, $\\alpha = 50$, $B = 80$, {threads} threads", loc="left", fontsize=10)
    panel.set_xlabel("members of the ensemble")
    panel.set_ylabel("training steps per second, all members")
    _plots.legend(panel, [_plots.line_key(look, network, linewidth=1.5) for network, look in looks.items()])
    return figure


def _line(panel: "Axes", rounds: dict[int, list[float]], look: "Look", width: float) -> None:
    """Medians as a line, every round as a point."""
    medians = [statistics.median(values) for values in rounds.values()]
    panel.plot(
        list(rounds),
        medians,
        color=look.colour,
        linestyle=look.dash,
        linewidth=width,
        marker=look.marker,
        markersize=4.5,
    )
    points = [(x, value) for x, values in rounds.items() for value in values]
    panel.plot(
        *zip(*points, strict=True), look.marker, color=look.colour, markerfacecolor="none", markersize=3.0,
        markeredgewidth=0.5,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws again what was measured before."""
    parser = argparse.ArgumentParser(prog="python -m bench.curves", description=main.__doc__)
    parser.add_argument("folder", type=Path, help=f"with {NUMBERS}")
    folder: Path = parser.parse_args(arguments).folder
    for path in draw(folder, json.loads((folder / NUMBERS).read_text(encoding="utf-8"))):
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
