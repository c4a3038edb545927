"""Texts to unit vectors with a sentence-transformers model; vectors are cached so that no text is embedded twice.

    encoder = Encoder(qr_env.models.hub.resolve("minilm-l6"))
    encoder.encode(["red sofa", "crimson couch"])  # (2, 384) float32, unit length
    product_vectors(shop, encoder, cache_dir)      # (products, 384), embedded once, then memory-mapped

Embedding is the cost of dense retrieval: 0.4 GFLOP for a title of 20 tokens with MiniLM, so about 250 titles/s at the
100 GFLOP/s of two cores. Batches hold texts of similar length (little padding), are small enough for the processor's
cache (32), and run without autograd; none of this changes the vectors.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from qr_env.common.arrays import load_array
from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_files, sha256_text
from qr_env.common.packages import require
from qr_env.common.protocols import TextEncoder
from qr_env.common.types import FloatArray, SearchText
from qr_env.models.no_code import refuse_code, safe_loading
from qr_env.models.progress import no_weight_bars
from qr_env.retrieval.base import weighted_texts
from qr_env.shop.shop import Shop

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Embedded columns of a product: its title, and each further one that the title does not contain.
PRODUCT_FIELDS = ("title", "brand", "color")
_BATCH_CPU, _BATCH_GPU = 32, 512


class Encoder:
    """A sentence-transformers model from a local folder."""

    def __init__(self, model_dir: Path | str, cache_dir: Path | None = None, remember: int = 1 << 16) -> None:
        """The model is loaded on first use.

        Args:
            model_dir: folder of the model.
            cache_dir: default folder of `product_vectors`.
            remember: number of texts whose vectors stay in memory, least recently used evicted first (MiniLM: 1.5 kB
                each).
        """
        require("sentence_transformers", what="embedding texts")
        self.model_dir = Path(model_dir)
        if not (self.model_dir / "config.json").is_file() and not (self.model_dir / "modules.json").is_file():
            raise ConfigError(f"{model_dir} is no model folder; qr_env.models.hub.resolve('minilm-l6') returns one")
        self.cache_dir = cache_dir
        self.remember = remember
        self._vectors: OrderedDict[str, FloatArray] = OrderedDict()

    @cached_property
    def name(self) -> str:
        """Folder name and a hash of its weights and configuration."""
        suffixes = (".safetensors", ".bin", ".json", ".txt", ".model")
        paths = sorted(self.model_dir.rglob("*"))
        files = [path for path in paths if path.suffix in suffixes and path.name != "qr_model.json"]
        return f"{self.model_dir.name}-{sha256_files(self.model_dir, files)[:12]}"

    @cached_property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._embed([""], False).shape[1])

    def encode(self, texts: Sequence[str], show_progress: bool = False) -> FloatArray:
        """(N, D) float32 vectors of length 1; a text longer than the model's limit is truncated."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        vectors_MD = self._embed(new, show_progress) if new else np.empty((0, self.dim), np.float32)
        if len(new) == len(texts):  # all new and distinct: `vectors_MD` is the result
            self._remember(new, vectors_MD)
            return vectors_MD
        fresh = dict(zip(new, vectors_MD, strict=True))
        out_ND = np.empty((len(texts), self.dim), np.float32)
        for n, text in enumerate(texts):
            if (vector_D := fresh.get(text)) is None:
                self._vectors.move_to_end(text)
                vector_D = self._vectors[text]
            out_ND[n] = vector_D
        self._remember(new, vectors_MD)
        return out_ND

    def clear_cache(self) -> None:
        """Forget the vectors of all texts, so that the next `encode` computes them again."""
        self._vectors.clear()

    def _remember(self, texts: list[str], vectors_MD: FloatArray) -> None:
        for text, vector_D in zip(texts[-self.remember :], vectors_MD[-self.remember :], strict=True):
            self._vectors[text] = vector_D.copy()  # a view would keep the whole batch in memory
        while len(self._vectors) > self.remember:
            self._vectors.popitem(last=False)

    @cached_property
    def model(self) -> SentenceTransformer:
        """The sentence-transformers model, in evaluation mode."""
        require("sentence_transformers", what="embedding texts")
        from sentence_transformers import SentenceTransformer

        with no_weight_bars():
            model = SentenceTransformer(
                str(refuse_code(self.model_dir)),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs=safe_loading(),
            )
            return model.eval()

    def _embed(self, texts: list[str], show_progress: bool) -> FloatArray:
        """Vectors of distinct texts; longest batches first, so that running out of memory shows early."""
        import torch

        model = self.model
        prompt = model.prompts.get(model.default_prompt_name, "") if model.default_prompt_name else ""
        texts = [(prompt or "") + text for text in texts]
        order = np.argsort([-len(ids) for ids in model.tokenizer(texts, truncation=True)["input_ids"]], kind="stable")
        size = _BATCH_GPU if model.device.type == "cuda" else _BATCH_CPU
        vectors = []
        with torch.inference_mode(), tqdm(total=len(texts), desc="embed", disable=not show_progress) as bar:
            for start in range(0, len(texts), size):
                batch = [texts[n] for n in order[start : start + size]]
                features = model.preprocess(batch).items()
                inputs = {name: x.to(model.device) if torch.is_tensor(x) else x for name, x in features}
                sentence_MD = model(inputs)["sentence_embedding"]
                vectors.append(torch.nn.functional.normalize(sentence_MD.float()).cpu().numpy())
                bar.update(len(batch))
        out_ND = np.empty((len(texts), vectors[0].shape[1]), np.float32)
        out_ND[order] = np.concatenate(vectors)
        return out_ND


