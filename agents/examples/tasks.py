"""One row of training data, and how each task is put to the student; kept in a Parquet file, one column a field.

The student keeps its tasks apart by their last words: `rewrite` without context is exactly `agents.policy.prompt`'s prompt,
so that what is learnt here is what it does online; every other task ends with a cue of its own.

    Query: couch blue              Query: couch blue         Query: couch blue        Query: couch blue
    Rewrite:                       Rewrite: sofa             Title:                   Thought:
                                   Good:
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
IGNORED = -100  # label of a token without loss
MAX_TITLES, MAX_TITLE_CHARACTERS = 3, 80  # BEQUE's context: a 0.9 M-parameter student reads no more in a batch


@dataclass(frozen=True)
class Example:
    """What the student reads and must write.

    task: of `TASKS`. query: as typed. response: what must be written; "" = leave the query alone (`rewrite`).
    rewrite: what `quality` and `tagging` judge. context: titles that shoppers interacted with under the query (BEQUE).
    source: where it is from ("log", "graph", "engine:AGENT", "teacher:FILE", "catalogue", …). query_id: "" where the
    shop has no such query. relevance, increment, reward: the engine's verdict on the rewrite; NaN where unknown.
    held_out: measures, never trains.
    """

    task: str
    query: str
    response: str
    rewrite: str = ""
    context: tuple[str, ...] = ()
    source: str = ""
    query_id: str = ""
    relevance: float = float("nan")
    increment: float = float("nan")
    reward: float = float("nan")
    held_out: bool = False

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
    """The text that the student continues with the response."""
    return _PROMPTS[example.task](example)


def _context(example: Example) -> str:
    titles = [" ".join(title.split())[:MAX_TITLE_CHARACTERS].rstrip() for title in example.context[:MAX_TITLES]]
    return f"Bought: {' | '.join(titles)}\n" if titles else ""


def _cued(example: Example, cue: str) -> str:
    """The student's prompt with another last line; `cue` is its last words."""
    head = prompt_text(example.query).rpartition("\n")[0]
    return f"{head}\n{cue}"


_PROMPTS: dict[str, Callable[[Example], str]] = {
    "rewrite": lambda example: _context(example) + prompt_text(example.query),
    "quality": lambda example: _cued(example, f"Rewrite: {example.rewrite}\nGood:"),
    "title": lambda example: _cued(example, "Title:"),
    "thought": lambda example: _cued(example, "Thought:"),
    "tagging": lambda example: _cued(example, f"Other: {example.rewrite}\nSame:"),
}


def task_sequences(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> list[dict[str, list[int]]]:
    """`input_ids` and `labels` of each example, unpadded; the loss is on the response and its end token only."""
    texts = [prompt_of(example) for example in examples]
    prompts = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    completions = completion_ids(tokenizer, [example.response for example in examples])
    return [
        {"input_ids": prompt + completion, "labels": [IGNORED] * len(prompt) + completion}
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def hold_out(examples: Sequence[Example], share: float, seed: int) -> list[Example]:
    """The examples, a share of the queries held out.

    A query is drawn by a hash of its words, whatever their order and case: all its examples, of every task, source and
    run of one seed, are on the same side.
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
        ConfigError: there is no such file, or it lacks a column.
    """
    if not Path(path).is_file():
        raise ConfigError(f"no pairs at {path}; make them with `qr pairs SHOP --out {path}`")
    table = pq.read_table(path)
    if missing := [field.name for field in fields(Example) if field.name not in table.column_names]:
        raise ConfigError(f"{path} is not a file of `qr pairs`: it has no {', '.join(missing)}")
    rows = table.select(SCHEMA.names).to_pylist()
    return [Example(**row | {"context": tuple(row["context"])}) for row in rows]
