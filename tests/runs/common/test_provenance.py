"""Provenance of a result: commit, machine and versions."""

import json

from runs.common import provenance
from runs.common.provenance import environment, git_commit, machine, machine_line, versions


def test_the_environment_has_machine_and_versions():
    found = json.loads(json.dumps(environment()))
    assert set(found["machine"]) == {"cpu", "cores", "memory_gib", "load", "os"} and found["machine"]["cores"] >= 1
    assert found["versions"]["python"].startswith("3.")
    assert {"torch", "numpy", "bm25s", "qr-env"} <= set(versions())
    assert all(versions().values())
    assert found["versions"] == versions()


def test_a_machine_is_described_in_one_line():
    assert f"{machine()['cores']} cores {machine()['cpu']}" in machine_line(machine())


def test_outside_a_git_checkout_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "environment.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() == ""
