"""`import pyneedle` imports numpy and the native module, nothing else that is installed."""

import subprocess
import sys

SCRIPT = """
import sys
import numpy
before = set(sys.modules)
import pyneedle
{more}
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(new - set(sys.stdlib_module_names)))
"""


def installed_modules(folder, more=""):
    # In a folder of its own, where no source folder hides the installed package; a fresh process.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(more=more)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return set(done.stdout.split())


def allowed(names):
    """Without what an editable install puts beside the package."""
    return {name for name in names if not name.startswith(("_editable", "__editable"))}


def test_import_is_light(tmp_path):
    assert allowed(installed_modules(tmp_path)) <= {"numpy", "pyneedle"}


def test_training_is_light(tmp_path):
    more = """
ds = pyneedle.make_dataset("square", 2, 100)
for network in (pyneedle.LocalNetwork(2, 3), pyneedle.GlobalNetwork(2, 3)):
    pyneedle.train(network, ds, epochs=1)
"""
    assert allowed(installed_modules(tmp_path, more)) <= {"numpy", "pyneedle"}
