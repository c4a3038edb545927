"""Our packages are ours, depend on each other in one direction only, and import in a moment.

runs → agents → qr_env ← judges: checked in the syntax tree of every file, whether it is imported at the top of a
module or inside a function.
"""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("qr_env", "judges", "agents", "runs")
FORBIDDEN = {"qr_env": {"judges", "agents", "runs"}, "judges": {"agents", "runs"}, "agents": {"judges", "runs"}}
HEAVY = {"torch", "transformers", "faiss", "bm25s", "numba", "wandb", "sentence_transformers", "trl", "matplotlib"}


def files(package):
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def type_checking_only(tree):
    """Nodes under `if TYPE_CHECKING:`, which never run."""
    guards = [n for n in ast.walk(tree) if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"]
    return {id(node) for guard in guards for statement in guard.body for node in ast.walk(statement)}


def in_functions(tree):
    """Nodes inside functions, which run when called."""
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {id(node) for function in functions for node in ast.walk(function)}


def imported(tree, without=frozenset()):
    """Top-level names of the packages that a module imports; `without`: ids of nodes that are left out."""
    names = set()
    for node in ast.walk(tree):
        if id(node) in without:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names.add((node.module or "").partition(".")[0])
    return names


def violations(package, forbidden, top_level=False):
    wrong = []
    for file in files(package):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        without = type_checking_only(tree) | in_functions(tree) if top_level else frozenset()
        wrong += [f"{file.relative_to(ROOT)}: {name}" for name in sorted(imported(tree, without) & forbidden)]
    return wrong


@pytest.mark.parametrize("package", OURS)
def test_the_packages_are_this_projects(package):
    # `agents` and `judges` are names that other distributions might install as well.
    assert Path(importlib.import_module(package).__file__).resolve().parent == ROOT / package


@pytest.mark.parametrize("package", FORBIDDEN)
def test_dependencies_point_one_way(package):
    assert violations(package, FORBIDDEN[package]) == []


@pytest.mark.parametrize("package", ["qr_env", "judges"])
def test_no_module_of_the_core_needs_heavy_libraries_to_import(package):
    # numba's decorators stand at the top of the files of kernels, which are imported where they are needed.
    kernels = {"qr_env/retrieval/bm25_kernel.py: numba", "qr_env/common/kernels.py: numba"}
    assert set(violations(package, HEAVY, top_level=True)) <= kernels


def test_runs_start_without_heavy_libraries():
    # The measurements of `qr bench online` handle tensors throughout; runs/bench/job.py imports them when asked.
    measured = {"runs/bench/online.py: torch", "runs/bench/roofline.py: torch"}
    assert set(violations("runs", HEAVY, top_level=True)) <= measured


def test_the_checks_see_what_they_look_for():
    tree = ast.parse(
        "def f():\n    import agents.rl.loop\nfrom torch import nn\nif TYPE_CHECKING:\n    import judges\n"
    )
    assert imported(tree) == {"agents", "torch", "judges"}
    assert imported(tree, type_checking_only(tree) | in_functions(tree)) == {"torch"}


@pytest.mark.parametrize("modules", ["qr_env", "qr_env, judges.factory, judges.simple.labels"])
def test_importing_the_core_loads_nothing_heavy(modules):
    code = f"import sys, {modules}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == ""
