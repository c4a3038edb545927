"""The rewriters that train nothing, as every evaluation table of a run shows them."""

from __future__ import annotations

from agents.factory import AgentOptions, make_agent
from qr_env.common.protocols import Agent
from runs.online.args import Args
from runs.online.setup import TrainingSetup

UNTRAINED_COLUMNS = ("identity", "spell", "rm3")  # of the table, from left to right


def untrained_agents(args: Args, setup: TrainingSetup) -> list[Agent]:
    """The agents of `UNTRAINED_COLUMNS`, on the run's engine."""
    options = AgentOptions(setup.shop, setup.retriever, args.combine, args.weight, seed=args.seed)
    return [make_agent(name, options) for name in UNTRAINED_COLUMNS]


def spec_of(name: str) -> str:
    """The name by which `agents.factory.make_agent` opens an agent that trains nothing."""
    return name


def made_with(name: str, setup: TrainingSetup) -> str:
    """What an agent was built from, where that depends on the machine; "" for others."""
    return ""
