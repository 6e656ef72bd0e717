"""docs/figures.md against the program, without training: everything that it says but the numbers of the runs."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pyneedle import experiments
from pyneedle.experiments._tables import make_table

DOCS = Path(__file__).resolve().parents[2] / "docs"
SECTIONS = dict(re.findall(r"^## (\w+): (.*?)(?=^## |\Z)", (DOCS / "figures.md").read_text(), re.DOTALL | re.MULTILINE))
# What a row of the haystack found out is no setting.
FOUND = re.compile(r"; (about|at most|more than) .*")


class MadeUp:
    """A session whose runs have errors that grow like d^3 / N, and nothing is trained."""

    def run(self, sweep, parameters=False):
        rows = [
            {
                "cell": cell.id, "network": cell.network, "penalty": cell.penalty_kind, "d": cell.d,
                "n_samples": cell.n_samples, "status": "completed", "path_norm": float(cell.d), "best_epoch": 1,
                "test_mse_original": 0.1 * cell.d**3 / cell.n_samples,
                "train_mse_original": 0.01 * cell.d**3 / cell.n_samples,
            }
            for cell in sweep.cells
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def history(self, cell):
        losses = np.full(cell.epochs, 0.1)
        units = np.ones((cell.epochs, 2))
        return {
            "train_loss": losses, "validation_loss": losses, "dead_units": units, "on_units": units,
            "mixed_units": units,
        }  # fmt: skip

    def parameters(self, cell):
        return cell.make_network().init(0)

    def go_on(self, continuations):
        errors = dict.fromkeys(("train_mse_original", "validation_mse_original", "test_mse_original"), 0.1)
        return [SimpleNamespace(history=self.history(one.cell), **errors) for one in continuations]


def test_every_experiment_has_its_section():
    assert list(SECTIONS) == experiments.names()


@pytest.mark.parametrize("name", experiments.names())
def test_a_section_says_what_the_program_does(name):
    experiment = experiments.EXPERIMENTS[name]
    analysis = experiment.analyse(MadeUp(), experiment.protocols["quick"], None)
    table = make_table(analysis.comparisons)
    title, picture, preset, head, *rows = [line for line in SECTIONS[name].splitlines() if line]
    assert title == experiment.title
    file = f"{name}-quick.png" if name == "fig3a" else f"figures/{name}-quick.png"
    assert picture == f"![{title}]({file})"
    assert preset == f"Preset `quick`. {table.protocol}".rstrip()
    assert head == "| quantity | published | this run | protocol |"
    shown = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows if row.startswith("| ")][1:]
    wanted = [(quantity, published, protocol) for quantity, published, _, protocol in table.rows]
    assert [(FOUND.sub("", row[0]), row[1], row[3]) for row in shown] == [
        (FOUND.sub("", row[0]), *row[1:]) for row in wanted
    ]
    for note in analysis.notes:
        assert note in SECTIONS[name].splitlines()
