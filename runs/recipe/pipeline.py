"""Run a recipe's stages in order with one seed, and resume: a stage that is done is not run again.

OUT/seed-0/STAGE/stage.json          settings, fingerprint, seconds and metrics; written last, marks the stage as done
OUT/seed-0/eval.json, report.html    evaluation of this seed's students, written anew by every comparison
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

from qr_env.common.atomic_io import atomic_write
from qr_env.common.errors import RunFolderError
from qr_env.common.hashing import sha256_text
from qr_env.common.messages import print_message
from runs.recipe.context import StageContext
from runs.recipe.spec import JudgeStage, OnlineStage, Stage, stage_inputs
from runs.recipe.stages import run_stage

STAGE_FILE = "stage.json"
RESUMABLE = (OnlineStage, JudgeStage)  # continue in a folder that was left unfinished; other stages start over


@dataclass
class SeedRun:
    """One run of all stages with one seed."""

    context: StageContext
    """shop, settings, seed and folder"""
    stages: Mapping[str, Stage]
    """name → stage, in the order in which they run"""

    def run(self) -> None:
        """Run every stage that is not done yet."""
        for number, (name, stage) in enumerate(self.stages.items(), start=1):
            if not self.is_done(name):
                print_message(f"[seed {self.context.seed}] stage {number} of {len(self.stages)}: {name}")
                torch.manual_seed(self.context.seed)
                self._run_stage(name, stage)

    def _run_stage(self, name: str, stage: Stage) -> None:
        folder = self.context.folder / name
        if not isinstance(stage, RESUMABLE):
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        metrics = run_stage(stage, self.context, folder)
        record = {
            "settings": asdict(stage),
            "fingerprint": self.fingerprint(name),
            "seconds": round(time.perf_counter() - started, 1),
            "metrics": metrics,
        }
        atomic_write(folder / STAGE_FILE, json.dumps(record, indent=1, default=float) + "\n")

    def is_done(self, name: str) -> bool:
        """Whether the stage has a result.

        Raises:
            RunFolderError: the result was made with other settings, or from other inputs.
        """
        file = self.context.folder / name / STAGE_FILE
        if not file.is_file():
            return False
        if json.loads(file.read_text(encoding="utf-8"))["fingerprint"] != self.fingerprint(name):
            raise RunFolderError(
                f"{file.parent} was made with settings that differ from the recipe's (the stage's own, or those of a "
                "stage that it reads); remove that folder and those of later stages, or name another --out"
            )
        return True

    def fingerprint(self, name: str) -> str:
        """Hash of the stage's spec, the recipe's settings, the shop, the seed, and the fingerprints of its inputs."""
        stage, context = self.stages[name], self.context
        facts = [type(stage).__name__, asdict(stage), asdict(context.settings), context.shop.hash, context.seed]
        facts += [self.fingerprint(other) for other in stage_inputs(stage)]
        return sha256_text(json.dumps(facts, sort_keys=True, default=str), 16)

    def seconds(self, name: str) -> float:
        """Wall time of a stage that is done."""
        return float(json.loads((self.context.folder / name / STAGE_FILE).read_text(encoding="utf-8"))["seconds"])
