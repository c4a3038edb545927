"""Judges of relevance: they grade products for the shopper's original query. `open_judge` opens one by name."""

from judges.cross_encoder.judge import CrossEncoderJudge
from judges.factory import JudgeOptions, open_judge, open_shopper
from judges.llm.judge import LLMJudge
from judges.simple.embedding import EmbeddingJudge
from judges.simple.ensemble import EnsembleJudge
from judges.simple.labels import LabelsJudge

__all__ = [
    "CrossEncoderJudge",
    "EmbeddingJudge",
    "EnsembleJudge",
    "JudgeOptions",
    "LLMJudge",
    "LabelsJudge",
    "open_judge",
    "open_shopper",
]
