"""Training examples of a student: their fields, the prompt of each task, and the Parquet file that holds them.

Each task's prompt has a last line of its own. `rewrite` without context has exactly the prompt of
`agents.policy.prompt`, so that training and online rewriting use the same prompt.

    Query: couch blue              Query: couch blue         Query: couch blue        Query: couch blue
    Rewrite:                       Rewrite: sofa             Title:                   Thought:
                                   Good:
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from agents.policy.prompt import completion_ids, prompt_text
from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TASKS = ("rewrite", "quality", "title", "thought", "tagging")
YES, NO = "yes", "no"
IGNORED = -100  # label of tokens without loss
MAX_TITLES, MAX_TITLE_CHARACTERS = 3, 80  # of BEQUE's context, as much as fits the batches of a 0.9 M-parameter student


@dataclass(frozen=True)
class Example:
    """One training example; one row of the Parquet file."""

    task: str
    """One of `TASKS`."""
    query: str
    """The query as typed."""
    response: str
    """Text that the student must write; "" keeps the original query (task `rewrite`)."""
    rewrite: str = ""
    """The rewrite or other query that `quality` and `tagging` are about."""
    context: tuple[str, ...] = ()
    """Titles bought for the query (BEQUE)."""
    source: str = ""
    """Origin: "log", "graph", "engine:AGENT", "teacher:FILE", "catalogue", …"""
    query_id: str = ""
    """Id of the shop's query, "" if the shop has no such query."""
    relevance: float = float("nan")
    """Share of the rewrite's results that are relevant to the query; NaN if unknown."""
    increment: float = float("nan")
    """Excellent products that the rewrite adds, as a share of the query's own; NaN if unknown."""
    reward: float = float("nan")
    """Reward of the rewrite; NaN if unknown."""
    held_out: bool = False
    """Whether the example is for evaluation only."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"unknown task {self.task!r}; known: {', '.join(TASKS)}")


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("task", "query", "response", "rewrite")),
        ("context", pa.list_(pa.string())),
        *((name, pa.string()) for name in ("source", "query_id")),
        *((name, pa.float32()) for name in ("relevance", "increment", "reward")),
        ("held_out", pa.bool_()),
    ]
)


def prompt_of(example: Example) -> str:
    """The prompt of an example; the student must continue it with the response."""
    if example.task == "rewrite":
        return _context(example) + prompt_text(example.query)
    last_lines = {
        "quality": f"Rewrite: {example.rewrite}\nGood:",
        "title": "Title:",
        "thought": "Thought:",
        "tagging": f"Other: {example.rewrite}\nSame:",
    }
    return _prompt_ending_in(example, last_lines[example.task])


def _context(example: Example) -> str:
    titles = [" ".join(title.split())[:MAX_TITLE_CHARACTERS].rstrip() for title in example.context[:MAX_TITLES]]
    return f"Bought: {' | '.join(titles)}\n" if titles else ""


def _prompt_ending_in(example: Example, ending: str) -> str:
    """The student's prompt for rewriting with `ending` in place of its last line."""
    head = prompt_text(example.query).rpartition("\n")[0]
    return f"{head}\n{ending}"


def task_sequences(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> list[dict[str, list[int]]]:
    """`input_ids` and `labels` of each example, unpadded; only response and end token have a loss."""
    texts = [prompt_of(example) for example in examples]
    prompts = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    completions = completion_ids(tokenizer, [example.response for example in examples])
    return [
        {"input_ids": prompt + completion, "labels": [IGNORED] * len(prompt) + completion}
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def hold_out(examples: Sequence[Example], share: float, seed: int) -> list[Example]:
    """The examples with `held_out` set for a share of the queries.

    A query is drawn by a hash of its words, independent of their order and case, so that all its examples, of every
    task and source, are on the same side in every run with the same seed.
    """

    def held(query: str) -> bool:
        words = " ".join(sorted(query.casefold().split()))
        return int(sha256_text(f"{seed}\0{words}", digits=16), 16) < share * 2**64

    return [replace(example, held_out=held(example.query)) for example in examples]


def write_examples(path: str | Path, examples: Sequence[Example]) -> None:
    """Write a Parquet file, one column a field of `Example`."""
    rows = [asdict(example) | {"context": list(example.context)} for example in examples]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)


def read_examples(path: str | Path) -> list[Example]:
    """Read what `write_examples` wrote.

    Raises:
        ConfigError: there is no such file, it is damaged, or it lacks a column.
    """
    if not Path(path).is_file():
        raise ConfigError(f"no training pairs at {path}; make them with `qr pairs SHOP --out {path}`")
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise ConfigError(f"{path} is damaged ({str(error).splitlines()[0]}); make it again with `qr pairs`") from error
    if missing := [field.name for field in fields(Example) if field.name not in table.column_names]:
        raise ConfigError(f"{path} is not a file of `qr pairs`: it lacks the columns {', '.join(missing)}")
    rows = table.select(SCHEMA.names).to_pylist()
    return [Example(**row | {"context": tuple(row["context"])}) for row in rows]
