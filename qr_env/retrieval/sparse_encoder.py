"""Texts to sparse vectors over a vocabulary: SPLADE (Formal et al. 2021, arXiv 2109.10086, equation 6).

    encoder = SparseEncoder(qr_env.models.hub.resolve("splade-tiny"))
    encoder.encode(["something to keep coffee hot"])       # (1, 30522) csr_matrix

A masked language model gives each token of a text logits over its vocabulary. The weight of vocabulary entry v is

    w_v = max over the text's tokens t of  log(1 + max(0, logit_tv))

so that a text also has words that it does not hold. Weights are rounded to `DECIMALS`: their last bits depend on how
texts are batched. The cost is the projection onto the vocabulary, 8 MFLOP a token for splade-tiny; it is made for
`_CHUNK` entries at a time, whose logits stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import scipy.sparse as sp
from tqdm import tqdm

from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_files
from qr_env.common.packages import require
from qr_env.models.no_code import LOAD_ERRORS, refuse_code, safe_loading
from qr_env.models.progress import no_weight_bars

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

DECIMALS = 3
_BATCH_CPU, _BATCH_GPU = 32, 256
_CHUNK = 4096  # vocabulary entries


class SparseTextEncoder(Protocol):
    """Maps texts to sparse vectors of non-negative weights."""

    @property
    def name(self) -> str:
        """Identifies the weights; indexes on disk are keyed by it."""
        ...

    def encode(self, texts: Sequence[str], show_progress: bool = False) -> sp.csr_matrix:
        """(N, V) float32 matrix in canonical format, without stored zeros."""
        ...


class SparseEncoder:
    """A masked language model, trained for SPLADE, from a local folder. It is loaded on first use."""

    def __init__(self, model_dir: Path | str) -> None:
        require("torch", "transformers", what="splade")
        self.model_dir = Path(model_dir)
        if not (self.model_dir / "config.json").is_file():
            raise ConfigError(f"{model_dir} is no model folder; qr_env.models.hub.resolve('splade-tiny') returns one")

    @cached_property
    def name(self) -> str:
        """Folder name and a hash of its weights and configuration."""
        names = {"config.json", "tokenizer.json", "vocab.txt"}
        paths = sorted(self.model_dir.iterdir())
        files = [path for path in paths if path.suffix == ".safetensors" or path.name in names]
        return f"{self.model_dir.name}-{sha256_files(self.model_dir, files)[:12]}"

    def encode(self, texts: Sequence[str], show_progress: bool = False) -> sp.csr_matrix:
        """See `SparseTextEncoder.encode`; a text longer than the model's limit is truncated. Equal texts are computed
        once, texts of similar length share a batch."""
        import torch

        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return sp.csr_matrix((0, self._model.vocabulary), dtype=np.float32)
        ids = self._model.tokenizer(distinct, truncation=True)["input_ids"]
        order = np.argsort([-len(one) for one in ids], kind="stable")
        size = _BATCH_GPU if self._model.body.device.type == "cuda" else _BATCH_CPU
        parts = []
        with torch.inference_mode(), tqdm(total=len(distinct), desc="embed sparse", disable=not show_progress) as bar:
            for start in range(0, len(distinct), size):
                batch = [ids[at] for at in order[start : start + size]]
                parts.append(self._weights(batch))
                bar.update(len(batch))
        place = {distinct[at]: row for row, at in enumerate(order.tolist())}
        return sp.vstack(parts, format="csr")[[place[text] for text in texts]]

    @cached_property
    def _model(self) -> _MaskedLanguageModel:
        import torch
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(refuse_code(self.model_dir), trust_remote_code=False)
            with no_weight_bars():
                model = AutoModelForMaskedLM.from_pretrained(self.model_dir, dtype=torch.float32, **safe_loading())
        except LOAD_ERRORS as error:
            raise ConfigError(
                f"{self.model_dir} does not load as a masked language model ({error}); name a SPLADE model"
            ) from error
        model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        projection = model.get_output_embeddings()
        name = next(name for name, module in model.named_modules() if module is projection)
        model.set_submodule(name, torch.nn.Identity())  # its `logits` are now the projection's input
        return _MaskedLanguageModel(model, projection, tokenizer)

    def _weights(self, ids: list[list[int]]) -> sp.csr_matrix:
        """(N, V) weights of N tokenised texts."""
        import torch

        model = self._model
        batch = model.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(model.body.device)
        padding_NT1 = batch["attention_mask"][:, :, None] == 0
        features_NTD = model.body(**batch).logits
        parts = []
        for start in range(0, model.vocabulary, _CHUNK):
            entries = slice(start, start + _CHUNK)
            logits_NTV = model.logits(features_NTD, entries)
            if padding_NT1.any():
                logits_NTV.masked_fill_(padding_NT1, 0.0)
            parts.append(logits_NTV.amax(dim=1))
        # log(1 + max(0, x)) rises with x: it is applied after the maximum, to T times fewer numbers.
        weights_NV = torch.log1p(torch.relu(torch.cat(parts, dim=1))).cpu().numpy()
        matrix = sp.csr_matrix(np.round(weights_NV, DECIMALS))
        matrix.eliminate_zeros()
        return matrix


@dataclass(frozen=True, slots=True)
class _MaskedLanguageModel:
    """A masked language model, taken apart before the projection onto its vocabulary."""

    body: Any
    """The model without its projection (its class depends on the weights); its `logits` are (N, T, D) features."""
    projection: torch.nn.Linear
    """Features → logits over the vocabulary."""
    tokenizer: PreTrainedTokenizerBase
    """The model's tokenizer."""

    @property
    def vocabulary(self) -> int:
        """Number of vocabulary entries."""
        return int(self.projection.weight.shape[0])

    def logits(self, features_NTD: torch.Tensor, entries: slice) -> torch.Tensor:
        """(N, T, V) logits of some vocabulary entries."""
        import torch

        bias = None if self.projection.bias is None else self.projection.bias[entries]
        return torch.nn.functional.linear(features_NTD, self.projection.weight[entries], bias)
