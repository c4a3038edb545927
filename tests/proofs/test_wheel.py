"""A wheel built from the repository, installed into an empty folder, runs outside the repository."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.helpers.structure import PACKAGES, ROOT

SCRIPT = """
import gymnasium, judges, qr_env, runs
from pathlib import Path
assert Path(qr_env.__file__).is_relative_to({site!r}), qr_env.__file__
envs = gymnasium.make_vec("qr_env:QueryRewrite-v0", num_envs=2, shop="generated")
observations, _ = envs.reset(seed=0)
_, rewards, _, _, _ = envs.step(["", ""])
assert (rewards == 0).all()
print(observations["query"][0])
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the wheel is installed, without its dependencies: those are this environment's."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True)
    [wheel] = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel], check=True)
    return folder / "site"


def run(site, *arguments):
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=site.parent, env=environment, capture_output=True, text=True, check=True
    )


def test_the_environment_opens_by_names(site):
    assert run(site, "-c", SCRIPT.format(site=str(site))).stdout.strip()


@pytest.mark.parametrize("verb", ["online", "recipe", "judge", "bench"])
def test_verbs_print_their_help(site, verb):
    assert f"qr {verb}" in run(site, "-m", f"runs.{verb}", "--help").stdout


def test_files_that_are_not_code_are_in_the_wheel(site):
    expected = [
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".yaml", ".html", ".java", ".md", ".typed") and "__pycache__" not in path.parts
    ]
    assert len(expected) > 30
    assert [str(path) for path in expected if not (site / path).is_file()] == []


def test_a_shop_is_described(site):
    assert "24,000" in run(site, "-m", "runs.shop", "generated", "--samples", "1").stdout
