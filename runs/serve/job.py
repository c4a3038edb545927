"""`qr serve`: the HTTP service. Its flags are in `runs/serve/args.py`."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from agents.serving.experiment.experiment import Experiment
from agents.serving.rules import Rules
from agents.serving.service.app import make_app
from agents.serving.service.event_log import EventLog
from agents.serving.service.server import address_of, listen, run
from agents.serving.service.settings import ServiceSettings, check_reach
from agents.serving.table.opening import is_redis
from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from qr_env.common.privacy import open_key
from runs.common.checks import check_file, check_folder
from runs.common.serving.rewriter import plan_rewriter
from runs.serve.args import Args
from runs.serve.opening import Opening, OpenOne, open_live

SWITCH_SECONDS = 5e-4  # after which Python's threads take turns: the event loop waits for the rewriter no longer
TOKEN_VARIABLE = "QR_SERVE_TOKEN"
SHORTEST_TOKEN = 16


def main(args: Args, open_one: OpenOne = open_live) -> None:
    """Check everything, listen, load, and answer until a signal ends it.

    open_one: opens a rewriter; `qr bench serve` puts another way to decode behind the same service.
    """
    settings = check_inputs(args)
    folder = args.experiment or args.log
    key = open_key(folder) if folder is not None else secrets.token_bytes(32)
    recorder = EventLog(folder, args.retention_days) if folder is not None else None
    trial = Experiment.open(args.experiment, args.test) if args.experiment is not None else None
    listener = listen(args.host, args.port)
    sys.setswitchinterval(SWITCH_SECONDS)
    print_message(f"listening on {address_of(listener)}; /ready answers 200 when the rewriter is loaded")
    service = make_app(Opening(args, open_one).open, settings, recorder=recorder, trial=trial, key=key)
    run(service.app, settings, listener)
    if service.state.failure is not None:
        raise service.state.failure


def check_inputs(args: Args) -> ServiceSettings:
    """The service's settings; raises what is wrong with a flag or a file before anything is loaded."""
    settings = ServiceSettings(
        deadline_ms=args.deadline_ms,
        max_batch=args.max_batch,
        queue=args.queue,
        max_query=args.max_query,
        max_body=args.max_body,
        cache=args.remember,
        read_seconds=args.read_seconds,
        connections=args.connections,
        token=read_token(args.token_file),
    )
    check_reach(args.host, settings.token)
    plan_rewriter(args.agent, args)
    if args.candidate:
        plan_rewriter(args.candidate, args)
    if bool(args.candidate) != bool(args.experiment):
        raise ConfigError(
            f"candidate={args.candidate!r}, experiment={str(args.experiment or '')!r}: an A/B test needs both"
        )
    if args.rules is not None:
        Rules.read(args.rules)
    if args.table and not is_redis(args.table):
        check_file("table", args.table)
    for name in ("log", "experiment", "cache"):
        check_folder(name, getattr(args, name))
    if not 0 <= args.retention_days < 1e5:
        raise ConfigError(f"retention_days={args.retention_days}: must be 0 (keep) or more")
    if not 0 <= args.explore <= 1 or args.candidates < 2:
        raise ConfigError(f"explore={args.explore}: from 0 to 1; candidates={args.candidates}: 2 or more")
    return settings


def read_token(file: Path | None) -> str:
    """The secret of the file, else of the environment; "" without either."""
    if file is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
    else:
        check_file("token_file", file)
        token = file.read_text(encoding="utf-8").strip()
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise ConfigError(
            f"token_file={str(file or TOKEN_VARIABLE)!r}: the token must have {SHORTEST_TOKEN} or more printable ASCII "
            "characters: openssl rand -hex 24 > token"
        )
    return token
