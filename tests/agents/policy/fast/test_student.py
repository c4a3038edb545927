"""An exported student rewrites as its checkpoint does, is opened by name, and refused where it is damaged."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from agents.factory import AgentOptions, make_agent
from agents.policy.fast.export import export_student
from agents.policy.fast.facts import FAST_FILE, FastFacts, is_exported
from agents.policy.fast.student import FastStudent
from agents.policy.student import Student
from qr_env.common.errors import ConfigError
from tests.helpers.fakes import WordRetriever, tiny_shop
from tests.helpers.models import student_trained_on
from tests.helpers.structure import ROOT

PAIRS = [("couch", "sofa"), ("fridge", "refrigerator"), ("red couch", "sofa red"), ("trainers", "running shoes")]
QUERIES = [*(query for query, _ in PAIRS), "blue settee", "black fridge 2", "", "sofa " * 60]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    student = student_trained_on(PAIRS)
    student.combine, student.weight = "replace", 2.0
    student.save(folder)
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "fast"
    export_student(checkpoint, folder)
    return folder


def test_it_rewrites_as_the_checkpoint_does_alone_and_in_a_batch(checkpoint, exported) -> None:
    fast, slow = FastStudent.load(exported), Student.load(checkpoint)
    expected = slow.rewrite(QUERIES)
    assert fast.rewrite(QUERIES) == expected
    assert [fast.rewrite([query])[0] for query in QUERIES] == expected
    assert expected[0] == ["sofa"]
    assert (fast.combine, fast.weight, fast.max_new_tokens) == ("replace", 2.0, slow.max_new_tokens)


def test_samples_are_fixed_by_the_seed_and_follow_the_best_rewrite(exported) -> None:
    fast = FastStudent.load(exported)
    first, again, other = (fast.rewrite(["blue settee"] * 8, n=4, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert all(len(group) == 4 and group[0] == fast.rewrite(["blue settee"])[0][0] for group in first)


def test_it_is_opened_by_its_folder_like_a_checkpoint(exported) -> None:
    shop = tiny_shop()
    agent = make_agent(str(exported), AgentOptions(shop, WordRetriever(shop)))
    assert isinstance(agent, FastStudent) and agent.rewrite([]) == []
    assert is_exported(exported) and FastFacts.read(exported).quantization == "float32"


def test_opening_and_rewriting_load_no_torch(exported) -> None:
    code = (
        "import sys; from agents.policy.fast.student import FastStudent; "
        f"print(FastStudent.load({str(exported)!r}).rewrite(['couch'])[0][0], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["sofa", "False"]


def test_damage_is_named_with_the_way_out(exported, tmp_path) -> None:
    with pytest.raises(ConfigError, match="holds no exported student"):
        FastFacts.read(tmp_path)
    for name, content in (
        (FAST_FILE, "{"),
        ("model.bin", "damaged"),
        ("student.json", '{"template": "Q"}'),
        ("tokenizer.json", "{"),
    ):
        copy = tmp_path / name.replace(".", "-")
        copy.mkdir()
        for path in exported.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        (copy / name).write_text(content)
        with pytest.raises(ConfigError, match=r"damaged|another prompt|does not load"):
            FastStudent.load(copy)


def test_a_failed_export_leaves_no_folder(tmp_path) -> None:
    with pytest.raises(ConfigError, match="holds no student"):
        export_student(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_deletes_nothing_but_an_export(checkpoint, exported, tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("kept")
    for source, out, message in (
        (checkpoint, checkpoint, "no exported student"),
        (checkpoint, tmp_path, "no exported student"),
        (exported, tmp_path / "out", "exported student already"),
    ):
        with pytest.raises(ConfigError, match=message):
            export_student(source, out)
    assert (tmp_path / "notes.txt").read_text() == "kept" and (checkpoint / "model.safetensors").is_file()


def test_a_missing_model_is_named(exported, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    (copy / "model.bin").unlink()
    with pytest.raises(ConfigError, match="missing"):
        FastStudent.load(copy)