def encode_queries(encoder: TextEncoder, queries: Sequence[SearchText]) -> FloatArray:
    """(N, D) unit vectors of search texts: of several texts the weighted mean. Blank texts are ignored.

    A query without any text has the zero vector.
    """
    weighted = [
        [(text, weight) for text, weight in weighted_texts(query) if text.strip() and weight > 0] for query in queries
    ]
    texts = list(dict.fromkeys(text for query in weighted for text, _ in query))
    vectors_MD = encoder.encode(texts or [""])
    at = {text: number for number, text in enumerate(texts)}
    owner = np.repeat(np.arange(len(queries)), [len(query) for query in weighted])
    chosen = np.array([at[text] for query in weighted for text, _ in query], int)
    weights = np.array([weight for query in weighted for _, weight in query], np.float32)
    mean_ND = np.zeros((len(queries), vectors_MD.shape[1]), np.float32)
    np.add.at(mean_ND, owner, weights[:, None] * vectors_MD[chosen])
    length_N1 = np.linalg.norm(mean_ND, axis=1, keepdims=True)
    return np.divide(mean_ND, length_N1, out=np.zeros_like(mean_ND), where=length_N1 > 0)


def product_texts(shop: Shop, fields: Sequence[str] = PRODUCT_FIELDS) -> list[str]:
    """Embedded text of every product: the first field, and each further one that the text does not contain."""
    texts: list[str] = shop.products[fields[0]].to_pylist()
    for name in fields[1:]:
        values = shop.products[name].to_pylist()
        pairs = zip(texts, values, strict=True)
        texts = [f"{text} {value}" if value and value.lower() not in text.lower() else text for text, value in pairs]
    return texts


def product_vectors(
    shop: Shop, encoder: TextEncoder, cache_dir: Path | None = None, fields: Sequence[str] = PRODUCT_FIELDS
) -> FloatArray:
    """(products, D) unit vectors of `product_texts`, with a progress bar, cached on disk by products and encoder.

    cache_dir: None takes the encoder's; without either they are computed each time. Dense retrieval and the embedding
    judge share them.
    """
    root = cache_dir or getattr(encoder, "cache_dir", None)
    if root is None:
        return _embed_products(shop, encoder, fields)
    path = vectors_file(shop, encoder, root, fields)
    if not path.is_file():
        with atomic_cache_folder(path.parent) as scratch:
            np.save(scratch / path.name, _embed_products(shop, encoder, fields))
    return np.asarray(load_array(path, mmap=True))


def vectors_file(shop: Shop, encoder: TextEncoder, cache_dir: Path, fields: Sequence[str] = PRODUCT_FIELDS) -> Path:
    """Where `product_vectors` keeps the vectors of these products."""
    key = sha256_text("\0".join((shop.products_hash, encoder.name, *fields)), 20)
    return Path(cache_dir) / "vectors" / key / "products.npy"


def _embed_products(shop: Shop, encoder: TextEncoder, fields: Sequence[str]) -> FloatArray:
    texts = product_texts(shop, fields)
    return encoder.encode(texts, show_progress=len(texts) > 1000) if texts else np.zeros((0, 1), np.float32)
