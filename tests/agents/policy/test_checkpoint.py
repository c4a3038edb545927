"""Checkpoints are atomic and pruned; loading names a damaged file."""

import json
import pickle
import resource
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.factory import checkpoint_folder
from agents.policy.checkpoint import (
    KEPT_CHECKPOINTS,
    MANIFEST,
    STATE_FILE,
    checkpoints,
    load_checkpoint,
    rng_state,
    save_checkpoint,
    save_student,
    set_rng_state,
)
from agents.policy.student import Student
from qr_env.common.errors import ConfigError, RunFolderError
from qr_env.common.hashing import sha256_file
from tests.helpers.models import same_weights, small_student
from tests.helpers.planted import Exploit


def test_loading_returns_what_was_saved(tmp_path):
    student = small_student()
    save_checkpoint(tmp_path, 7, student, {"progress": {"episodes": 3}})
    loaded, state = load_checkpoint(tmp_path)
    assert same_weights(loaded.model, student.model)
    assert (state["update"], state["progress"]) == (7, {"episodes": 3})


def test_the_newest_is_loaded_and_old_ones_are_deleted(tmp_path):
    for update in (1, 2, 30):
        save_checkpoint(tmp_path, update, small_student(), {})
    assert len(checkpoints(tmp_path)) == KEPT_CHECKPOINTS
    assert load_checkpoint(tmp_path)[1]["update"] == 30


def test_an_incomplete_checkpoint_is_ignored(tmp_path):
    save_checkpoint(tmp_path, 1, small_student(), {})
    (tmp_path / ".update-000002.part").mkdir()
    (tmp_path / "update-000003").mkdir()  # no manifest
    assert load_checkpoint(tmp_path)[1]["update"] == 1


@pytest.mark.parametrize("file", ["model.safetensors", "state.pt"])
def test_a_damaged_file_is_named(tmp_path, file):
    path = save_checkpoint(tmp_path, 1, small_student(), {}) / file
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(RunFolderError, match=file.replace(".", r"\.")):
        load_checkpoint(tmp_path)


def test_the_error_names_the_previous_checkpoint(tmp_path):
    first, second = (save_checkpoint(tmp_path, update, small_student(), {}) for update in (1, 2))
    (second / "state.pt").unlink()
    with pytest.raises(RunFolderError, match=r"delete .*update-000002 to continue from update-000001"):
        load_checkpoint(tmp_path)
    second.rename(tmp_path / "broken")
    assert load_checkpoint(tmp_path)[1]["update"] == 1
    (first / "manifest.json").write_text('{"state.pt": ')
    with pytest.raises(RunFolderError, match=r"manifest\.json is missing or damaged.*it is the only one"):
        load_checkpoint(tmp_path)


class Killed(BaseException):
    """Stands for SIGKILL: no code catches it."""


@pytest.mark.parametrize("clean_up", [True, False], ids=["ctrl-c", "kill -9"])
@pytest.mark.parametrize("step", range(6))
def test_after_a_kill_at_any_step_the_old_or_the_new_student_loads(tmp_path, monkeypatch, step, clean_up):
    """The process dies before the n-th change of the folders; after `kill -9` no clean-up changes them either."""
    first, second = small_student(seed=0), small_student(seed=1)
    best, calls = save_student(tmp_path / "best", first), []

    def killed_at_step(function):
        def wrapper(*args, **settings):
            calls.append(function)
            if len(calls) == step + 1 or (len(calls) > step and not clean_up):
                raise Killed
            return function(*args, **settings)

        return wrapper

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed_at_step(Path.replace))
        patch.setattr(shutil, "rmtree", killed_at_step(shutil.rmtree))
        with suppress(Killed):
            save_student(best, second)
    assert any(same_weights(Student.load(best).model, student.model) for student in (first, second))
    assert checkpoint_folder(str(best)) == best
    save_student(best, second)
    assert same_weights(Student.load(best).model, second.model)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_checkpoint_moved_aside_by_an_interrupted_save_is_recovered(tmp_path):
    save_checkpoint(tmp_path, 1, small_student(), {}).rename(tmp_path / ".update-000001.old")
    assert load_checkpoint(tmp_path)[1]["update"] == 1


