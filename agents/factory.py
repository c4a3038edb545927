"""From a name on the command line to a rewriter: `identity`, `spell`, `rm3`, `oracle`, or a checkpoint folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agents.base import Agent
from agents.baselines import RM3, Identity, Oracle, Spell
from qr_env.errors import ConfigError
from qr_env.shop import Shop

if TYPE_CHECKING:
    from qr_env.retriever import Retriever

BASELINES: dict[str, Callable[[Shop, Retriever], Agent]] = {
    "identity": lambda shop, retriever: Identity(),
    "spell": lambda shop, retriever: Spell(shop),
    "rm3": lambda shop, retriever: RM3(shop, retriever),
    "oracle": lambda shop, retriever: Oracle(shop),
}


def make_agent(spec: str, shop: Shop, retriever: Retriever) -> Agent:
    """The agent that `spec` names.

    Args:
        spec: a name of `BASELINES`, or the folder of a student's checkpoint.
        shop: the shop it will rewrite for.
        retriever: what RM3 takes its feedback from.

    Raises:
        ConfigError: neither a known name nor a folder; or the oracle of a shop that has none.
    """
    if spec in BASELINES:
        return BASELINES[spec](shop, retriever)
    folder = Path(spec)
    if not folder.is_dir():
        raise ConfigError(f"--agent {spec!r}: neither one of {', '.join(BASELINES)} nor a checkpoint folder")
    from agents.student import Student

    student: Agent = Student.load(folder)
    return student
