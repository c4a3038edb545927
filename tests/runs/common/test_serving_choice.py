"""serve.json is read back as it was written, with paths of its own folder; a damaged or foreign one is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qr_env.common.errors import IndexMismatchError, RunFolderError
from runs.common.serving_choice import (
    SERVE_FILE,
    CandidateFigures,
    Grading,
    PairedComparison,
    ServingChoice,
    joined_spec,
    read_serving_choice,
    write_serving_choice,
)

CANDIDATES = [
    CandidateFigures("identity", "identity", 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    CandidateFigures("online", "checkpoints/best", 0.4, 0.1, 0.05, 0.15, 0.3, 0.1, None),
]
GRADING = Grading(
    "labels",
    "nDCG@10",
    "test",
    89,
    1e-6,
    "online",
    CANDIDATES,
    [PairedComparison("online", "identity", 0.1, 0.05, 0.15, 0.01)],
)
CHOICE = ServingChoice(
    serve="online",
    agent_spec="checkpoints/best",
    reason="Serve the student: …",
    combine="expand",
    original_weight=1.0,
    retriever="bm25",
    judge="embedding",
    shop_hash="aaaa",
    products_hash="bbbb",
    max_worse=0.1,
    alpha=0.05,
    gradings=[GRADING],
)


def test_it_is_read_back_with_the_paths_of_its_folder(tmp_path):
    write_serving_choice(tmp_path, CHOICE)
    for path in (tmp_path, tmp_path / SERVE_FILE):
        choice = read_serving_choice(path, products_hash="bbbb")
        assert choice.agent_spec == choice.gradings[0].candidates[1].agent_spec == str(tmp_path / "checkpoints/best")
        assert replace(choice, agent_spec="", gradings=[]) == replace(CHOICE, agent_spec="", gradings=[])
        assert choice.gradings[0].comparisons == GRADING.comparisons
    assert sorted(path.name for path in tmp_path.iterdir()) == [SERVE_FILE]


def test_names_and_files_of_agents():
    folder = Path("out/mine")
    assert joined_spec("suggest", folder) == "suggest"
    assert joined_spec("suggest:suggest.json", folder) == "suggest:out/mine/suggest.json"
    assert joined_spec("checkpoints/best", folder) == "out/mine/checkpoints/best"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunFolderError, match=r"serve\.json: no such file; `qr online` writes it"):
        read_serving_choice(tmp_path)


def test_another_shop_is_refused(tmp_path):
    write_serving_choice(tmp_path, CHOICE)
    with pytest.raises(IndexMismatchError, match="products bbbb, the shop has cccc"):
        read_serving_choice(tmp_path, products_hash="cccc")


DAMAGED = {
    "not JSON": lambda values: "{",
    "max_worse": lambda values: json.dumps(values | {"max_worse": "many"}),
    "reason": lambda values: json.dumps({name: value for name, value in values.items() if name != "reason"}),
    "serves 'nobody'": lambda values: json.dumps(values | {"serve": "nobody"}),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_file_is_refused(tmp_path, fault):
    path = write_serving_choice(tmp_path, CHOICE)
    path.write_text(DAMAGED[fault](json.loads(path.read_text())))
    with pytest.raises(RunFolderError, match="the file" if fault == "not JSON" else fault):
        read_serving_choice(tmp_path)
