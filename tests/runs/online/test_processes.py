"""`qr online` on two real processes: one run folder, one stream shared out, stopped and resumed exactly; refusals."""

import hashlib
import json
import shutil
import signal
import sys
from pathlib import Path

import pytest

from agents.policy.checkpoint import checkpoints, load_checkpoint
from agents.rl.loop import Loop
from qr_env.common.errors import ConfigError
from qr_env.environment.vector_env import QueryRewriteVectorEnv
from qr_env.shop.sources.files import write_shop
from runs.common.query_log import load_training_shop
from runs.online import job as online
from runs.online.args import Args, EvaluationSettings, TrafficSettings, WarmStartSettings
from runs.online.learners import check_processes
from runs.online.traffic import make_stream
from tests.helpers.fakes import tiny_shop
from tests.helpers.models import same_weights
from tests.helpers.processes import run_processes

SMALL = {
    "warm_start": WarmStartSettings(pretrain=256, queries=50),
    "evaluation": EvaluationSettings(every=2),
    "updates": 5,
    "prompts": 4,
    "group_size": 4,
}
REFUSED = {
    "--prompts 5 on 2 .* multiple of 2, such as 4": {"prompts": 5},
    "--promotion on on 2 .* launch one": {"promotion": "on"},
    "--drift words on 2 .* launch one": {"drift": "words"},
    r"traffic\.check_hits on 2 .* launch one": {"traffic": TrafficSettings(check_hits=True)},
}


def args(folder, name, **settings):
    return Args(shop=str(folder / "shop"), out=folder / name, judge="labels", **(SMALL | settings))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder with a run that two processes finished ("whole"), and one that was stopped on its way ("half")."""
    folder = tmp_path_factory.mktemp("pair")
    write_shop(tiny_shop(), folder / "shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QR_CACHE", str(folder / "cache"))
        run_processes("tests.runs.online.test_processes", folder)
        yield folder


def of_each(folder):
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


pytestmark = pytest.mark.enable_socket


def test_two_processes_make_one_run_folder(pair):
    rows = [json.loads(line) for line in (pair / "whole" / "metrics.jsonl").read_text().splitlines()]
    steps = [("eval", 0), ("online", 1), ("online", 2), ("eval", 2), ("online", 3), ("online", 4), ("eval", 4)]
    assert [(row["phase"], row["update"]) for row in rows] == [*steps, ("online", 5), ("eval", 5)]
    assert rows[-1]["episodes"] == 5 * 4 * 4
    assert checkpoints(pair / "whole" / "checkpoints")[-1].name == "update-000005"
    assert all((pair / "whole" / name).is_file() for name in ("eval.json", "report.html", "warm_pairs.jsonl"))


def test_both_end_with_the_same_weights_which_are_saved(pair):
    first, second = (found["weights"] for found in of_each(pair))
    assert first == second
    assert first[0] == digest(load_checkpoint(pair / "whole" / "checkpoints")[0].model)


def test_their_queries_are_together_those_of_one_process(pair):
    first, second = (found["queries"] for found in of_each(pair))
    stream = make_stream(args(pair, "whole"), load_training_shop(str(pair / "shop")), None)
    assert [a + b for a, b in zip(first, second, strict=True)] == [[q.id for q in stream.take(4)] for _ in first]
    assert len(first) == 5 and not any(set(a) & set(b) for a, b in zip(first, second, strict=True))


def test_stopped_by_a_signal_to_one_of_them_and_resumed_it_is_the_run_that_was_not(pair):
    assert [found["stopped"] for found in of_each(pair)] == [[3, True]] * 2
    for name in ("metrics.jsonl", "samples.jsonl", "eval.json"):
        assert (pair / "half" / name).read_bytes() == (pair / "whole" / name).read_bytes(), name
    ours, theirs = (load_checkpoint(pair / name / "checkpoints") for name in ("half", "whole"))
    assert same_weights(ours[0].model, theirs[0].model)
    (other,), (expected,) = ours[1]["others"], theirs[1]["others"]
    assert other["generator"].equal(expected["generator"]) and not other["generator"].equal(ours[1]["generator"])
    assert (other["envs"], other["anchor_pairs"]) == (expected["envs"], expected["anchor_pairs"])


def test_one_process_does_not_go_on_with_the_run_of_two(pair):
    with pytest.raises(ConfigError, match=r"made by 2 process.* this run has 1: .*--num_processes 2"):
        online.main(args(pair, "whole", updates=6, resume=True))
    assert (pair / "whole" / "eval.json").is_file(), "nothing was touched"


@pytest.mark.parametrize("message", REFUSED)
def test_what_several_processes_cannot_do_is_refused_by_name(message):
    with pytest.raises(ConfigError, match=message):
        check_processes(Args(**REFUSED[message]), 2)
    check_processes(Args(**REFUSED[message]), 1)


def test_a_refusal_reaches_both_and_leaves_no_folder(pair):
    assert [found["refused"] for found in of_each(pair)] == [["ConfigError", "RunFolderError"]] * 2
    assert not (pair / "refused").exists()


def digest(model):
    return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()


def work(folder):
    """What each of the two processes does: a whole run by `main`, then, in the same group, all others."""
    found = {"queries": [], "weights": [], "stopped": [], "refused": []}
    stages, run, step = online.run_stages, Loop.run, QueryRewriteVectorEnv.step

    def watched(self, actions):
        found["queries"].append([query.id for query in self.simulator.queries_P])
        return step(self, actions)

    def remembered(loop):
        progress = run(loop)
        found["weights"].append(digest(loop.student.model))
        found["stopped"] = [progress.update, True] if progress.stopped else found["stopped"]
        return progress

    def all_stages(whole, processes):
        QueryRewriteVectorEnv.step, Loop.run = watched, remembered
        stages(whole, processes)
        QueryRewriteVectorEnv.step = terminated(step, 3 if processes.rank == 1 else None)
        processes.main_only(lambda: begun(whole.out, folder / "half"))
        for _ in range(2):
            stages(args(folder, "half", resume=True), processes)
        for wrong in (args(folder, "refused", prompts=5), args(folder, "whole")):
            try:
                stages(wrong, processes)
            except Exception as error:
                found["refused"].append(type(error).__name__)
        (folder / f"{processes.rank}.json").write_text(json.dumps(found))

    online.run_stages = all_stages
    online.main(args(folder, "whole"))


def terminated(step, at):
    """A step that is told to stop when it is made for the `at`-th time."""
    calls = []

    def told(self, actions):
        calls.append(1)
        if len(calls) == at:
            signal.raise_signal(signal.SIGTERM)
        return step(self, actions)

    return told


def begun(whole, half):
    """A run folder as it is when the online stage begins."""
    (half / "checkpoints").mkdir(parents=True)
    shutil.copy(whole / "config.json", half)
    shutil.copytree(whole / "checkpoints" / "warm", half / "checkpoints" / "warm")


if __name__ == "__main__":
    work(Path(sys.argv[1]))
