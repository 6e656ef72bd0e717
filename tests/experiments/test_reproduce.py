"""Every experiment from end to end at a tiny scale: files, tables, resumption, errors, the command."""

import math
import re
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from support.fake_cuda import without_cuda
from typer.testing import CliRunner

from pyneedle import experiments
from pyneedle.cli import app
from pyneedle.experiments import Protocol, reproduce
from pyneedle.experiments._haystack import HaystackProtocol, _needed
from pyneedle.experiments._rates import RatesProtocol
from pyneedle.sweep import StoreError, Sweep, _segments

AGAINST_D = Protocol(d=(2, 3, 4), n_samples=(300,), epochs=3, repeats=2, alpha=4, l1=1e-6)
AGAINST_N = Protocol(d=(3,), n_samples=(100, 200, 400), epochs=3, repeats=2, alpha=4)
ONE = Protocol(d=(3,), n_samples=(200,), epochs=4, repeats=1, alpha=4)
TINY = {
    **dict.fromkeys(experiments.names(), AGAINST_D),
    **dict.fromkeys(("fig9a", "fig9b", "fig10", "fig11a", "fig11b"), AGAINST_N),
    **dict.fromkeys(("fig4", "fig8"), ONE),
    "fig9a": replace(AGAINST_N, n_samples=(200, 400, 800)),  # batches of 80 rows
    "rates": RatesProtocol(**vars(AGAINST_D), rows=AGAINST_N),
    "haystack": HaystackProtocol(
        d=(2, 3, 4),
        n_samples=(100, 200, 400),
        epochs=10,
        repeats=1,
        alpha=4,
        target_error=0.3,
        smaller_error=0.1,
        structured_repeats=2,
    ),
}
# Experiments with a published number each.
NUMBERS = {
    "fig5a": 3.638, "fig5b": 1.107, "fig6a": 2.527, "fig6b": 3.051, "fig6c": 2.098, "fig7": -0.158, "fig9a": -0.745,
    "fig9b": -0.820, "fig10": -0.756, "fig11a": -0.943, "fig11b": -0.986,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all, as `reproduce all` has it."""
    return tmp_path_factory.mktemp("store") / "runs.sqlite"


def run(*args):
    return CliRunner().invoke(app, ["reproduce", *map(str, args)])


@pytest.mark.parametrize("name", experiments.names())
def test_every_experiment(name, store, tmp_path):
    result = reproduce(name, TINY[name], tmp_path / "out", store, progress=False)
    endings = [path.name.removeprefix(f"{name}-custom") for path in result.files]
    assert endings == [".png", ".svg", ".csv", "-table.csv", ".md"]
    assert result.files[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in result.files[1].read_text()
    assert len(pd.read_csv(result.files[2])) == len(result.frame) > 0
    assert len(pd.read_csv(result.files[3])) == len(result.comparisons) > 0
    if name in NUMBERS:
        assert result.comparisons[0].published == NUMBERS[name]
    rows = 0 if result.means is None else len(result.means.frame) + 2
    assert len(result.files[4].read_text().split("\n| ")) == len(result.comparisons) + 3 + rows
    console = Console(width=120, record=True)
    experiments.print_result(result, console)
    assert name in console.export_text()


def test_names_are_printed_as_they_are(store, tmp_path, others):
    folder, published = tmp_path / "out [v2] :d:", others.rename(tmp_path / "[b]x.csv")
    result = reproduce("fig5b", AGAINST_D, folder, store, published=published, progress=False)
    console = Console(width=120, record=True)
    experiments.print_result(result, console)
    text = console.export_text()
    assert f"wrote {folder / 'fig5b-custom.png'}" in text
    assert "The rows of [b]x.csv are not shown" in text


def test_fits_are_those_of_the_frame(store, tmp_path):
    result = reproduce("fig3a", AGAINST_D, tmp_path, store, progress=False)
    rows = result.frame[result.frame["network"] == "LN"]
    assert len(rows) == 6
    assert result.fits["LN"] == experiments.fit_power_law(rows["d"], rows["test_mse_original"])
    assert [line.quantity for line in result.comparisons][-1] == "test error of GN / LN, d = 4"


def test_finished_runs_are_not_made_again(tmp_path, monkeypatch):
    asked = []
    original = Sweep.run

    def counted(self, path, *args, **settings):
        asked.append(self.estimate(path, parameters=settings.get("parameters", False)))
        return original(self, path, *args, **settings)

    monkeypatch.setattr(Sweep, "run", counted)
    for name, protocol in (("fig3a", AGAINST_D), ("fig3a", AGAINST_D), ("fig5a", AGAINST_D)):
        reproduce(name, protocol, tmp_path, progress=False)
    assert [(e.cells, e.finished) for e in asked] == [(18, 0), (18, 18), (6, 6)]


def test_in_the_running_order_nothing_is_trained_twice(tmp_path):
    order = experiments.running_order()
    assert sorted(order) == sorted(experiments.names())
    assert order.index("fig8") < order.index("fig6a")
    reproduce("fig8", ONE, tmp_path, progress=False)
    plain = Sweep(network="GN", d=ONE.d, alpha=ONE.alpha, n_samples=ONE.n_samples, epochs=ONE.epochs)
    assert plain.estimate(tmp_path / experiments.STORE_NAME).finished == 1


def test_continued_trainings_are_not_made_again(tmp_path, monkeypatch):
    first = reproduce("fig4", ONE, tmp_path, progress=False)
    kept = sorted((tmp_path / "runs.fits").iterdir())
    assert len(kept) == 3
    kept[0].unlink()
    made = []
    session = experiments._session
    original = session.train_segments
    monkeypatch.setattr(session, "train_segments", lambda *args: made.append(len(args[1])) or original(*args))
    again = reproduce("fig4", ONE, tmp_path, progress=False)
    assert made == [1]
    pd.testing.assert_frame_equal(first.frame, again.frame)


def test_a_continued_training_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    whole = reproduce("fig4", ONE, tmp_path, progress=False)
    folder = tmp_path / "runs.fits"
    kept = sorted(path.name for path in folder.iterdir())
    for path in folder.iterdir():
        path.unlink()
    monkeypatch.setattr(experiments._session, "_CHECKPOINT_SECONDS", 1e-9)
    monkeypatch.setattr(_segments, "_SAVING_SHARE", float("inf"))
    pieces, train = [], _segments.train_ensemble

    def interrupted(runs, *args, **more):
        if len(pieces) == 2:
            raise KeyboardInterrupt
        return spy(runs, *args, **more)

    def spy(runs, *args, **more):
        pieces.extend((run.resume.epochs if run.resume else 0, run.epochs) for run in runs)
        return train(runs, *args, **more)

    monkeypatch.setattr(_segments, "train_ensemble", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reproduce("fig4", ONE, tmp_path, progress=False)
    assert pieces == [(0, 1), (1, 2)]
    assert [path.suffix for path in folder.iterdir()] == [".checkpoint"]
    monkeypatch.setattr(_segments, "train_ensemble", spy)
    again = reproduce("fig4", ONE, tmp_path, progress=False)
    assert pieces[2:6] == [(2, 3), (3, 4), (0, 1), (1, 2)]
    assert sorted(path.name for path in folder.iterdir()) == kept
    pd.testing.assert_frame_equal(whole.frame, again.frame)


def test_the_picture_is_the_same_each_time(store, tmp_path):
    for folder in ("a", "b"):
        reproduce("fig5a", AGAINST_D, tmp_path / folder, store, progress=False)
    for ending in ("png", "svg"):
        a, b = (tmp_path / folder / f"fig5a-custom.{ending}" for folder in ("a", "b"))
        assert a.read_bytes() == b.read_bytes()


def test_the_ladder_is_left_where_the_target_is_reached(tmp_path):
    easy = replace(TINY["haystack"], target_error=1e6, smaller_error=1e5)
    result = reproduce("haystack", easy, tmp_path, progress=False)
    assert set(result.frame["known"]) == {"at most"}
    assert set(result.frame["n_samples_needed"]) == {100}
    never = replace(easy, target_error=1e-30, smaller_error=1e-31)
    hard = reproduce("haystack", never, tmp_path, progress=False)
    assert set(hard.frame["known"]) == {"more"}
    assert set(hard.frame["n_samples_needed"]) == {400}
    assert not hard.fits
    apart = reproduce("haystack", replace(easy, smaller_error=1e-30), tmp_path, progress=False).frame
    known = apart.groupby(["network", "target_error"])["known"].unique().map(list).to_dict()
    assert known == {
        ("GN", 1e6): ["at most"], ("LCN", 1e6): ["at most"], ("LN", 1e6): ["at most"],
        ("LCN", 1e-30): ["more"], ("LN", 1e-30): ["more"],
    }  # fmt: skip


def test_the_sample_is_read_off_between_two_rungs():
    runs = pd.DataFrame({"n_samples": [100, 200, 200, 400], "test_mse_original": [1.0, 0.2, 0.05, 0.01]})
    assert _needed(runs, 0.1) == (pytest.approx(200.0), "about")
    assert _needed(runs, 10**-1.5) == (pytest.approx(200.0 * 2.0**0.5), "about")
    assert _needed(runs, 1.0) == (100.0, "at most")
    assert _needed(runs, 1e-3) == (400.0, "more")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_error": 0.0}, "target_error must be finite and positive, got 0.0"),
        ({"smaller_error": math.inf}, "smaller_error must be finite and positive, got inf"),
        ({"smaller_error": 0.3}, "smaller_error must be below target_error=0.3, got 0.3"),
        ({"structured_repeats": 0}, "structured_repeats must be at least 1, got 0"),
    ],
)
def test_impossible_errors_to_reach(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY["haystack"], **change)


def test_anatomy_says_what_is_left_at_each_d(store, tmp_path):
    protocol = TINY["anatomy"]
    result = reproduce("anatomy", protocol, tmp_path, store, progress=False)
    frame = result.frame[result.frame["setting"] == "no penalty"]
    values = {line.quantity: line.value for line in result.comparisons}
    for when, rows in (("first", frame["epoch"] == 1), ("best", frame["best"]), ("last", frame["last"])):
        for d in protocol.d if when == "first" else protocol.d[-1:]:
            part = frame[rows & (frame["d"] == d)]
            assert len(part) == protocol.repeats
            np.testing.assert_allclose(part[["dead", "on", "mixed"]].sum(axis=1), 1.0)
            if d in (protocol.d[0], protocol.d[-1]):
                assert values[f"no penalty: share of mixed units, {when} epoch, d = {d}"] == part["mixed"].mean()
    runs = reproduce("fig5a", protocol, tmp_path, store, progress=False).frame
    kept = frame[frame["best"]].set_index(["d", "repeat"])["epoch"]
    assert kept.to_dict() == (runs.set_index(["d", "repeat"])["best_epoch"] + 1).to_dict()


def test_part_of_a_figure(store, tmp_path):
    result = reproduce("fig3a", AGAINST_D, tmp_path, store, progress=False, networks=["LCN", "LN"])
    assert result.files[0].name == "fig3a-custom-ln-lcn.png"
    assert set(result.frame["network"]) == {"LN", "LCN"}
    assert set(result.fits) == {"LN", "LCN"}
    assert result.title.endswith(": LN and LCN alone")
    whole = reproduce("fig3a", AGAINST_D, tmp_path, store, progress=False, networks=["GN", "LN", "LCN"])
    assert whole.files[0].name == "fig3a-custom.png"
    # The runs are those of the whole figure, and so is their protocol.
    protocols = {line.quantity: line.protocol for line in whole.comparisons}
    assert all(line.protocol == protocols[line.quantity] for line in result.comparisons if "slope" in line.quantity)
    # A curve that the whole figure fits no line to has one where it stands alone.
    assert set(reproduce("fig6a", AGAINST_D, tmp_path, store, progress=False, networks=["LN"]).fits) == {"LN"}


def test_the_means_are_those_of_the_frame(store, tmp_path):
    result = reproduce("fig3a", AGAINST_D, tmp_path, store, progress=False, networks=["LN"])
    table = result.means.frame
    assert list(table.columns) == ["d", "LN, test error", "LN, training error"]
    for _, row in table.iterrows():
        runs = result.frame[result.frame["d"] == row["d"]]
        assert row["LN, test error"] == pytest.approx(np.exp(np.log(runs["test_mse_original"]).mean()))
    last = result.files[-1].read_text().splitlines()[-1]
    assert last.startswith("| 4 | ")
    assert float(last.split(" | ")[1]) == pytest.approx(table["LN, test error"].iloc[-1], rel=6e-3)


@pytest.fixture
def others(tmp_path):
    """Published results of LN."""
    path = tmp_path / "others.csv"
    lines = [f"LN,square,none,0,{d},5000,1e-3,1e-3,{d**-1.5 / 100}" for d in (2, 3, 4)]
    path.write_text("arch,target,penalty,strength,d,n_samples,train_mse,validation_mse,test_mse\n" + "\n".join(lines))
    return path


def test_published_rows_stand_beside(store, tmp_path, others):
    result = reproduce("fig3a", AGAINST_D, tmp_path, store, published=others, progress=False)
    assert not any("others.csv" in note for note in result.notes)
    (line,) = [line for line in result.comparisons if line.source == "rows of others.csv"]
    assert line.quantity == "LN: slope of test error against d"
    assert line.published == pytest.approx(0.5)


def test_published_rows_of_another_figure(store, tmp_path, others):
    others.write_text(others.read_text().replace("square", "cosine"))
    result = reproduce("fig3a", AGAINST_D, tmp_path, store, published=others, progress=False)
    assert "No rows of others.csv belong to this figure." in result.notes
    assert not any("others.csv" in line.source for line in result.comparisons)


@pytest.mark.parametrize("name", ["fig4", "fig5b", "fig9b", "rates", "haystack"])
def test_published_rows_that_are_not_shown(name, store, tmp_path, others):
    """Neither another abscissa nor another ordinate has a place for them: the result says so."""
    result = reproduce(name, TINY[name], tmp_path, store, published=others, progress=False)
    note = "The rows of others.csv are not shown: only test errors against d have others beside them."
    assert result.notes[-1] == note
    assert note in result.files[-1].read_text()
    assert not any("others.csv" in line.source for line in result.comparisons)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fig12"}, r"name must be one of 'fig3a', 'fig3b', .* 'anatomy', got 'fig12'"),
        ({"name": "fig3a", "preset": "fast"}, "preset must be one of 'quick', 'laptop', 'paper', got 'fast'"),
        ({"name": "rates", "preset": AGAINST_D}, "preset must be a RatesProtocol for rates, got a Protocol"),
        ({"name": "fig3a", "preset": 3}, "preset must be one of .* or a Protocol, got 3"),
        ({"name": "fig3a", "executor": "slurm"}, "executor must be one of 'local', 'ray', got 'slurm'"),
        ({"name": "fig3a", "threads": 0}, "threads must be at least 1, got 0"),
        ({"name": "fig3a", "networks": ["LX"]}, "networks must be among LN, LCN, GN for fig3a, got 'LX'"),
        ({"name": "fig5a", "networks": ["GN", "LN"]}, "networks must be among GN for fig5a, got 'LN'"),
        ({"name": "fig3a", "networks": []}, "networks must have at least one name, got none"),
        ({"name": "fig3a", "networks": "LN"}, r"networks must be a list of names, such as \['LN', 'LCN'\], got 'LN'"),
        ({"name": "rates", "networks": ["GN"]}, "networks must not be given for rates, only for the figures of curves"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    with pytest.raises((TypeError, ValueError), match=message):
        reproduce(**arguments, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_foreign_store_is_left_alone(tmp_path):
    (tmp_path / "runs.sqlite").write_text("something else\n" * 20)
    with pytest.raises(StoreError, match="not a store of pyneedle"):
        reproduce("fig5a", AGAINST_D, tmp_path, progress=False)
    assert (tmp_path / "runs.sqlite").read_text().startswith("something else")


def test_command_lists_and_refuses(tmp_path):
    listed = run("list")
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()] == experiments.names()
    bad = run("fig99", "--out", tmp_path)
    assert bad.exit_code == 2
    known = ", ".join(["all", "list", *experiments.names()])
    assert bad.stderr == f"Error: unknown experiment 'fig99'; known are {known}\n"
    assert run("fig3a", "--preset", "fast").exit_code == 2


def test_command_runs_and_prints(tmp_path, monkeypatch):
    for name in ("fig5a", "fig5b"):
        monkeypatch.setitem(experiments.EXPERIMENTS[name].protocols, "quick", AGAINST_D)
    dry = run("fig5a", "--dry-run", "--out", tmp_path)
    assert dry.exit_code == 0, dry.output
    assert "6 cells, 0 of them there, 6 to do" in dry.output
    assert not list(tmp_path.iterdir())
    done = run("fig5a", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "3.638" in done.output
    assert re.search(r"\d\.\d{3} ± \d", done.output)
    assert (tmp_path / "fig5a-quick.png").exists()
    quiet = run("fig5b", "--out", tmp_path, "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")


def test_command_runs_part_of_a_figure(tmp_path, monkeypatch):
    monkeypatch.setitem(experiments.EXPERIMENTS["fig3b"].protocols, "quick", AGAINST_D)
    part = ["fig3b", "--networks", "ln", "--networks", "LCN", "--out", tmp_path]
    assert "12 cells, 0 of them there, 12 to do" in run(*part, "--dry-run").output
    done = run(*part)
    assert done.exit_code == 0, done.output
    assert "LN and LCN alone" in done.output
    assert (tmp_path / "fig3b-quick-ln-lcn.png").exists()
    assert "12 cells, 12 of them there, 0 to do" in run(*part, "--dry-run").output
    for name in ("fig8", "all"):
        refused = run(name, "--networks", "LN", "--out", tmp_path / "none")
        assert refused.exit_code == 2
        assert re.fullmatch(r"Error: --networks must not be given for fig\d, only for .*\n", refused.stderr)
        assert not (tmp_path / "none").exists()


def test_remarks_of_an_estimate_name_their_experiment(tmp_path, monkeypatch):
    names = ["haystack", "fig5a", "fig8", "fig4"]
    for name in names:
        monkeypatch.setitem(experiments.EXPERIMENTS[name].protocols, "quick", TINY[name])
    monkeypatch.setattr(experiments, "running_order", lambda: names)
    dry = run("all", "--dry-run", "--out", tmp_path)
    assert dry.exit_code == 0, dry.output
    remarks = [(name, experiments.EXPERIMENTS[name].remark) for name in names]
    wanted = [f"{name}: {remark}" for name, remark in remarks if remark]
    assert len(wanted) == 3
    assert dry.stdout.splitlines()[-3:] == wanted


@pytest.mark.parametrize(
    ("options", "message", "status"),
    [
        (["--device", "cuda"], "Error: nothing was run: device 'cuda' is not available: this build", 1),
        (["--executor", "ray"], 'Error: nothing was run: executor "ray" needs Ray: pip install', 1),
        (["--threads", "0"], "Error: --threads must be at least 1, got 0", 2),
        (["--published", "none.csv"], "Error: --published: cannot read 'none.csv': No such file", 1),
        (["--published", "."], "Error: --published: cannot read '.': Is a directory", 1),
        (["--published", "not-csv"], "Error: --published must have the columns arch, target,", 2),
        (["--store", "none/runs.sqlite"], "Error: nothing was run: cannot make 'none/runs.sqlite': its folder", 1),
        (["--store", "not-csv"], "Error: nothing was run: 'not-csv' is not a store of pyneedle", 1),
    ],
)
@pytest.mark.parametrize("name", ["fig5a", "all"])
def test_what_would_end_it_is_said_once_and_nothing_made(name, options, message, status, tmp_path, monkeypatch):
    without_cuda(monkeypatch)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "not-csv").write_text("something else\n" * 20)
    result = run(name, "--out", tmp_path / "out", *options)
    assert result.exit_code == status
    assert result.stderr.startswith(message if name == "all" else message.replace("nothing was run", "fig5a failed"))
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_all_goes_on_after_a_failure(tmp_path, monkeypatch):
    for name in experiments.names():
        monkeypatch.setitem(experiments.EXPERIMENTS[name].protocols, "quick", TINY[name])
    monkeypatch.setattr(experiments, "running_order", lambda: ["fig5a", "fig8", "fig5b"])

    def broken(*_):
        raise RuntimeError("no more ink")

    monkeypatch.setitem(
        experiments._registry.EXPERIMENTS, "fig8", replace(experiments.EXPERIMENTS["fig8"], draw=broken)
    )
    result = run("all", "--out", tmp_path)
    assert result.exit_code == 1
    assert "fig8 failed: no more ink" in result.stderr
    assert "1 of 3 experiments failed: fig8" in result.stderr
    assert (tmp_path / "fig5b-quick.png").exists()
