"""`qr online --optimizer ppo`: a whole run, resumed exactly with its value head, and refused to another optimizer."""

import shutil

import pytest

from agents.policy.checkpoint import load_checkpoint
from qr_env.common.errors import RunFolderError
from qr_env.shop.sources.files import write_shop
from runs.online.args import LearningSettings
from runs.online.job import main
from tests.helpers.fakes import tiny_shop
from tests.helpers.models import same_weights
from tests.runs.online.test_job import args

PPO = {"optimizer": "ppo", "learning": LearningSettings(kl_target=0.01)}


def run_and_resume(tmp_path, settings):
    """Optimizer states of a whole run, and of one whose last update was lost, refused to GRPO and then resumed."""
    write_shop(tiny_shop(), tmp_path / "shop")
    out, again = tmp_path / "run", tmp_path / "again"
    main(args(tmp_path / "shop", out, updates=3, **settings))
    shutil.copytree(out, again)
    for name in ("checkpoints/update-000003", "report.html", "eval.json"):
        path = again / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(RunFolderError, match=rf"another optimizer \('{settings['optimizer']}', now 'grpo'\)"):
        main(args(tmp_path / "shop", again, updates=3, resume=True))
    main(args(tmp_path / "shop", again, updates=3, resume=True, **settings))
    assert (again / "metrics.jsonl").read_bytes() == (out / "metrics.jsonl").read_bytes()
    (first, one), (second, other) = (load_checkpoint(folder / "checkpoints") for folder in (out, again))
    assert same_weights(first.model, second.model)
    return one["optimizer"], other["optimizer"]


@pytest.mark.usefixtures("own_cache")
def test_a_run_is_resumed_exactly_and_only_by_its_own_optimizer(tmp_path):
    heads = [state["value_head"]["weight"] for state in run_and_resume(tmp_path, PPO)]
    assert heads[0].any()
    assert (heads[0] == heads[1]).all()
