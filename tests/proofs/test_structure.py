"""The structure of the source tree, beyond what import-linter and ruff check in `make check`."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import structure

HEAVY = {"torch", "transformers", "faiss", "bm25s", "numba", "wandb", "sentence_transformers", "trl", "matplotlib"}
LIGHT_VERBS = (
    "online",
    "recipe",
    "pairs",
    "evaluate",
    "rewrite",
    "table",
    "serve",
    "ope",
    "shoppers",
    "suggest",
    "shop",
    "play",
    "report",
    "dashboard",
    "models",
    "judge",
    "bench",
)


def loaded_after(code: str) -> set[str]:
    """Heavy libraries that a new interpreter has loaded after running `code`."""
    script = f"import sys\n{code}\nprint(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=structure.ROOT
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("package", structure.PACKAGES)
def test_the_imported_package_is_the_one_of_this_repository(package):
    # `agents` and `judges` are also import names of other distributions.
    assert Path(importlib.import_module(package).__file__).resolve().parent == structure.ROOT / package


def test_no_folder_holds_more_than_fifteen_files():
    assert {folder: count for folder, count in structure.files_per_folder().items() if count > 15} == {}


def test_few_imports_of_own_modules_inside_functions():
    found = [one for file in structure.source_files() for one in structure.own_imports_in_functions(file)]
    assert len(found) <= 20, found


def test_few_annotations_that_are_exactly_any():
    found = [one for file in structure.source_files() for one in structure.any_annotations(file)]
    assert len(found) <= 40, found


def test_every_dataclass_field_has_a_docstring():
    assert [one for file in structure.source_files() for one in structure.undocumented_fields(file)] == []


def test_every_axis_letter_is_in_the_table():
    assert {"N", "K"} <= structure.axis_letters()
    assert [one for file in structure.source_files() for one in structure.unknown_axes(file)] == []


def test_the_checks_find_what_they_look_for(tmp_path):
    file = tmp_path / "sample.py"
    file.write_text(
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n    y: Any\n    '''documented'''\n"
        "def f(a: Any) -> Any:\n    import qr_env.shop\n    from torch import nn\n    from judges import base\n"
    )
    assert structure.own_imports_in_functions(file) == [f"{file}:8", f"{file}:10"]
    assert len(structure.any_annotations(file)) == 3
    assert structure.undocumented_fields(file) == [f"{file}:4 A.x"]
    file.write_text(
        "def f(rows_NK, probs_NK4, mask_N_T, ids_PTp, word_x, x_1, _own_Q):\n    return rows_NK.scores_NX, N_K\n"
    )
    assert structure.unknown_axes(file) == [f"{file} {name}" for name in ("_own_Q", "mask_N_T", "scores_NX")]
    assert structure.imported_packages(ast.parse("import qr_env.shop").body[0]) == {"qr_env"}


@pytest.mark.parametrize(
    "code",
    [
        "import qr_env",
        "from runs.common.cli import main; main(['--help'])",
        *(f"import runs.{verb}.args" for verb in LIGHT_VERBS),
    ],
)
def test_starting_up_loads_no_heavy_library(code):
    assert loaded_after(code) == set()


@pytest.mark.parametrize("code", ["import qr_env.shop", "import judges, judges.factory", "import agents.baselines"])
def test_the_core_imports_without_torch(code):
    assert loaded_after(code) & {"torch", "transformers", "trl", "sentence_transformers", "wandb", "faiss"} == set()
