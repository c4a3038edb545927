"""The cross-encoder judge: one model reads query and product together; fast enough for every result list on a CPU.

    judge = CrossEncoderJudge.load("out/distill/student")             # from `qr judge distill`, or any one-logit model
    probs_M4 = judge.grade_pairs([("red sofa", "Lindholm sofa red 3 seater"), …])
    grades = ShopJudge(shop, judge).grade(queries, hits.rows_NK)

The folder holds a Hugging Face sequence classifier with one logit, the score s. `calibration.json` maps the score to
grades by the cumulative link of `judges/simple/embedding.py`, P(level ≥ j) = σ((s − cut_j) / temperature), and holds
the product fields and the length that the model reads. A model without that file (any Hugging Face cross-encoder) gets
unfitted cuts around logit 0: `calibrated` is False, the first use logs a warning, and `qr judge distill --student` or
`fit` fits them.

What makes it fast, in order of gain: short inputs (48 tokens), int8 weights by ONNX Runtime (`model.onnx`), batches of
pairs of similar length, each text tokenised once. Without ONNX Runtime, and on a GPU, PyTorch computes the same score.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from judges.cross_encoder.pair_tokens import Ids, PairTokens
from judges.cross_encoder.training import forward, load_classifier
from judges.simple.thresholds import Levels, Thresholds, fit_thresholds, level_probs
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.common.hashing import sha256_files, sha256_text
from qr_env.common.packages import require
from qr_env.common.types import LEVELS, FloatArray
from qr_env.models.no_code import refuse_code
from qr_env.retrieval.base import default_threads
from qr_env.retrieval.encoder import product_texts
from qr_env.shop.shop import Shop

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CALIBRATION, ONNX = "calibration.json", "model.onnx"
BACKENDS = ("auto", "onnx", "torch")
BATCH_CPU, BATCH_GPU = 32, 1024
# For models that were trained with binary cross-entropy: at logit 0, P(relevant) is ½.
LOGIT_CUTS = Thresholds(complement=-1.0, substitute=0.0, exact=1.0, temperature=0.7)

log = logging.getLogger("judges.cross_encoder.judge")


@dataclass(frozen=True)
class Calibration:
    """Content of `calibration.json`."""

    thresholds: Thresholds = LOGIT_CUTS
    """cuts on the score"""
    source: str = "default"
    """data that the cuts were fitted on; "default" for unfitted cuts"""
    fields: tuple[str, ...] = ("title", "brand", "color")
    """columns of the product table that are read: the first always, the others where the text lacks their value"""
    max_length: int = 48
    """tokens of a pair"""
    provenance: dict[str, Any] = field(default_factory=dict)
    """where the weights come from"""

    @classmethod
    def read(cls, folder: Path) -> Calibration:
        """The calibration of a folder; the default where it has none."""
        path = folder / CALIBRATION
        if not path.is_file():
            return cls()
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["thresholds"] = Thresholds(**values["thresholds"])
            return cls(**values | {"fields": tuple(values["fields"])})
        except (ValueError, TypeError, KeyError) as error:
            raise JudgeError(f"{path} is damaged ({error!r}): export the judge again") from error

    def write(self, folder: Path) -> None:
        """Write `calibration.json` into a folder."""
        (folder / CALIBRATION).write_text(json.dumps(asdict(self), indent=2, default=str) + "\n", encoding="utf-8")


class CrossEncoderJudge:
    """A `PairJudge` from a local folder in Hugging Face format.

    Args:
        folder: see the module docstring; `qr_env.models.hub.resolve` gives one for a hub id.
        backend: "onnx", "torch", or "auto": torch where there is a GPU, else onnx where folder and installation have
            it, else torch.
        batch_size: pairs computed at a time; 0 is 32, on a GPU 1,024.
        threads: 0 is OMP_NUM_THREADS, else every core.

    Raises JudgeError where the folder is no one-logit classifier, ConfigError for an impossible backend.
    """

    name = "cross-encoder"

    def __init__(self, folder: Path | str, backend: str = "auto", batch_size: int = 0, threads: int = 0) -> None:
        require("transformers", what="the cross-encoder judge")
        self.folder = Path(folder)
        check_one_logit(self.folder)
        if backend not in BACKENDS:
            raise ConfigError(f"no backend {backend!r}; choose one of {', '.join(BACKENDS)}")
        self.calibration = Calibration.read(self.folder)
        self.backend = backend if backend != "auto" else self._best_backend()
        self.batch_size, self.threads = batch_size, threads or default_threads()
        self._counts: Counter[str] = Counter()
        self._seconds = 0.0

    @classmethod
    def load(cls, folder: Path | str) -> CrossEncoderJudge:
        """The judge of a folder, with the best backend available."""
        return cls(folder)

    @property
    def calibrated(self) -> bool:
        """Whether the cuts were fitted."""
        return self.calibration.source != "default"

    @cached_property
    def _weights(self) -> str:
        """Digest of all files in the folder that a score depends on, including the backend's own."""
        skipped = {CALIBRATION, "qr_model.json", ONNX if self.backend == "torch" else ""}
        files = sorted(path for path in self.folder.iterdir() if path.is_file() and path.name not in skipped)
        return sha256_files(self.folder, files, prefix=self.backend)

    @property
    def fingerprint(self) -> str:
        """Name, and a digest of weights, tokenizer, backend, thresholds, fields and length."""
        settings = {
            name: value for name, value in asdict(self.calibration).items() if name not in ("provenance", "source")
        }
        described = json.dumps(settings, sort_keys=True)
        return f"{self.name}:{sha256_text(self._weights + described, 24)}"

    def product_texts(self, shop: Shop) -> list[str]:
        """The calibration's fields of each product, without values that the text contains already."""
        return product_texts(shop, self.calibration.fields)

    def grade_pairs(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """(M, 4) probabilities of the levels; NaN where query or product has no text."""
        if not self.calibrated and not self._counts["asked"]:
            log.warning("%s has no %s: its grades come from unfitted default cuts", self.folder, CALIBRATION)
        return level_probs(self.score_pairs(pairs), self.calibration.thresholds)

    def score_pairs(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """(M,) float32 scores, the higher the more relevant; NaN where query or product has no text."""
        start = time.perf_counter()
        scores_M = np.full(len(pairs), np.nan, np.float32)
        readable = np.flatnonzero([bool(query.strip() and product.strip()) for query, product in pairs])
        if len(readable):
            queries, products = zip(*(pairs[m] for m in readable.tolist()), strict=True)
            scores_M[readable] = self._scores(*self.tokens.layout(queries, products))
        self._counts.update({"asked": len(pairs), "missing": len(pairs) - len(readable)})
        self._seconds += time.perf_counter() - start
        return scores_M

    def fit(self, pairs: Sequence[tuple[str, str]], levels_M: Levels, source: str) -> Calibration:
        """Fit the cuts to M graded pairs by maximum likelihood. source: whose grades they are."""
        self.calibration = replace(
            self.calibration, source=source, thresholds=fit_cuts(self.score_pairs(pairs), levels_M)
        )
        return self.calibration

    def stats(self) -> dict[str, float]:
        """asked, missing, missing/blank (the only kind), seconds, pairs_per_second."""
        asked, missing = float(self._counts["asked"]), float(self._counts["missing"])
        rate = asked / self._seconds if self._seconds else 0.0
        return {
            "asked": asked,
            "missing": missing,
            "missing/blank": missing,
            "seconds": self._seconds,
            "pairs_per_second": rate,
        }

    def _best_backend(self) -> str:
        if find_spec("torch") is not None:
            import torch

            if torch.cuda.is_available():
                return "torch"
        return "onnx" if (self.folder / ONNX).is_file() and find_spec("onnxruntime") is not None else "torch"

    @cached_property
    def tokens(self) -> PairTokens:
        """Turns texts into model inputs."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(refuse_code(self.folder), trust_remote_code=False)
        return PairTokens(tokenizer, self.calibration.max_length)

    @cached_property
    def _model(self) -> OnnxScorer | TorchScorer:
        if self.backend == "onnx":
            return OnnxScorer(self.folder / ONNX)
        model, _ = load_classifier(self.folder)
        return TorchScorer(model)

    def _scores(self, ids_MT: Ids, types_MT: Ids, lengths_M: Ids) -> FloatArray:
        """Scores in batches of pairs of similar length, which need little padding."""
        model = self._model
        size = self.batch_size or model.batch
        order = np.argsort(lengths_M, kind="stable")
        scores_M = np.empty(len(order), np.float32)

        def score(start: int) -> None:
            batch = order[start : start + size]
            width = int(lengths_M[batch].max())
            mask = (np.arange(width) < lengths_M[batch, None]).astype(np.int64)
            scores_M[batch] = model(ids_MT[batch, :width], types_MT[batch, :width], mask)

        starts = range(0, len(order), size)
        if self.backend == "torch":  # runs its own threads
            for start in starts:
                score(start)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(score, starts))
        return scores_M


def check_one_logit(folder: Path) -> None:
    """JudgeError unless the folder is a one-logit sequence classifier: any other would get a random head."""
    path = folder / "config.json"
    if not path.is_file():
        raise JudgeError(f"{folder} is no model folder (no config.json); train one with `qr judge distill`")
    config = json.loads(path.read_text(encoding="utf-8"))
    kinds = config.get("architectures") or ["unknown"]
    logits = len(config.get("id2label") or "01")  # Hugging Face's default is two labels
    if not kinds[0].endswith("ForSequenceClassification") or logits != 1:
        raise JudgeError(
            f"{folder} is {kinds[0]} with {logits} labels, not a cross-encoder with one logit; train one from it with "
            f"`qr judge distill --student {folder}`"
        )


def fit_cuts(scores_M: npt.NDArray[np.floating], levels_M: Levels) -> Thresholds:
    """Fit the cumulative link from scores to levels, on any scale of the scores.

    Raises JudgeError without a pair, or for an invalid level.
    """
    scores_M, levels_M = np.asarray(scores_M, np.float64), np.asarray(levels_M)
    known_M = np.isfinite(scores_M)
    scores_M, levels_M = scores_M[known_M], levels_M[known_M]
    if not len(levels_M) or levels_M.min() < 0 or levels_M.max() >= len(LEVELS):
        raise JudgeError(
            f"a calibration needs levels 0 … {len(LEVELS) - 1}, got {len(levels_M)} pairs: {levels_M[:8]} …"
        )
    # In units of the scores' standard deviation, where the fit's ridge and bounds mean the same for every model.
    middle, spread = float(scores_M.mean()), float(scores_M.std()) or 1.0
    t = fit_thresholds((scores_M - middle) / spread, levels_M, Thresholds(-0.5, 0.0, 0.5, 0.5))
    complement, substitute, exact = (middle + spread * t.cuts).tolist()
    return Thresholds(complement, substitute, exact, spread * t.temperature)


class OnnxScorer:
    """Scores by ONNX Runtime on the CPU; safe to call from several threads.

    One thread a batch: parallel batches need not synchronise in every layer, and no thread spins on a shared machine.
    """

    batch = BATCH_CPU

    def __init__(self, path: Path) -> None:
        require("onnxruntime", what="a cross-encoder with backend='onnx'")
        import onnxruntime

        if not path.is_file():
            raise JudgeError(f"{path} is missing: export the judge again, or choose backend='torch'")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = [entry.name for entry in self.session.get_inputs()]

    def __call__(self, ids_MT: Ids, types_MT: Ids, mask_MT: Ids) -> FloatArray:
        """(M,) scores."""
        inputs = {"input_ids": ids_MT, "token_type_ids": types_MT, "attention_mask": mask_MT}
        logits_M1: FloatArray = self.session.run(None, {name: inputs[name] for name in self.names})[0]
        return logits_M1[:, 0]


class TorchScorer:
    """Scores by PyTorch, on the GPU where there is one."""

    def __init__(self, model: PreTrainedModel) -> None:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.batch = BATCH_GPU if device == "cuda" else BATCH_CPU
        self.model = model.eval().to(device)

    def __call__(self, ids_MT: Ids, types_MT: Ids, mask_MT: Ids) -> FloatArray:
        """(M,) scores."""
        import torch

        with torch.inference_mode():
            scores_M: FloatArray = forward(self.model, ids_MT, types_MT, mask_MT).float().cpu().numpy()
        return scores_M
