"""`pyneedle reproduce`."""

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyneedle._device import device_named
from pyneedle.cli._console import console
from pyneedle.cli._errors import BAD_USAGE, bad_usage, fail, failures
from pyneedle.cli.sweep import ExecutorChoice, print_estimate
from pyneedle.cli.train import NetworkChoice

if TYPE_CHECKING:
    from pyneedle.experiments import Result

ALL, LIST = "all", "list"


class Preset(str, Enum):
    """The scale of an experiment."""

    quick = "quick"
    laptop = "laptop"
    paper = "paper"


def reproduce(
    name: Annotated[str, typer.Argument(help="The experiment, such as fig3a; or all, or list.")],
    preset: Annotated[
        Preset,
        typer.Option(help="quick: under 3 minutes on two cores; laptop: under an hour; paper: the paper's scale."),
    ] = Preset.quick,
    out: Annotated[Path, typer.Option(help="The folder for pictures and tables.")] = Path("reproduction"),
    store: Annotated[
        Path | None, typer.Option(help="The runs (SQLite).", show_default="runs.sqlite in the folder --out")
    ] = None,
    published: Annotated[
        Path | None, typer.Option(help="A CSV file of other results to draw beside test errors against d.")
    ] = None,
    executor: Annotated[ExecutorChoice, typer.Option(help="This machine (threads, or its GPU), or a Ray cluster.")] = (
        ExecutorChoice.local
    ),
    threads: Annotated[
        int | None, typer.Option(help="Threads to use on this machine.", show_default="as many as there are cores")
    ] = None,
    networks: Annotated[
        list[NetworkChoice] | None,
        typer.Option(
            case_sensitive=False,
            help="Only this network's part of a figure of curves (3, 5-7, 9-11); may be given again.",
            show_default="all of the figure",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda", help="The processor, or a GPU; runs of either are kept apart.")
    ] = "cpu",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what there is to do and an estimate of time and memory.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Reproduce a figure or table of the paper: run, fit, draw, and compare with the published numbers.

    What was finished before is not run again. The exit status is 1 where something failed.
    """
    # Not at the top: it imports matplotlib, which `pyneedle --help` has no use for.
    from pyneedle import experiments

    known = (ALL, LIST, *experiments.names())
    if name not in known:
        raise fail(f"unknown experiment {name!r}; known are {', '.join(known)}", BAD_USAGE)
    if name == LIST:
        for one, experiment in experiments.EXPERIMENTS.items():
            typer.echo(f"{one:10} {experiment.title}")
        return
    with bad_usage():
        where = device_named(device)
    chosen = experiments.running_order() if name == ALL else [name]
    path = out / experiments.STORE_NAME if store is None else store
    parts = [network.value for network in networks] if networks else None
    if dry_run:
        with bad_usage(), failures("the estimate failed"):
            estimate = experiments.estimate(chosen, preset.value, path, threads, where, parts)
        print_estimate(estimate)
        _print_remarks(chosen)
        return

    _check_published(published)
    if len(chosen) > 1:
        with bad_usage(), failures("nothing was run"):
            experiments.check(chosen, preset.value, published, executor.value, threads, where, store, parts)

    def run(one: str) -> None:
        with bad_usage(), failures(f"{one} failed"):
            result = experiments.reproduce(
                one, preset.value, out, path, published, executor.value, threads, not quiet, where, parts
            )
        if not quiet:
            _print(result)

    try:
        _each(chosen, run)
    except KeyboardInterrupt:
        raise fail(f"interrupted; what was finished is in {str(path)!r}") from None


def _check_published(path: Path | None) -> None:
    from pyneedle.experiments import read_overlay

    if path is not None:
        with bad_usage(), failures(f"--published: cannot read {str(path)!r}"):
            read_overlay(path)


def _print_remarks(names: list[str]) -> None:
    from pyneedle.experiments import EXPERIMENTS

    for name in names:
        if remark := EXPERIMENTS[name].remark:
            typer.echo(f"{name}: {remark}")


def _each(names: list[str], run: Callable[[str], None]) -> None:
    """Run some experiments; of several, all, whatever comes of the others."""
    if len(names) == 1:
        run(names[0])
        return
    failed = []
    for name in names:
        try:
            run(name)
        except typer.Exit:
            failed.append(name)
    if failed:
        raise fail(f"{len(failed)} of {len(names)} experiments failed: {', '.join(failed)}")


def _print(result: "Result") -> None:
    from pyneedle.experiments import print_result

    print_result(result, console())