def test_checkpoints_beyond_six_digits_sort_by_number(tmp_path):
    for update in (999_998, 999_999, 1_000_000):
        save_checkpoint(tmp_path, update, small_student(), {})
    assert [path.name for path in checkpoints(tmp_path)] == ["update-999999", "update-1000000"]
    assert load_checkpoint(tmp_path)[1]["update"] == 1_000_000


@contextmanager
def file_size_limit(size):
    """The kernel refuses longer files, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("state", [{}, {"envs": list(range(10**6))}])  # the weights, or only the state, do not fit
def test_a_full_disk_raises_and_changes_no_checkpoint(tmp_path, state):
    student = small_student()
    save_checkpoint(tmp_path, 1, student, {})
    best = save_student(tmp_path / "best", student)
    size = (best / "model.safetensors").stat().st_size
    with file_size_limit(size + 10_000 if state else size // 2):
        with pytest.raises(RunFolderError, match="update-000002 could not be written"):
            save_checkpoint(tmp_path, 2, student, state)
        if not state:
            with pytest.raises(RunFolderError, match="best could not be written"):
                save_student(best, small_student(seed=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "update-000001"]
    assert load_checkpoint(tmp_path)[1]["update"] == 1
    assert same_weights(Student.load(best).model, student.model)


def test_resuming_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="without `resume`"):
        load_checkpoint(tmp_path)


def test_random_generators_are_restored():
    state = rng_state()
    drawn = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    set_rng_state(state)
    assert torch.equal(torch.rand(3), drawn[0])
    assert (np.random.rand(3) == drawn[1]).all()  # noqa: NPY002


def test_a_saved_student_is_replaced_completely(tmp_path):
    first, second = small_student(seed=0), small_student(seed=1)
    save_student(tmp_path / "best", first)
    save_student(tmp_path / "best", second)
    assert same_weights(Student.load(tmp_path / "best").model, second.model)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_checkpoint_that_could_run_code_is_not_read(tmp_path):
    mark = tmp_path / "code-was-run"
    folder = save_checkpoint(tmp_path, 1, small_student(), {"progress": {"episodes": Exploit(mark)}})
    with pytest.raises(RunFolderError, match=r"state.pt holds objects other than .* could run code"):
        load_checkpoint(tmp_path)
    for content in (pickle.dumps(Exploit(mark), protocol=2), b"PK\x03\x04broken", b""):
        (folder / STATE_FILE).write_bytes(content)
        sums = json.loads((folder / MANIFEST).read_text()) | {STATE_FILE: sha256_file(folder / STATE_FILE)}
        (folder / MANIFEST).write_text(json.dumps(sums))
        with pytest.raises(RunFolderError, match=r"state.pt "):
            load_checkpoint(tmp_path)
    assert not mark.exists()


def test_a_student_in_a_pickle_is_not_read(tmp_path):
    folder, mark = save_checkpoint(tmp_path, 1, small_student(), {}), tmp_path / "code-was-run"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Exploit(mark)))
    with pytest.raises(ConfigError, match=r"pytorch_model.bin is a pickle, which can run code"):
        Student.load(folder)
    assert not mark.exists()


def test_arrays_and_numbers_of_numpy_come_back_with_every_bit(tmp_path):
    values = np.random.default_rng(0).normal(size=5)
    state = {"alarms": [{"kl": np.float32(0.1)}], "test": {(1, 0.5): (3, values)}}
    save_checkpoint(tmp_path, 1, small_student(), state)
    _, loaded = load_checkpoint(tmp_path)
    assert loaded["alarms"] == [{"kl": float(np.float32(0.1))}]
    count, read = loaded["test"][1, 0.5]
    assert count == 3 and isinstance(read, np.ndarray) and read.tobytes() == values.tobytes()
