"""Make the examples of `qr pairs`: rewrites from every source, filtered, then the examples of every task.

pairs = make_pairs(PairConfig(sources=("log",), tasks=("rewrite", "title")), shop)
write_examples(path, pairs.examples)         # pairs.counts has what every filter dropped
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from agents.examples import auxiliary
from agents.examples.engine_pairs import Counts, EngineConfig, Scored, approved, engine_pairs, score_options
from agents.examples.graph_pairs import Confirm, graph_pairs
from agents.examples.pairs import bought_titles
from agents.examples.tasks import Example, hold_out
from agents.examples.teacher_rewrites import file_rewrites, teacher_rewrites
from agents.prompted.confirm import ModelConfirm
from agents.prompted.language_model import open_language_model
from agents.query_log.word_model import candidates, word_model
from agents.text.expansion import rewrite_for_mode
from qr_env.common.errors import ConfigError
from qr_env.common.types import Query
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
from qr_env.shop.shop import Shop
from runs.pairs.args import PairConfig, Task
from runs.pairs.setup import PairSetup

# Source "log": the best rewarded candidate of each query, whatever its relevance and increment.
LOG_THRESHOLDS = EngineConfig(min_relevance=-1.0, min_increment=-1.0, max_rewrites=1, context_share=0.0)
TEACHER = "teacher:"
MIN_TITLES = 3  # a word of the log in fewer titles is a model number, which no student can predict


@dataclass(frozen=True)
class PairSet:
    """Training examples, and how many every filter dropped."""

    examples: list[Example]
    """examples of all tasks, without duplicates; some queries' examples are marked as held out"""
    counts: dict[str, Counts]
    """source or task → filter → number of examples that it dropped or kept"""

    def task_sizes(self) -> dict[str, dict[str, int]]:
        """Task → number of examples "train" and "held out"; "keep the original" counts those with an empty response."""
        sizes: dict[str, dict[str, int]] = {}
        for example in self.examples:
            size = sizes.setdefault(example.task, {"train": 0, "held out": 0, "keep the original": 0})
            size["held out" if example.held_out else "train"] += 1
            size["keep the original"] += not example.response
        return sizes

    def metrics(self) -> dict[str, object]:
        """The counts as "source/filter", and the number of examples as "examples/task"."""
        metrics: dict[str, object] = {
            f"{part}/{name}": float(count) for part, counts in self.counts.items() for name, count in counts.items()
        }
        sizes = self.task_sizes().items()
        return metrics | {f"examples/{task}": float(size["train"] + size["held out"]) for task, size in sizes}


def make_pairs(config: PairConfig, shop: Shop, reading: ReadOptions | None = None) -> PairSet:
    """All examples that the settings ask for; `reading` is how files of rewrites are read."""
    maker = PairMaker(config, shop, reading or ReadOptions())
    examples = hold_out(maker.examples(), config.held_out, config.seed)
    return PairSet(examples, maker.counts)


