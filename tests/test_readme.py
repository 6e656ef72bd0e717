"""The commands and examples of the README run as printed, without a warning."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def block(name: str) -> str:
    """Return the first fenced block after the line <!-- name -->."""
    match = re.search(
        rf"<!-- {re.escape(name)} -->\n+```\w*\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert match, f"README.md has no fenced block after <!-- {name} -->"
    return match.group(1)


def run(command: list[str], folder: Path, seconds: float = 120) -> str:
    """Return what a command prints; it must end well and print nothing to standard error."""
    # The commands of this interpreter's environment come first.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_first_command_shows_the_gap(tmp_path: Path) -> None:
    """GN's test error at the largest d is far from LN's, as the text below the command says."""
    install, reproduce = block("run").split(" && ")
    assert install == "pip install ."
    printed = run(["bash", "-euo", "pipefail", "-c", reproduce], tmp_path, seconds=1000)
    out = tmp_path / "reproduction"
    assert (out / "fig3a-quick.png").read_bytes().startswith(b"\x89PNG")
    runs, table = pd.read_csv(out / "fig3a-quick.csv"), pd.read_csv(out / "fig3a-quick-table.csv")
    last = table.iloc[-1]
    assert last["quantity"] == f"test error of GN / LN, d = {runs['d'].max()}"
    assert last["value"] >= 10
    assert last["quantity"] in printed


def test_example_runs_as_printed(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(block("example"), encoding="utf-8")
    assert run([sys.executable, "-W", "error", str(script)], tmp_path).startswith("completed: ")


def read_runs(folder: Path) -> list[tuple[object, ...]]:
    """All rows, with when they were made."""
    with closing(sqlite3.connect(folder / "runs.sqlite")) as connection:
        return connection.execute("SELECT * FROM runs ORDER BY cell").fetchall()


def test_sweeps_run_as_printed(tmp_path: Path) -> None:
    """The sweep in Python and the one in the file are the same: the commands find its runs in the store."""
    script = tmp_path / "example.py"
    script.write_text(
        f"import pyneedle as pn\n{block('sweep')}print(len(frame), set(frame['status']))", encoding="utf-8"
    )
    assert run([sys.executable, "-W", "error", str(script)], tmp_path) == "12 {'completed'}\n"
    (tmp_path / "sweep.toml").write_text(block("sweep.toml"), encoding="utf-8")
    stored = read_runs(tmp_path)
    printed = run(["bash", "-euo", "pipefail", "-c", block("sweep commands")], tmp_path)
    assert "12 runs in runs.sqlite: 12 completed" in printed
    assert read_runs(tmp_path) == stored
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 13
    assert (tmp_path / "runs.png").stat().st_size > 1000


def test_own_data_runs_as_printed(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(
        f"import pyneedle as pn\n{block('own data')}"
        "print(list(frame['n_samples']), set(frame['d']), set(frame['data']), set(frame['status']))",
        encoding="utf-8",
    )
    printed = run([sys.executable, "-W", "error", str(script)], tmp_path)
    assert printed == "[500, 1000, 2000, 500, 1000, 2000] {6} {'measurements.npz'} {'completed'}\n"


DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "bench/**/*.md", "tests/**/*.md")
    for path in README.parent.glob(pattern)
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(README.parent)))
def test_pictures_and_links_exist(document: Path) -> None:
    """Of every document; a link to a heading leads to one."""
    pictures = any((README.parent / "docs").glob("**/*.png"))  # a source distribution has none
    for target in re.findall(r"\]\(([^):]+)\)", document.read_text(encoding="utf-8")):
        if target.endswith(".png") and not pictures:
            continue
        name, _, heading = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), f"{document.name} links to {target}, which does not exist"
        assert not heading or heading in headings(path), f"{document.name} links to {target}, which has no such heading"


def headings(document: Path) -> set[str]:
    """The names that a document's headings have in links."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}
