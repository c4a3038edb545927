"""`kill -9` at random points of `qr online`, then --resume: the files are those of a run that nobody killed.

    QR_KILLS=20 pytest tests/proofs/test_kill.py       # the proof at full length, minutes

The killed processes come from a fork server that has imported everything: a start costs no second of torch.
"""

import multiprocessing
import os
import random
import shutil
import time

import pytest
import torch

from agents.policy.checkpoint import load_checkpoint
from qr_env.common.errors import RunFolderError
from qr_env.shop.sources.files import write_shop
from runs.common.folder import run_lock
from runs.online.args import Args, EvaluationSettings, WarmStartSettings
from runs.online.job import main
from tests.helpers.fakes import tiny_shop
from tests.helpers.models import same_weights

KILLS = int(os.environ.get("QR_KILLS", "3"))
UPDATES = 3 + 3 * KILLS
SAME = ("metrics.jsonl", "samples.jsonl", "warm_pairs.jsonl", "eval.json")
PRELOAD = [
    "tests.proofs.test_kill",
    "agents.rl.loop",
    "agents.rl.grpo",
    "agents.examples.anchor",
    "accelerate",
    "transformers",
]


def settings(shop, out, **more):
    small = {"prompts": 4, "group_size": 4, "judge": "labels"}
    small |= {"warm_start": WarmStartSettings(pretrain=256, queries=50), "evaluation": EvaluationSettings(every=2)}
    return Args(shop=str(shop), out=out, updates=UPDATES, **small, **more)


def go_on(shop, out, cache, threads):
    """What a process does until it is killed."""
    torch.set_num_threads(threads)
    os.environ["QR_CACHE"] = str(cache)
    main(settings(shop, out, resume=True))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(shop folder, a finished run, cache)."""
    folder = tmp_path_factory.mktemp("kill")
    write_shop(tiny_shop(), folder / "shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QR_CACHE", str(folder / "cache"))
        main(settings(folder / "shop", folder / "whole"))
    return folder / "shop", folder / "whole", folder / "cache"


def after_the_warm_start(whole, out):
    """A run folder as it is when the online stage begins."""
    (out / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "warm_pairs.jsonl"):
        shutil.copy(whole / name, out)
    shutil.copytree(whole / "checkpoints" / "warm", out / "checkpoints" / "warm")
    return out


def reached(out):
    """Updates whose metrics are on disk."""
    file = out / "metrics.jsonl"
    return file.read_bytes().count(b'"phase": "online"') if file.is_file() else 0


def kill_at(process, out, update, delay):
    """True when the process was still at work `delay` seconds after it reached the update, and died of SIGKILL."""
    patience = time.monotonic() + 300
    while process.is_alive() and reached(out) < update and time.monotonic() < patience:
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.join()
    return process.exitcode == -9


def test_a_run_killed_again_and_again_ends_as_the_one_that_was_not(world, tmp_path, monkeypatch):
    shop, whole, cache = world
    out = after_the_warm_start(whole, tmp_path / "run")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    draw = random.Random(0)
    for number in range(KILLS):
        process = context.Process(target=go_on, args=(shop, out, cache, torch.get_num_threads()))
        process.start()
        update = 1 + 3 * number + draw.randrange(3)
        assert kill_at(process, out, update, draw.uniform(0, 0.05)), process.exitcode
        written, _, cut = (out / "metrics.jsonl").read_bytes().rpartition(b"\n")
        assert (whole / "metrics.jsonl").read_bytes().startswith(written + b"\n" + cut), f"kill {number + 1}"
    monkeypatch.setenv("QR_CACHE", str(cache))
    main(settings(shop, out, resume=True))
    for name in SAME:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (load_checkpoint(folder / "checkpoints")[0] for folder in (out, whole))
    assert same_weights(ours.model, theirs.model)


def test_a_folder_is_worked_in_by_one_process_and_free_after_its_kill(tmp_path):
    context = multiprocessing.get_context("forkserver")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path, held))
    process.start()
    assert held.wait(60)
    with pytest.raises(RunFolderError, match="another process works in"):
        main(settings(tmp_path / "shop", tmp_path))
    process.kill()
    process.join()
    with run_lock(tmp_path):
        assert list(tmp_path.iterdir()) == []


def hold(folder, held):
    """Work in the folder until killed."""
    with run_lock(folder):
        held.set()
        time.sleep(600)