@dataclass
class PairMaker:
    """Makes the examples of all sources and tasks, and counts what the filters drop."""

    config: PairConfig
    """settings of the pairs"""
    shop: Shop
    """the shop whose train queries are used"""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """how files of rewrites are read"""
    counts: dict[str, Counts] = field(default_factory=dict)
    """source or task → filter → number of examples that it dropped or kept, filled by `examples`"""

    def __post_init__(self) -> None:
        self.setup = PairSetup(self.config, self.shop, self.reading)

    def examples(self) -> list[Example]:
        """All examples without duplicates, task by task."""
        rewrites = self._rewrites()
        made = [example for task in dict.fromkeys(self.config.tasks) for example in self._task(task, rewrites)]
        # Of equal examples the first one stays, with its source.
        distinct = list({(e.task, e.query, e.rewrite, e.response, e.context): e for e in reversed(made)}.values())[::-1]
        self.counts["all"] = {"duplicates of another source": len(made) - len(distinct), "kept": len(distinct)}
        generated = self._generated_queries
        return [replace(e, source=f"{e.source}:catalogue") if e.query_id in generated else e for e in distinct]

    def _task(self, task: Task, rewrites: list[Example]) -> list[Example]:
        """The examples of one task; `rewrites` are those of task "rewrite"."""
        match task:
            case "rewrite":
                return rewrites
            case "quality":
                return self._quality()
            case "title":
                return auxiliary.title_examples(self.titles, self.queries)
            case "thought":
                return auxiliary.thought_examples(rewrites, self.titles, self.known_stems, self.shop.tokenizer)
            case "tagging":
                return self._tagging()

    def _rewrites(self) -> list[Example]:
        """Rewrites of all sources. If one source keeps a query and another rewrites it, only the rewrites stay."""
        found = [example for source in dict.fromkeys(self.config.sources) for example in self._source(source)]
        rewritten = {example.query for example in found if example.response}
        kept = [example for example in found if example.response or example.query not in rewritten]
        self.counts["rewrites"] = {"kept by one source, rewritten by another": len(found) - len(kept)}
        return kept

    @cached_property
    def train(self) -> list[Query]:
        """The train split, the most frequent queries first."""
        return sorted(self.shop.split("train"), key=lambda query: -query.frequency)

    @cached_property
    def queries(self) -> list[Query]:
        """The train queries for log, engine and teachers."""
        return self.train[: self.config.queries or None]

    @cached_property
    def titles(self) -> dict[str, list[str]]:
        """Titles of the products purchased for each train query."""
        return bought_titles(self.shop, self.train)

    @cached_property
    def known_stems(self) -> frozenset[str]:
        """Stems of the catalogue's titles."""
        return auxiliary.title_stems(self.shop)

    @cached_property
    def _generated_queries(self) -> set[str]:
        """Ids of the train queries that were generated from the catalogue."""
        generated_N = self.shop.slices.get("generated")
        return set() if generated_N is None else {query.id for query in self.train if generated_N[query.row]}

    def _source(self, source: str) -> list[Example]:
        """The rewrites of one source."""
        config = self.config
        if source == "log":
            thresholds = replace(LOG_THRESHOLDS, seed=config.seed)
            examples, self.counts["log"] = engine_pairs(self.scored("log"), thresholds)
            return [replace(example, source="log") for example in examples]
        if source == "engine":
            return [example for agent in config.agent for example in self._engine(agent)]
        part = Path(source).name if Path(source).suffix else source
        if source == "graph":
            found = graph_pairs(self.shop, self.train, config.graph, config.combine, self._confirm(), config.edges)
        elif source.startswith(TEACHER):
            agent = self.setup.agent(source.removeprefix(TEACHER))
            found = teacher_rewrites(agent, self.shop, self.queries, config.combine, config.candidates, config.seed)
        elif Path(source).suffix:
            report = LoadReport(self.reading)
            found = file_rewrites(source, self.shop, config.combine, self.known_stems, report)
            report.warn(source)
        else:
            raise ConfigError(f"--sources {source!r}: choose log, graph, engine, teacher:AGENT, or a file of rewrites")
        examples, self.counts[part] = found
        return self._approved(part, examples)

    def _engine(self, agent: str) -> list[Example]:
        """The candidates of one agent that pass the engine's thresholds."""
        thresholds = replace(self.config.engine, seed=self.config.seed)
        examples, self.counts[f"engine:{agent}"] = engine_pairs(self.scored(agent), thresholds, self.titles)
        return examples

    def _approved(self, part: str, examples: list[Example]) -> list[Example]:
        """The examples that pass --confirm. A language model has confirmed those of the graph already."""
        config = self.config
        if config.confirm == "none" or not examples:
            return examples
        queries = self._queries_of(examples)
        if config.confirm == "engine":
            examples, counts = approved(
                examples,
                queries,
                self.setup.score,
                config.engine.min_reward,
                part != "graph",
                self.known_stems,
                self.shop.tokenizer,
            )
            self.counts[part] |= counts
        elif part != "graph":
            confirm = self._confirm()
            assert confirm is not None
            same_N = confirm(queries, [example.response for example in examples])
            examples = [example for example, same in zip(examples, same_N.tolist(), strict=True) if same]
            self.counts[part] |= {"not confirmed": int((~same_N).sum()), "kept": len(examples)}
        return examples

    def _queries_of(self, examples: Sequence[Example]) -> list[Query]:
        """The shop's query of each example, or a new one if the shop does not have it."""
        known = {query.id: query for query in self.train}
        return [known.get(e.query_id) or Query(-1, "", e.query) for e in examples]

    def _confirm(self) -> Confirm | None:
        """A language model that is asked whether a rewrite means the same; None if --confirm names none."""
        if self.config.confirm in ("none", "engine"):
            return None
        kind, _, model = self.config.confirm.partition(":")
        if kind != "llm" or not model:
            raise ConfigError(f"--confirm {self.config.confirm!r}: choose engine, none, or llm:LM")
        return ModelConfirm(open_language_model(model), self.config.combine, self.config.store)

    def _quality(self) -> list[Example]:
        """Good and bad candidates of every agent."""
        made = []
        for agent in self.config.agent:
            examples, self.counts[f"quality:{agent}"] = auxiliary.quality_examples(
                self.scored(agent), self.config.engine.min_reward, seed=self.config.seed
            )
            made += examples
        return made

    def _tagging(self) -> list[Example]:
        """Pairs of queries from the graph, or if it has none, candidates by the relevance of what they find."""
        config = self.config
        examples, counts = auxiliary.tagging_examples(
            self.shop, self.train, max_queries=config.graph.max_queries, seed=config.seed
        )
        if not examples:
            examples, counts = auxiliary.relevance_tags(self.scored(config.agent[0]), seed=config.seed)
        self.counts["tagging"] = counts
        return examples

    @cached_property
    def _scored(self) -> dict[str, Scored]:
        return {}

    def scored(self, agent: str) -> Scored:
        """The candidates of an agent, or of the log, for `queries`, with the engine's scores; computed once."""
        if agent not in self._scored:
            options = self._log_candidates() if agent == "log" else self._agent_candidates(agent)
            self._scored[agent] = score_options(self.queries, options, self.setup.score, agent)
        return self._scored[agent]

    def _agent_candidates(self, agent: str) -> list[list[str]]:
        """An agent's rewrites of each query, in the form that `combine` needs."""
        config, texts, tokenizer = self.config, [query.text for query in self.queries], self.shop.tokenizer
        written = self.setup.agent(agent).rewrite(texts, config.candidates, config.seed)
        return [
            [text for rewrite in rewrites if (text := rewrite_for_mode(query, rewrite, config.combine, tokenizer))]
            for query, rewrites in zip(texts, written, strict=True)
        ]

    def _log_candidates(self) -> list[list[str]]:
        """Words of purchased products for each query, in the form that `combine` needs."""
        rarest = (MIN_TITLES - 0.5) / max(len(self.shop.titles), 1)
        options = candidates(word_model(self.shop, self.queries), self.queries, rarest=rarest)
        if self.config.combine == "expand":
            return options
        texts = [query.text for query in self.queries]
        return [[f"{query} {words}" for words in added] for query, added in zip(texts, options, strict=True)]
