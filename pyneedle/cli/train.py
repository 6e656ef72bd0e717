"""`pyneedle train`."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

import pyneedle as pn
from pyneedle import _checks, _files, _native, _networks, _penalties
from pyneedle._device import device_named
from pyneedle._training import check_device
from pyneedle.cli._errors import BAD_USAGE, bad_usage, fail, failures
from pyneedle.cli._summary import finite_or_none, print_summary, record


class NetworkChoice(str, Enum):
    """The three networks."""

    LN = "LN"
    LCN = "LCN"
    GN = "GN"


class ActivationChoice(str, Enum):
    """Activations of the hidden units."""

    relu = "relu"
    tanh = "tanh"
    sigmoid = "sigmoid"


class TargetChoice(str, Enum):
    """Targets of the paper."""

    square = "square"
    quartic = "quartic"
    cosine = "cosine"


class DtypeChoice(str, Enum):
    """Precisions."""

    float32 = "float32"
    float64 = "float64"


class SortChoice(str, Enum):
    """Orders of the inputs of a row."""

    abs = "abs"
    value = "value"
    none = "none"


def train(
    network: Annotated[NetworkChoice, typer.Option(case_sensitive=False, help="Local, locally connected or dense.")],
    d: Annotated[int, typer.Option("--d", help="Number of inputs.")],
    target: Annotated[
        TargetChoice, typer.Option(case_sensitive=False, help="g of the target sum_i g(x_i).")
    ] = TargetChoice.square,
    alpha: Annotated[int, typer.Option(help="Nodes per input in each hidden layer.")] = 50,
    hidden_layers: Annotated[int, typer.Option(help="1 or 2.")] = 2,
    activation: Annotated[ActivationChoice, typer.Option(case_sensitive=False)] = ActivationChoice.relu,
    n_samples: Annotated[
        int, typer.Option(help="Rows of the data set: 64% for training, 16% for validation, 20% for the test.")
    ] = 100_000,
    epochs: Annotated[int, typer.Option()] = 1000,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows of a step.", show_default="80% of the samples / 100")
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 0.01,
    decay: Annotated[float, typer.Option(help="Step t has the learning rate divided by 1 + decay (t - 1).")] = 0.0,
    penalty: Annotated[
        str, typer.Option(help="none, l1:STRENGTH, l2:STRENGTH or path-norm:STRENGTH, such as l1:1e-8.")
    ] = "none",
    seed: Annotated[int, typer.Option(help="Of the initial parameters and the shuffling.")] = 0,
    data_seed: Annotated[int, typer.Option(help="Of the data.")] = 0,
    kernel: Annotated[
        str,
        typer.Option(
            help="auto, direct, piecewise_linear (LN, LCN), active (GN) or reference; on a GPU not reference, but "
            "direct_tf32 and active_tf32 (GN)."
        ),
    ] = "auto",
    device: Annotated[
        str,
        typer.Option(metavar="cpu|cuda", help="The processor, or a GPU; CUDA_VISIBLE_DEVICES chooses among several."),
    ] = "cpu",
    threads: Annotated[
        int | None, typer.Option(help="Threads to use.", show_default="as many as there are cores")
    ] = None,
    dtype: Annotated[DtypeChoice, typer.Option(case_sensitive=False)] = DtypeChoice.float32,
    sort: Annotated[
        SortChoice, typer.Option(case_sensitive=False, help="Sort the inputs of each row.")
    ] = SortChoice.abs,
    save: Annotated[Path | None, typer.Option(help="Write the fit to this file (.npz).")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the losses into this file (.png, .pdf, .svg).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Train one network and print its errors.

    The exit status is 1 where the run diverged or was interrupted.
    """
    with bad_usage(strength="--penalty's strength"), failures("the run could not be set up"):
        # An impossible PYNEEDLE_ISA should be known before the data are drawn.
        _native.active_level()
        where = device_named(device)
        check_device(where)
        net = _networks.BY_NAME[network.value](d, alpha, hidden_layers, activation.value)
        cost = _penalties.parse(penalty)
        optimizer = pn.Adam(learning_rate=learning_rate, decay=decay)
        with bad_usage(seed="--data-seed"):
            data = pn.make_dataset(target.value, d, n_samples, data_seed, sort.value, dtype.value)
        run = pn.Run(net, data, epochs, batch_size, optimizer, cost, seed, kernel=kernel, device=where)
        _checks.threads(threads)
    _check_outputs(save, plot)

    with failures("training failed"):
        (fit,) = pn.train_ensemble([run], threads, progress=not (as_json or quiet))
    if save is not None:
        with failures(f"--save: could not write {str(save)!r}"):
            fit.save(save)
    if plot is not None:
        from pyneedle._plots import plot_losses

        with failures(f"--plot: could not write {str(plot)!r}"):
            title = rf"{net.name}, $d = {d}$, $\alpha = {alpha}$"
            title += "" if fit.status == "completed" else f": {fit.status}"
            plot_losses(plot, fit.history["train_loss"], fit.history["validation_loss"], fit.best_epoch, title)
    if as_json:
        typer.echo(json.dumps(finite_or_none(record(fit, run.steps_per_epoch)), allow_nan=False))
    elif not quiet:
        print_summary(fit, run.steps_per_epoch)
    finished = len(fit.history["train_loss"])
    if fit.status == "diverged":
        raise fail(f"the run diverged: a loss of epoch {finished - 1} (from 0) is NaN or infinite")
    if fit.status == "interrupted":
        raise fail(f"the run was interrupted after {finished} of {fit.epochs} epochs")


def _check_outputs(save: Path | None, plot: Path | None) -> None:
    """Find out before hours of training that a result could not be written."""
    if plot is not None:
        from pyneedle._plots import formats

        if plot.suffix.lower().removeprefix(".") not in formats():
            raise fail(
                f"--plot must end in one of {', '.join('.' + name for name in formats())}, got {str(plot)!r}", BAD_USAGE
            )
    for option, path in (("--save", save), ("--plot", plot)):
        if path is not None:
            with failures(f"{option}: cannot write {str(path)!r}"):
                _files.check_writable(path)
