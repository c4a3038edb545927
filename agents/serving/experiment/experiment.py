"""An A/B test on live traffic: assigns sessions, reads the log as it grows, decides, and remembers what it decided.

    experiment = Experiment.open(Path("out/test1"), ExperimentSettings())
    experiment.assign("session-17")                   # Assignment(variant, propensity)
    experiment.decide()                               # looks at the log; the service calls it every few seconds
    experiment.state()                                # stage, shares, evidence, all transitions

The folder holds the log (`agents.serving.service.event_log`) and `experiment.json`: settings and transitions, written
atomically at each transition. After a restart the stage comes from that file and all figures from the log.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path

from agents.serving.experiment.assignment import Assignment, assign
from agents.serving.experiment.controller import Controller, Transition
from agents.serving.experiment.sessions import LogReader, SessionCollector
from agents.serving.experiment.settings import SHADOW, ExperimentSettings
from qr_env.common.atomic_io import atomic_write, saving
from qr_env.common.errors import RunFolderError
from qr_env.common.types import JsonDict

STATE_FILE = "experiment.json"
REMEMBERED_SESSIONS = 200_000  # recent sessions whose variant is kept while the shares change


class Experiment:
    """Implements `agents.serving.service.parts.Trial`; `open` makes one. Safe to call from several threads."""

    def __init__(self, folder: Path, settings: ExperimentSettings, transitions: list[Transition]) -> None:
        self.folder, self.settings, self.transitions = folder, settings, transitions
        self.controller = Controller(settings)
        self._reader = LogReader(folder)
        self._collector = SessionCollector(self._share_at, 60 * settings.session_minutes)
        self._lock = threading.Lock()
        self._recent: OrderedDict[str, Assignment] = OrderedDict()
        for transition in transitions[1:]:
            self.controller.enter(transition.stage, transition.time)

    @classmethod
    def open(cls, folder: Path, settings: ExperimentSettings | None = None, now: float | None = None) -> Experiment:
        """Begin a test, or go on with the one in the folder.

        Raises:
            RunFolderError: its file is damaged, or it was begun with other settings.
        """
        path = folder / STATE_FILE
        settings = settings or ExperimentSettings()
        if not path.is_file():
            begun = time.time() if now is None else now
            experiment = cls(folder, settings, [Transition(SHADOW, 0.0, begun, "begun")])
            folder.mkdir(parents=True, exist_ok=True)
            experiment._save()
            return experiment
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            started = ExperimentSettings(**saved["settings"] | {"canary": tuple(saved["settings"]["canary"])})
            transitions = [Transition(**one) for one in saved["transitions"]]
        except (ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{path} is damaged ({error}): begin the test in another `experiment` folder"
            ) from error
        if started != settings:
            differ = [name for name, value in asdict(started).items() if value != getattr(settings, name)]
            raise RunFolderError(f"{path} was begun with other settings ({', '.join(differ)}): name another folder")
        experiment = cls(folder, started, transitions)
        experiment._look(time.time() if now is None else now)
        return experiment

    @property
    def stage(self) -> str:
        """The stage now."""
        return self.controller.stage

    def assign(self, session_id: str) -> Assignment:
        """The variant of a session, the same at every call while it lasts.

        A session without an id sees the baseline of the stage: its outcome could not be counted.
        """
        with self._lock:
            known = self._recent.get(session_id)
            if known is None:
                known = assign(session_id, self.controller.share, self.settings)
                self._recent[session_id] = known
                if len(self._recent) > REMEMBERED_SESSIONS:
                    self._recent.popitem(last=False)
            return known

    def decide(self, now: float | None = None) -> list[Transition]:
        """Read the log, and carry out what it says; the transitions, durable when this returns."""
        now = time.time() if now is None else now
        with self._lock:
            self._look(now)
            found = list(self.controller.decide(now))
            if found:
                self.transitions += found
                self._save()
                self._forget_assignments()
        return found

    def _look(self, now: float) -> None:
        self._collector.add(*self._reader.read())
        self.controller.add(self._collector.complete(now))

    def _forget_assignments(self) -> None:
        """After a roll-back nobody sees the candidate any more; otherwise sessions keep what they saw."""
        if self.controller.share == 0.0:
            self._recent.clear()

    def _share_at(self, moment: float) -> float:
        """Share of the candidate at a time."""
        past = [one for one in self.transitions if one.time <= moment]
        return (past[-1] if past else self.transitions[0]).share

    def _save(self) -> None:
        values = {"settings": asdict(self.settings), "transitions": [asdict(one) for one in self.transitions]}
        path = self.folder / STATE_FILE
        with saving(path):
            atomic_write(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")

    def state(self) -> JsonDict:
        """Stage, share, evidence and all transitions, as JSON values."""
        with self._lock:
            left_out = {"mixed": self._collector.mixed, "holdout": self._collector.holdout}
            left_out |= {
                "events of unknown queries": self._collector.unknown_events,
                "damaged lines": self._reader.damaged,
            }
            return {
                "stage": self.controller.stage,
                "share": self.controller.share,
                "holdout": self.settings.holdout,
                "evidence": self.controller.evidence(),
                "sessions left out": left_out,
                "transitions": [asdict(one) for one in self.transitions],
            }
