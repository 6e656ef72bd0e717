"""The rules of the source tree: which way native code depends, how long a file may be, no path of anyone's machine.

Each rule is a function from a tree to the list of its violations. The tree of this checkout must have none, and
made-up trees show that each rule finds what it forbids.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 500

# Folder of csrc -> folders whose headers it may include.
MAY_INCLUDE = {
    "core": {"core"},
    "reference": {"core", "reference"},
    "cpu": {"core", "cpu"},
    "cuda": {"core", "cuda"},
    "bind": {"core", "reference", "cpu", "cuda", "bind"},
}
# Folder of csrc -> headers from outside the project and the standard library that it may include.
EXTERNAL = {
    "core": r"$^",
    "reference": r"$^",
    "cpu": r"(immintrin|arm_neon|dlfcn|pthread|sched|unistd)\.h|(openblas_config|cblas|openblas/cblas)\.h",
    "cuda": r"cuda\w*\.h|cuda/.*|cublas\w*\.h|library_types\.h|dlfcn\.h|cub/.*|cooperative_groups.*|mma\.h|nvrtc\.h",
    "bind": r"pybind11/.*|Python\.h|dlfcn\.h",
}
STANDARD_LIBRARY = r"[a-z0-9_]+"  # <vector>; everything else that we might include has a dot or a slash in its name
# What a file that is compiled per instruction-set level may include: nothing with templates or inline functions of
# external linkage, of which the linker would keep one level's copy for the whole program.
LEVEL_HEADERS = {"cfloat", "climits", "cmath", "cstddef", "cstdint", "immintrin.h", "type_traits"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
NATIVE = {".hpp", ".h", ".cpp", ".cu", ".cuh", ".inl"}
TEXT = NATIVE | {".py", ".pyi", ".md", ".toml", ".txt", ".cmake", ".yml", ".yaml", ".json", ".csv", ".sh", ".cfg", ""}
SKIPPED_FOLDERS = {"build", "dist", "__pycache__", "node_modules"}


def files(root: Path, *folders: str) -> Iterator[Path]:
    """Files below the folders of a tree, without build products and hidden folders other than .ci."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root).parts
            hidden = any(part.startswith(".") and part != ".ci" for part in parts)
            if path.is_file() and not hidden and SKIPPED_FOLDERS.isdisjoint(parts):
                yield path


def includes(path: Path) -> Iterator[tuple[str, str]]:
    """The bracket and the name of each #include."""
    yield from INCLUDE.findall(path.read_text(encoding="utf-8"))


def wrong_includes(root: Path) -> list[str]:
    """#include lines against the direction of dependence: core <- cpu, cuda, reference <- bind."""
    found = []
    for path in files(root, "csrc"):
        if path.suffix not in NATIVE:
            continue
        folder = path.relative_to(root / "csrc").parts[0]
        where = path.relative_to(root).as_posix()
        if folder not in MAY_INCLUDE:
            found.append(f"{where}: csrc/{folder} is no known folder")
            continue
        for bracket, name in includes(path):
            if bracket == '"':
                good = name.split("/")[0] in MAY_INCLUDE[folder] and ".." not in name.split("/")
            else:
                good = re.fullmatch(STANDARD_LIBRARY, name) or re.fullmatch(EXTERNAL[folder], name)
            if not good:
                found.append(f"{where} includes {name}")
    return found


def wrong_level_includes(root: Path) -> list[str]:
    """Standard-library headers with templates in the files compiled once per instruction-set level."""
    return [
        f"{path.relative_to(root).as_posix()} includes <{name}>"
        for path in files(root, "csrc")
        if path.suffix == ".inl"
        for bracket, name in includes(path)
        if bracket == "<" and name not in LEVEL_HEADERS
    ]


def long_files(root: Path) -> list[str]:
    """Source files above the limit of lines."""
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in files(root, "csrc", "pyneedle", "tests", "bench")
        if path.suffix in NATIVE | {".py", ".pyi"}
    }
    return [f"{path.relative_to(root).as_posix()} has {n} lines" for path, n in lengths.items() if n > MAX_LINES]


# An absolute path into a folder that only one machine has; not the end of a longer path or address.
MACHINE_PATH = re.compile(
    r"(?<![\w.~}/-])/(?:home|root|work|Users|mnt|media|opt|scratch|data|tmp)(?:/[\w.-]+)+|\b[A-Z]:\\\w+"
)


def machine_paths(root: Path) -> list[str]:
    """Absolute paths of someone's machine."""
    top = [path for path in sorted(root.iterdir()) if path.is_file() and path.name != ".git"]
    return [
        f"{path.relative_to(root).as_posix()}: {match.group()}"
        for path in [*top, *files(root, ".ci", "csrc", "pyneedle", "tests", "bench", "docs")]
        if path.suffix in TEXT
        for match in MACHINE_PATH.finditer(path.read_text(encoding="utf-8"))
    ]


Rule = Callable[[Path], list[str]]


@pytest.mark.parametrize("rule", [wrong_includes, wrong_level_includes, long_files, machine_paths])
def test_this_tree_keeps_the_rule(rule: Rule) -> None:
    assert list(files(ROOT, "csrc")), "no native sources: is this a checkout?"
    assert rule(ROOT) == []


OUTSIDE = "/" + "home/someone/data.csv"  # in two pieces, or this very file would break the rule

