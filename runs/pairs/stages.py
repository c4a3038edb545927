"""How `qr pairs` makes its examples: engine and judge, each source, each task, and the counts of all filters.

maker = Maker(args, shop)          # args of `qr pairs`
examples = maker.examples()        # of every source and task; maker.counts has what was left out on the way
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.examples import auxiliary
from agents.examples.engine_pairs import Counts, EngineConfig, Scored, approved, engine_pairs, score_options
from agents.examples.graph_pairs import Confirm, graph_pairs
from agents.examples.pairs import bought_titles
from agents.examples.scoring import FeedbackScorer
from agents.examples.tasks import Example
from agents.examples.teacher_rewrites import file_rewrites, teacher_rewrites
from agents.prompted.confirm import ModelConfirm
from agents.prompted.language_model import open_language_model
from agents.query_log.word_model import candidates, word_model
from agents.text.expansion import rewrite_for_mode
from qr_env.common.errors import ConfigError
from qr_env.common.types import Query

if TYPE_CHECKING:
    from qr_env.common.protocols import Agent, Retriever
    from qr_env.environment.simulator import Simulator
    from qr_env.shop.shop import Shop

LOG = EngineConfig(min_relevance=-1.0, min_increment=-1.0, max_rewrites=1, context_share=0.0)  # by reward alone
TEACHER = "teacher:"
KNOWN_TITLES = 3  # a word of the log in fewer titles is a model's number, which no student can guess


@dataclass
class Maker:
    """Makes the examples that the settings of `qr pairs` ask for. counts: part → filter → how many it left out."""

    args: Any
    shop: Shop
    counts: dict[str, Counts] = field(default_factory=dict)

    def examples(self) -> list[Example]:
        """All examples, none twice; rewrites first."""
        rewrites = self._rewrites()
        makers: dict[str, Callable[[], list[Example]]] = {
            "rewrite": lambda: rewrites,
            "quality": self._quality,
            "title": lambda: auxiliary.title_examples(self.titles, self.past),
            "thought": lambda: auxiliary.thought_examples(rewrites, self.titles, self.known),
            "tagging": self._tagging,
        }
        made = [example for task in dict.fromkeys(self.args.tasks) for example in makers[task]()]
        distinct = list({(e.task, e.query, e.rewrite, e.response, e.context): e for e in reversed(made)}.values())[::-1]
        self.counts["all"] = {"made by two sources": len(made) - len(distinct), "kept": len(distinct)}
        generated = self._generated
        return [replace(e, source=f"{e.source}:catalogue") if e.query_id in generated else e for e in distinct]

    def _rewrites(self) -> list[Example]:
        """Of all sources. A query that one source leaves alone is rewritten where another one knows how."""
        found = [example for source in dict.fromkeys(self.args.sources) for example in self._source(source)]
        rewritten = {example.query for example in found if example.response}
        kept = [example for example in found if example.response or example.query not in rewritten]
        self.counts["rewrites"] = {"left alone by one source, rewritten by another": len(found) - len(kept)}
        return kept

    @cached_property
    def train(self) -> list[Query]:
        """The train split, the most frequent first."""
        return sorted(self.shop.split("train"), key=lambda query: -query.frequency)

    @cached_property
    def past(self) -> list[Query]:
        """Those queries of it that engine and teachers are asked about."""
        return self.train[: self.args.queries or None]

    @cached_property
    def titles(self) -> dict[str, list[str]]:
        """What was bought for each train query."""
        return bought_titles(self.shop, self.train)

    @cached_property
    def known(self) -> frozenset[str]:
        """Stems of the catalogue's titles."""
        return auxiliary.title_stems(self.shop)

    @cached_property
    def _generated(self) -> set[str]:
        """Ids of queries that were made from the catalogue."""
        made = self.shop.slices.get("generated")
        return set() if made is None else {query.id for query in self.train if made[query.row]}

    def _source(self, source: str) -> list[Example]:
        """The rewrites of one source."""
        if source == "log":
            examples, self.counts["log"] = engine_pairs(self.scored("log"), replace(LOG, seed=self.args.seed))
            return [replace(example, source="log") for example in examples]
        if source == "engine":
            return [example for agent in self.args.agent for example in self._engine(agent)]
        if source == "graph":
            found = graph_pairs(
                self.shop, self.train, self.args.graph, self.args.combine, self._confirm(), self.args.edges
            )
        elif source.startswith(TEACHER):
            agent = self.agent(source.removeprefix(TEACHER))
            found = teacher_rewrites(
                agent, self.shop, self.past, self.args.combine, self.args.candidates, self.args.seed
            )
        elif Path(source).suffix:
            found = file_rewrites(source, self.shop, self.args.combine, self.known)
        else:
            raise ConfigError(f"--sources {source!r}: choose log, graph, engine, teacher:AGENT, or a file of rewrites")
        part = Path(source).name if Path(source).suffix else source
        examples, self.counts[part] = found
        return self._approved(part, examples)

    def _engine(self, agent: str) -> list[Example]:
        config = replace(self.args.engine, seed=self.args.seed)
        examples, self.counts[f"engine:{agent}"] = engine_pairs(self.scored(agent), config, self.titles)
        return examples

    def _approved(self, part: str, examples: list[Example]) -> list[Example]:
        """What the engine confirms; a model confirms inside the graph, and what others wrote here."""
        if self.args.confirm == "none" or not examples:
            return examples
        queries = self._queries_of(examples)
        if self.args.confirm == "engine":
            trusted = part != "graph"
            examples, counts = approved(examples, queries, self.score, self.args.engine.min_reward, trusted, self.known)
            self.counts[part] |= counts
        elif part != "graph":
            confirm = self._confirm()
            assert confirm is not None
            means = confirm(queries, [example.response for example in examples])
            examples = [example for example, same in zip(examples, means.tolist(), strict=True) if same]
            self.counts[part] |= {"not confirmed": int((~means).sum()), "kept": len(examples)}
        return examples

    def _queries_of(self, examples: Sequence[Example]) -> list[Query]:
        """The shop's query of each example, or one that is not of the shop."""
        known = {query.id: query for query in self.train}
        return [known.get(e.query_id) or Query(-1, "", e.query) for e in examples]

    def _confirm(self) -> Confirm | None:
        """A language model that is asked whether a rewrite means the same; None where none is wanted."""
        if self.args.confirm in ("none", "engine"):
            return None
        kind, _, model = self.args.confirm.partition(":")
        if kind != "llm" or not model:
            raise ConfigError(f"--confirm {self.args.confirm!r}: choose engine, none, or llm:LM")
        return ModelConfirm(open_language_model(model), self.args.combine, self.args.store)

    def _quality(self) -> list[Example]:
        made = []
        for agent in self.args.agent:
            examples, self.counts[f"quality:{agent}"] = auxiliary.quality_examples(
                self.scored(agent), self.args.engine.min_reward, seed=self.args.seed
            )
            made += examples
        return made

    def _tagging(self) -> list[Example]:
        """From the graph, or where that says nothing, from the engine's relevance."""
        examples, counts = auxiliary.tagging_examples(
            self.shop, self.train, max_queries=self.args.graph.max_queries, seed=self.args.seed
        )
        if not examples:
            examples, counts = auxiliary.relevance_tags(self.scored(self.args.agent[0]), seed=self.args.seed)
        self.counts["tagging"] = counts
        return examples

    def scored(self, agent: str) -> Scored:
        """The candidates of an agent for `past`, or of the log, with the engine's verdict; made once."""
        if agent not in self._scored:
            self._scored[agent] = score_options(self.past, self._options(agent), self.score, agent)
        return self._scored[agent]

    @cached_property
    def _scored(self) -> dict[str, Scored]:
        return {}

    def _options(self, agent: str) -> list[list[str]]:
        texts = [query.text for query in self.past]
        if agent != "log":
            written = self.agent(agent).rewrite(texts, self.args.candidates, self.args.seed)
            return [
                [text for other in rewrites if (text := rewrite_for_mode(query, other, self.args.combine))]
                for query, rewrites in zip(texts, written, strict=True)
            ]
        rarest = (KNOWN_TITLES - 0.5) / max(len(self.shop.titles), 1)
        options = candidates(word_model(self.shop, self.past), self.past, rarest=rarest)
        if self.args.combine == "expand":
            return options
        return [[f"{query} {more}" for more in added] for query, added in zip(texts, options, strict=True)]

    def agent(self, spec: str) -> Agent:
        """An agent by its name at `qr evaluate`."""
        from agents.factory import AgentOptions, make_agent
        from qr_env.common.download import cache_root

        args = self.args
        options = AgentOptions(
            self.shop, self._retriever, args.combine, args.weight, lambda: self._encoder, lambda: self._judge,
            store=args.store or cache_root(), seed=args.seed,
        )  # fmt: skip
        return make_agent(spec, options)

    @cached_property
    def score(self) -> FeedbackScorer:
        """The engine's verdict on candidates."""
        return FeedbackScorer(self._simulator)

    def _simulator(self, blocks: int, group_size: int) -> Simulator:
        from qr_env.environment.simulator import Simulator
        from qr_env.reward.reward import Reward

        return Simulator(
            *(self.shop, self._retriever, self._judge, Reward(self.args.reward)),
            blocks=blocks,
            group_size=group_size,
            mode=self.args.combine,
            original_weight=self.args.weight,
        )

    @cached_property
    def _retriever(self) -> Retriever:
        from qr_env.common.download import cache_root
        from qr_env.retrieval.factory import make_retriever

        encoder = None if self.args.retriever == "bm25" else self._encoder
        return make_retriever(self.args.retriever, self.shop, cache_root(), encoder)

    @cached_property
    def _judge(self) -> Any:
        """Labels of the train split only, where it is labels: a row of another split is no past."""
        from judges.factory import JudgeOptions, open_judge

        spec = self.args.judge
        if spec == "auto":
            spec = "labels" if self.shop.qrels_complete else "embedding"
        encoder = self._encoder if "embedding" in spec else None
        options = JudgeOptions(self.args.judge_url, store=self.args.store, split="train", encoder=encoder)
        return open_judge(spec, self.shop, options)

    @cached_property
    def _encoder(self) -> Any:
        from judges.factory import default_encoder

        return default_encoder()
