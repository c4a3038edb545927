"""The code of the guides runs unchanged: extend.md as an installed package, README.md's Python as a script."""

import importlib
import re
import sys
import tomllib

import gymnasium
import numpy as np
import pytest
import torch
from accelerate import Accelerator

from agents.factory import AgentOptions, make_agent
from qr_env.retrieval import BM25
from qr_env.shop import load_shop
from runs.online.args import Args
from runs.online.learners import make_optimizer
from tests.helpers.models import small_student
from tests.helpers.structure import ROOT

GUIDE = (ROOT / "runs" / "guides" / "extend.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """`my_shop_parts` as pip would install it: a module, and a .dist-info folder with its entry points."""
    (tmp_path / "my_shop_parts.py").write_text("\n\n".join(blocks(GUIDE, "python")), encoding="utf-8")
    info = tmp_path / "my_shop_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-shop-parts\nVersion: 1.0\n")
    groups = tomllib.loads(blocks(GUIDE, "toml")[0])["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in one.items()) for group, one in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("my_shop_parts")
    sys.modules.pop("my_shop_parts", None)


@pytest.fixture(scope="module")
def shop():
    return load_shop("generated")


def test_a_judge_a_retriever_and_a_reward_of_another_package_work_by_name(other_package, shop):
    envs = gymnasium.make_vec(
        "qr_env:QueryRewrite-v0",
        num_envs=4,
        shop=shop,
        judge="word-share",
        retriever="titles-only",
        reward="recall-only",
    )
    observations, _ = envs.reset(seed=0)
    _, rewards, _, _, infos = envs.step([f"{query} lamp" for query in observations["query"]])
    assert set(infos["reward_terms"]) >= {"increment"} and np.isfinite(rewards).all()
    _, rewards, *_ = envs.step([""] * 4)
    assert (rewards == 0).all()


def test_a_rewriter_of_another_package_works_by_name(other_package, shop):
    agent = make_agent("lowercase", AgentOptions(shop, BM25.build(shop)))
    assert agent.rewrite(["Red LAMP"]) == [["red lamp"]]


def test_an_optimizer_of_another_package_learns_by_name(other_package):
    student = small_student()
    optimizer = make_optimizer(Args(optimizer="reinforce", learning_rate=1e-2), student, Accelerator(cpu=True), None)
    generator = torch.Generator().manual_seed(0)
    means, queries = [], ["red sofa"] * 4
    for _ in range(60):  # the reward: letters of the rewrite
        rollout = student.sample(queries, 8, 1.0, generator)
        rewards_PG = torch.tensor([float(len(text)) for text in student.texts(rollout, queries)]).reshape(4, 8)
        rewards_PG[0, 0] = float("nan")
        metrics = optimizer.update(rollout, rewards_PG)
        means.append(rewards_PG.nanmean().item())
    assert np.isfinite(metrics["loss"])
    assert np.mean(means[-5:]) > np.mean(means[:5]) + 1


def test_the_readme_s_python_runs():
    found = blocks(README, "python")
    assert len(found) == 2
    for code in found:
        exec(compile(code, "README.md", "exec"), {})


def test_no_paragraph_of_the_readme_is_longer_than_four_lines():
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    paragraphs = [part.splitlines() for part in re.split(r"\n\s*\n|\n(?=[-#|])", text) if not part.startswith("|")]
    assert max(len(lines) for lines in paragraphs) <= 4
    first_table = README.index("## Your own shop")
    assert all(len(line) <= 130 for line in README[first_table:].splitlines() if not line.startswith(("|", "[")))
