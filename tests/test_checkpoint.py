"""Checkpoints are whole or not there, pruned, and damage is named."""

import numpy as np
import pytest
import torch

from agents.checkpoint import (
    KEEP,
    checkpoints,
    load_checkpoint,
    rng_state,
    save_checkpoint,
    save_student,
    set_rng_state,
)
from agents.student import Student
from qr_env.errors import RunFolderError
from tests.models import same_weights, small_student


def test_what_is_saved_comes_back(tmp_path):
    student = small_student()
    save_checkpoint(tmp_path, 7, student, {"progress": {"episodes": 3}})
    loaded, state = load_checkpoint(tmp_path)
    assert same_weights(loaded.model, student.model)
    assert (state["update"], state["progress"]) == (7, {"episodes": 3})


def test_the_newest_is_read_and_old_ones_go(tmp_path):
    for update in (1, 2, 30):
        save_checkpoint(tmp_path, update, small_student(), {})
    assert len(checkpoints(tmp_path)) == KEEP
    assert load_checkpoint(tmp_path)[1]["update"] == 30


def test_a_half_written_one_is_not_seen(tmp_path):
    save_checkpoint(tmp_path, 1, small_student(), {})
    (tmp_path / ".update-000002.part").mkdir()
    (tmp_path / "update-000003").mkdir()  # no manifest
    assert load_checkpoint(tmp_path)[1]["update"] == 1


@pytest.mark.parametrize("file", ["model.safetensors", "state.pt"])
def test_damage_is_named(tmp_path, file):
    path = save_checkpoint(tmp_path, 1, small_student(), {}) / file
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(RunFolderError, match=file.replace(".", r"\.")):
        load_checkpoint(tmp_path)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(RunFolderError, match="without --resume"):
        load_checkpoint(tmp_path)


def test_generators_go_on_where_they_were():
    state = rng_state()
    drawn = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    set_rng_state(state)
    assert torch.equal(torch.rand(3), drawn[0])
    assert (np.random.rand(3) == drawn[1]).all()  # noqa: NPY002


def test_the_serving_student_is_replaced_whole(tmp_path):
    first, second = small_student(seed=0), small_student(seed=1)
    save_student(tmp_path / "best", first)
    save_student(tmp_path / "best", second)
    assert same_weights(Student.load(tmp_path / "best").model, second.model)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
