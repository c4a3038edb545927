"""The two judges that need nothing but the shop; `runs.common.judging.open_judge` makes every one by name.

judge = make_judge("labels", shop)
judge = make_judge("embedding", shop, Encoder(resolve("minilm-l6")))
"""

from __future__ import annotations

from judges.simple.embedding import EmbeddingJudge, Thresholds
from judges.simple.labels import LabelsJudge
from qr_env.common.errors import ConfigError
from qr_env.common.protocols import Judge, TextEncoder
from qr_env.retrieval.encoder import product_vectors
from qr_env.shop.shop import Shop

KINDS = ("labels", "embedding")
# Up to this many products all are embedded beforehand, when there is a disk to keep the vectors on: minutes once, and
# dense retrieval shares them. Above, or without a disk, a product is embedded when it is first graded.
EMBED_ALL = 100_000


def make_judge(
    kind: str,
    shop: Shop,
    encoder: TextEncoder | None = None,
    split: str | None = None,
    thresholds: Thresholds | None = None,
) -> Judge:
    """The judge called `kind`.

    Args:
        kind: "labels" (human labels, or the generated shop's truth) or "embedding" (similarity of query and product).
        shop: whose products it grades.
        encoder: for "embedding".
        split: labels: grade only queries of this split.
        thresholds: embedding: given ones. None fits them on the training purchases where the shop has any, which
            needs no label, and takes the defaults otherwise.

    Raises:
        ConfigError: no such judge, or no encoder for "embedding".
    """
    if kind == "labels":
        return LabelsJudge(shop, split)
    if kind != "embedding":
        raise ConfigError(f"no judge {kind!r}; choose one of {', '.join(KINDS)}")
    if encoder is None:
        raise ConfigError("judge 'embedding' needs an encoder: Encoder(qr_env.models.hub.resolve('minilm-l6'))")
    on_disk = getattr(encoder, "cache_dir", None) is not None and len(shop.products) <= EMBED_ALL
    judge = EmbeddingJudge(shop, encoder, thresholds, product_vectors(shop, encoder) if on_disk else None)
    if thresholds is None and len(shop.purchase_rows(split="train")[0]):
        judge.fit_purchases()
    return judge
