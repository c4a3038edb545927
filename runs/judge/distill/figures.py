"""Agreement of a judge's verdicts with the grades of a sample of result lists.

figures(probs_QK4, sample)      # {"ndcg": 0.91, "spearman": 0.74, …}
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from judges.validation.agreement import agreement, resample_weights
from judges.validation.samples import Sample
from qr_env.common.types import GAINS, FloatArray
from qr_env.reward.metrics import dcg


def figures(probs_QK4: FloatArray, sample: Sample) -> dict[str, float]:
    """Agreement of verdicts with a sample's grades.

    ndcg: of the lists in the judge's order against their best order, over lists with more than one level. spearman: of
    expected gain and level. auc: of Exact or Substitute. kappa, kappa quadratic: of the most probable level.
    """
    known_QK = (sample.levels_QK >= 0) & ~np.isnan(probs_QK4[..., 0])
    if not known_QK.any():
        return dict.fromkeys(("ndcg", "spearman", "auc", "kappa", "kappa quadratic"), float("nan"))
    score_QK = np.where(known_QK, probs_QK4.astype(np.float64) @ GAINS, -np.inf)
    gain_QK = np.where(known_QK, GAINS[np.maximum(sample.levels_QK, 0)], 0.0)
    ideal_Q = dcg(-np.sort(-gain_QK, axis=1))
    order_QK = np.argsort(-score_QK, axis=1, kind="stable")
    worst_Q = np.where(known_QK, gain_QK, np.inf).min(axis=1)
    mixed_Q = gain_QK.max(axis=1) > worst_Q
    share_Q = dcg(np.take_along_axis(gain_QK, order_QK, 1))[mixed_Q] / ideal_Q[mixed_Q]
    query_M = np.repeat(np.arange(len(known_QK)), known_QK.sum(1))
    level_M = sample.levels_QK[known_QK].astype(np.int64)
    ranks_2M = np.stack([rankdata(score_QK[known_QK]), rankdata(level_M)])
    spread = ranks_2M.std(axis=1).min()
    agree = agreement(level_M, probs_QK4[known_QK], query_M, resample_weights(len(known_QK), resamples=2))
    return {
        "ndcg": float(share_Q.mean()) if len(share_Q) else float("nan"),
        "spearman": float(np.corrcoef(ranks_2M)[0, 1]) if spread > 0 else float("nan"),
        **{name: agree[name].value for name in ("auc", "kappa", "kappa quadratic")},
    }
