"""Agreement of a judge's verdicts with the grades of a sample of result lists.

figures(probs_PK4, sample)      # {"ndcg": 0.91, "spearman": 0.74, …}
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from judges.validation.agreement import agreement, resample_weights
from judges.validation.samples import Sample
from qr_env.common.types import GAINS, FloatArray
from qr_env.reward.metrics import dcg


def figures(probs_PK4: FloatArray, sample: Sample) -> dict[str, float]:
    """Agreement of verdicts with a sample's grades.

    ndcg: of the lists in the judge's order against their best order, over lists with more than one level. spearman: of
    expected gain and level. auc: of Exact or Substitute. kappa, kappa quadratic: of the most probable level.
    """
    known_PK = (sample.levels_PK >= 0) & ~np.isnan(probs_PK4[..., 0])
    if not known_PK.any():
        return dict.fromkeys(("ndcg", "spearman", "auc", "kappa", "kappa quadratic"), float("nan"))
    score_PK = np.where(known_PK, probs_PK4.astype(np.float64) @ GAINS, -np.inf)
    gain_PK = np.where(known_PK, GAINS[np.maximum(sample.levels_PK, 0)], 0.0)
    ideal_P = dcg(-np.sort(-gain_PK, axis=1))
    order_PK = np.argsort(-score_PK, axis=1, kind="stable")
    worst_P = np.where(known_PK, gain_PK, np.inf).min(axis=1)
    mixed_P = gain_PK.max(axis=1) > worst_P
    share_P = dcg(np.take_along_axis(gain_PK, order_PK, 1))[mixed_P] / ideal_P[mixed_P]
    query_M = np.repeat(np.arange(len(known_PK)), known_PK.sum(1))
    level_M = sample.levels_PK[known_PK].astype(np.int64)
    ranks_2M = np.stack([rankdata(score_PK[known_PK]), rankdata(level_M)])
    spread = ranks_2M.std(axis=1).min()
    agree = agreement(level_M, probs_PK4[known_PK], query_M, resample_weights(len(known_PK), resamples=2))
    return {
        "ndcg": float(share_P.mean()) if len(share_P) else float("nan"),
        "spearman": float(np.corrcoef(ranks_2M)[0, 1]) if spread > 0 else float("nan"),
        **{name: agree[name].value for name in ("auc", "kappa", "kappa quadratic")},
    }
