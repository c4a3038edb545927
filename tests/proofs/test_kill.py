"""`kill -9` at random points of `qr online`, then --resume: the files equal those of an uninterrupted run.

    QR_KILLS=20 pytest tests/proofs/test_kill.py       # the full proof, minutes

The killed processes are forked by a server that has imported everything, so that each start takes no seconds.
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


def resume(shop, out, cache, threads):
    """The work of a process until it is killed."""
    torch.set_num_threads(threads)
    os.environ["QR_CACHE"] = str(cache)
    main(settings(shop, out, resume=True))


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """(shop folder, run folder, cache)."""
    folder = tmp_path_factory.mktemp("kill")
    write_shop(tiny_shop(), folder / "shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QR_CACHE", str(folder / "cache"))
        main(settings(folder / "shop", folder / "uninterrupted"))
    return folder / "shop", folder / "uninterrupted", folder / "cache"


def run_after_warm_start(uninterrupted, out):
    """A run folder at the beginning of the online stage."""
    (out / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "warm_pairs.jsonl"):
        shutil.copy(uninterrupted / name, out)
    shutil.copytree(uninterrupted / "checkpoints" / "warm", out / "checkpoints" / "warm")
    return out


def logged_updates(out):
    """Number of updates whose metrics are on disk."""
    file = out / "metrics.jsonl"
    return file.read_bytes().count(b'"phase": "online"') if file.is_file() else 0


def kill_at(process, out, update, delay):
    """Kill the process `delay` seconds after the update; True if SIGKILL ended it, and not its own end."""
    deadline = time.monotonic() + 300
    while process.is_alive() and logged_updates(out) < update and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.join()
    return process.exitcode == -9


def test_a_repeatedly_killed_run_equals_an_uninterrupted_one(finished_run, tmp_path, monkeypatch):
    shop, uninterrupted, cache = finished_run
    out = run_after_warm_start(uninterrupted, tmp_path / "run")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    draw = random.Random(0)
    for number in range(KILLS):
        process = context.Process(target=resume, args=(shop, out, cache, torch.get_num_threads()))
        process.start()
        update = 1 + 3 * number + draw.randrange(3)
        assert kill_at(process, out, update, draw.uniform(0, 0.05)), process.exitcode
        complete_lines, _, truncated = (out / "metrics.jsonl").read_bytes().rpartition(b"\n")
        written = complete_lines + b"\n" + truncated
        assert (uninterrupted / "metrics.jsonl").read_bytes().startswith(written), f"kill {number + 1}"
    monkeypatch.setenv("QR_CACHE", str(cache))
    main(settings(shop, out, resume=True))
    for name in SAME:
        assert (out / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    ours, theirs = (load_checkpoint(folder / "checkpoints")[0] for folder in (out, uninterrupted))
    assert same_weights(ours.model, theirs.model)


def test_a_run_folder_is_locked_by_one_process_until_its_death(tmp_path):
    context = multiprocessing.get_context("forkserver")
    held = context.Event()
    process = context.Process(target=hold_lock, args=(tmp_path, held))
    process.start()
    assert held.wait(60)
    with pytest.raises(RunFolderError, match="another process works in"):
        main(settings(tmp_path / "shop", tmp_path))
    process.kill()
    process.join()
    with run_lock(tmp_path):
        assert list(tmp_path.iterdir()) == []


def hold_lock(folder, held):
    """Hold the folder's lock until killed."""
    with run_lock(folder):
        held.set()
        time.sleep(600)
