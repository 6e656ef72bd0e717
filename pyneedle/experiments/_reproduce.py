"""Running an experiment from its cells to its files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyneedle import _checks, _files, _native, _plots
from pyneedle._device import device_named
from pyneedle.experiments import _registry, _style, _tables
from pyneedle.experiments._experiment import Experiment
from pyneedle.experiments._protocol import PRESETS, PresetName, Protocol
from pyneedle.experiments._published import read_overlay
from pyneedle.experiments._result import Result
from pyneedle.experiments._session import Session
from pyneedle.sweep import Estimate, Sweep, write_csv
from pyneedle.sweep._driver import EXECUTORS, check_available
from pyneedle.sweep._schema import is_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyneedle._device import Device
    from pyneedle.experiments._published import Overlay
    from pyneedle.sweep._driver import ExecutorName

STORE_NAME = "runs.sqlite"
DEFAULT_OUT = "reproduction"


def reproduce(
    name: str,
    preset: PresetName | Protocol = "quick",
    out: str | os.PathLike[str] = DEFAULT_OUT,
    store: str | os.PathLike[str] | None = None,
    published: str | os.PathLike[str] | None = None,
    executor: "ExecutorName" = "local",
    threads: int | None = None,
    progress: bool = True,
    device: "Device | None" = None,
    networks: "Iterable[str] | None" = None,
) -> Result:
    """Make the runs of a figure or table, analyse them, and write its picture and numbers.

    Runs that the store has are not made again, whichever experiment made them.

    Parameters
    ----------
    name : str
        One of `names()`.
    preset : {"quick", "laptop", "paper"} or Protocol
        The scale.
    out : path-like
        The folder for the files NAME-PRESET.png, .svg, .csv, -table.csv and .md; made where there is none. With
        `networks` their names follow the preset's: fig3a-paper-ln-lcn.png.
    store : path-like, optional
        The runs. Default: runs.sqlite in `out`.
    published : path-like, optional
        A CSV file of other results to draw beside these, where the figure is of test errors against d; a note says so
        where it is not. See `read_overlay`.
    executor : {"local", "ray"}
        Where sweeps are run.
    threads : int, optional
        To use on this machine. Default: as many as this process may run on.
    progress : bool
        Show bars on standard error, where that is a terminal.
    device : {"cpu", "cuda"}, optional
        Where the runs are made. Default: that of the protocol, the CPU for a preset.
    networks : iterable of {"LN", "LCN", "GN"}, optional
        Run and draw only these, of a figure of curves: 3, 5 to 7 and 9 to 11. Default: all that the figure has.

    Returns
    -------
    Result
        Runs, slopes, comparisons and the names of the files.

    Raises
    ------
    TypeError, ValueError
        Where an argument is impossible; for a bad name the message lists all.
    OSError, StoreError, RuntimeError, ImportError, KeyboardInterrupt
        As `Sweep.run`; what was finished is stored.
    """
    experiment, protocol, label = _resolve(name, preset, device, networks)
    overlay = _check_settings(published, executor, threads)
    folder = Path(out)
    path = folder / STORE_NAME if store is None else Path(store)
    session = Session(path, executor, threads, _checks.flag("progress", progress))
    # Where there is a store, all runs may be in it, and the device is not needed: the sweep knows.
    if not _there(path, folder):
        check_available(executor, {protocol.device})
    folder.mkdir(parents=True, exist_ok=True)
    analysis = experiment.analyse(session, protocol, overlay)
    stem = folder / "-".join([name, label, *_chosen(experiment)])
    notes = list(analysis.notes)
    if overlay is not None and not experiment.overlays:
        notes.append(f"The rows of {overlay.name} are not shown: only test errors against d have others beside them.")
    with _plots.styled():
        files = _style.save(experiment.draw(analysis, protocol, overlay), stem)
    runs, table = Path(f"{stem}.csv"), Path(f"{stem}-table.csv")
    write_csv(analysis.frame, runs)
    write_csv(_tables.comparison_frame(analysis.comparisons), table)
    text = Path(f"{stem}.md")
    result = Result(
        name=name,
        title=experiment.title,
        preset=label,
        frame=analysis.frame,
        fits=analysis.fits,
        comparisons=analysis.comparisons,
        notes=notes,
        means=analysis.means,
        files=[*files, runs, table, text],
        store=path,
    )
    with _files.replacing(text) as file:
        file.write(_tables.markdown(result).encode())
    return result


def check(
    names: "Iterable[str]",
    preset: PresetName | Protocol = "quick",
    published: str | os.PathLike[str] | None = None,
    executor: "ExecutorName" = "local",
    threads: int | None = None,
    device: "Device | None" = None,
    store: str | os.PathLike[str] | None = None,
    networks: "Iterable[str] | None" = None,
) -> None:
    """Find out before the first of several experiments what would end each of them.

    Parameters
    ----------
    names : iterable of str
        Experiments.
    preset, published, executor, threads, device, store, networks
        As for `reproduce`.

    Raises
    ------
    TypeError, ValueError
        Where an argument is impossible.
    OSError, StoreError, RuntimeError, ImportError
        Where the published results can't be read, there is something else than a store, this machine does not have the
        device, or the executor is not installed.
    """
    wanted = _listed(networks)
    devices = {_resolve(name, preset, device, wanted)[1].device for name in names}
    _check_settings(published, executor, threads)
    if store is not None:
        is_store(Path(store))
    check_available(executor, devices)


def plan(
    names: "Iterable[str]",
    preset: PresetName | Protocol = "quick",
    device: "Device | None" = None,
    networks: "Iterable[str] | None" = None,
) -> Sweep:
    """The runs of some experiments, each once.

    Parameters
    ----------
    names : iterable of str
        Experiments.
    preset, device, networks
        As for `reproduce`.

    Returns
    -------
    Sweep
        All that they may train, but for trainings that go on from a run's parameters.

    Raises
    ------
    TypeError, ValueError
        Where a name or the preset is unknown, or an experiment does not have a network.
    """
    from pyneedle.experiments._series import joined

    wanted = _listed(networks)
    resolved = [_resolve(name, preset, device, wanted) for name in names]
    return joined([experiment.plan(protocol) for experiment, protocol, _ in resolved])


def estimate(
    names: "Iterable[str]",
    preset: PresetName | Protocol = "quick",
    store: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    device: "Device | None" = None,
    networks: "Iterable[str] | None" = None,
) -> Estimate:
    """What the runs of some experiments would take, from a few steps of each shape; nothing is stored.

    Parameters
    ----------
    names : iterable of str
        Experiments; runs that they share count once.
    preset, store, threads, device, networks
        As for `reproduce`; without a store all runs are to be made.

    Returns
    -------
    Estimate
        Of time and memory.
    """
    chosen = list(names)
    keep = any(_registry.get(name).parameters for name in chosen)
    path = None if store is None or not Path(store).exists() else Path(store)
    return plan(chosen, preset, device, networks).estimate(path, threads, parameters=keep)


def _chosen(experiment: Experiment[Any]) -> list[str]:
    """For names of files: the networks, where there are more in the whole figure."""
    whole = experiment.networks == _registry.get(experiment.name).networks
    return [] if whole else [name.lower() for name in experiment.networks]


def _there(store: Path, folder: Path) -> bool:
    """Whether there is a store; StoreError where there can be none, but for a folder that is still to be made."""
    return (store.parent != folder or folder.is_dir()) and is_store(store)


def _check_settings(
    published: str | os.PathLike[str] | None, executor: "ExecutorName", threads: int | None
) -> "Overlay | None":
    """What does not depend on the experiment; returns the published results."""
    _checks.choice("executor", executor, EXECUTORS)
    if threads is not None:
        _checks.threads(threads)
    return None if published is None else read_overlay(published)


def _listed(networks: "Iterable[str] | None") -> "Iterable[str] | None":
    """To be gone through more than once."""
    return networks if networks is None or isinstance(networks, str) else list(networks)


def _resolve(
    name: str,
    preset: PresetName | Protocol,
    device: "Device | None" = None,
    networks: "Iterable[str] | None" = None,
) -> tuple[Experiment[Any], Protocol, str]:
    experiment = _registry.get(name)
    if networks is not None:
        experiment = experiment.only(networks)
    if device is not None:
        device_named(device)
    _native.active_level()  # an impossible PYNEEDLE_ISA should be known before a file is made
    if isinstance(preset, Protocol):
        wanted = type(experiment.protocols["paper"])
        if not isinstance(preset, wanted):
            raise TypeError(f"preset must be a {wanted.__name__} for {name}, got a {type(preset).__name__}")
        return experiment, preset if device is None else preset.on(device), "custom"
    if not isinstance(preset, str):
        raise TypeError(f"preset must be one of {', '.join(map(repr, PRESETS))} or a Protocol, got {preset!r}")
    _checks.choice("preset", preset, PRESETS)
    protocol = experiment.protocols[preset]
    return experiment, protocol if device is None else protocol.on(device), preset