CASES = [
    (wrong_includes, "csrc/core/a.hpp", "#include <vector>\n#include <cstdint>\n", None),
    (wrong_includes, "csrc/core/a.hpp", '#include "core/b.hpp"\n', None),
    (wrong_includes, "csrc/core/a.cpp", '#include "cpu/isa.hpp"\n', "csrc/core/a.cpp includes cpu/isa.hpp"),
    (wrong_includes, "csrc/core/a.hpp", "#include <immintrin.h>\n", "csrc/core/a.hpp includes immintrin.h"),
    (wrong_includes, "csrc/core/a.hpp", "#include <pybind11/numpy.h>\n", "csrc/core/a.hpp includes pybind11/numpy.h"),
    (wrong_includes, "csrc/core/a.hpp", '#include "../cpu/isa.hpp"\n', "csrc/core/a.hpp includes ../cpu/isa.hpp"),
    (wrong_includes, "csrc/core/a.hpp", '#include "core/../cpu/i.hpp"\n', "csrc/core/a.hpp includes core/../cpu/i.hpp"),
    (wrong_includes, "csrc/cpu/levels/a.inl", '#include "cpu/simd.hpp"\n', None),
    (wrong_includes, "csrc/cpu/a.cpp", '#include "core/adam.hpp"\n#include <immintrin.h>\n', None),
    (wrong_includes, "csrc/cpu/a.cpp", '  #  include "reference/r.hpp"\n', "csrc/cpu/a.cpp includes reference/r.hpp"),
    (wrong_includes, "csrc/cpu/a.cpp", '#include "cuda/k.hpp"\n', "csrc/cpu/a.cpp includes cuda/k.hpp"),
    (wrong_includes, "csrc/cpu/a.cpp", "#include <Python.h>\n", "csrc/cpu/a.cpp includes Python.h"),
    (wrong_includes, "csrc/cuda/a.cu", "#include <cuda_runtime.h>\n#include <cublasLt.h>\n", None),
    (wrong_includes, "csrc/cuda/a.cu", '#include "cpu/simd.hpp"\n', "csrc/cuda/a.cu includes cpu/simd.hpp"),
    (wrong_includes, "csrc/reference/a.cpp", '#include "cpu/k.hpp"\n', "csrc/reference/a.cpp includes cpu/k.hpp"),
    (wrong_includes, "csrc/bind/a.cpp", '#include <pybind11/pybind11.h>\n#include "cpu/k.hpp"\n', None),
    (wrong_includes, "csrc/lab/a.cpp", "int a;\n", "csrc/lab/a.cpp: csrc/lab is no known folder"),
    (wrong_level_includes, "csrc/cpu/levels/a.inl", "#include <cstdint>\n", None),
    (wrong_level_includes, "csrc/cpu/a.cpp", "#include <vector>\n", None),
    (wrong_level_includes, "csrc/cpu/levels/a.inl", "#include <vector>\n", "csrc/cpu/levels/a.inl includes <vector>"),
    (long_files, "pyneedle/a.py", "x = 1\n" * 500, None),
    (long_files, "pyneedle/a.py", "x = 1\n" * 501, "pyneedle/a.py has 501 lines"),
    (long_files, "csrc/cpu/levels/a.inl", "\n" * 501, "csrc/cpu/levels/a.inl has 501 lines"),
    (long_files, "tests/native/a.cpp", "\n" * 501, "tests/native/a.cpp has 501 lines"),
    (long_files, "bench/a.py", "\n" * 501, "bench/a.py has 501 lines"),
    (long_files, "build/a.py", "\n" * 501, None),
    (machine_paths, "README.md", "see https://example.org/home/page and $HOME/data, ./work/x, ~/opt/y\n", None),
    (machine_paths, "README.md", f"see {OUTSIDE}\n", f"README.md: {OUTSIDE}"),
    (machine_paths, "pyneedle/a.py", f"open('{OUTSIDE}')\n", f"pyneedle/a.py: {OUTSIDE}"),
    (machine_paths, ".ci/run", f"cd {OUTSIDE}\n", f".ci/run: {OUTSIDE}"),
    (machine_paths, "pyproject.toml", "'C:" + "\\Users\\x'\n", "pyproject.toml: C:" + "\\Users"),
]


@pytest.mark.parametrize(("rule", "path", "text", "violation"), CASES)
def test_rule_on_a_made_up_tree(rule: Rule, path: str, text: str, violation: str | None, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text, encoding="utf-8")
    assert rule(tmp_path) == ([] if violation is None else [violation])


@pytest.mark.skipif(not (shutil.which("c++") and shutil.which("nm")), reason="needs c++ and nm")
@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("namespace { inline int f(int x) { return x + 1; } }\nint g(int x) { return f(x); }", 0, "define nothing"),
        (
            "inline __attribute__((noinline)) int f(int x) { return x + 1; }\nint g(int x) { return f(x); }",
            1,
            "_Z1fi (W)",
        ),
        ("template <class T> __attribute__((noinline)) T f(T x) { return x + 1; }\ntemplate int f(int);", 1, "(W)"),
        ("int h();\nint now = h();", 1, "runs before main"),
    ],
)
def test_level_symbols(text: str, code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "avx2.cpp").write_text(text, encoding="utf-8")
    subprocess.run(["c++", "-O2", "-c", "avx2.cpp"], cwd=tmp_path, check=True)
    command = [sys.executable, str(ROOT / ".ci" / "level_symbols"), "avx2.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stdout
