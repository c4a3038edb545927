"""The parts of an environment by name: each function builds the object of a name, and returns an object unchanged.

    shop = open_shop("generated")
    open_retriever("bm25", shop), open_judge("auto", shop), open_reward("jd")

Judges are entry points of the group `qr_env.judges`, rewards of other packages of `qr_env.rewards`
(`qr_env.common.plugins`), because this package imports neither.
"""

from __future__ import annotations

from qr_env.common.download import cache_root
from qr_env.common.plugins import load_plugin
from qr_env.common.protocols import Judge, Retriever
from qr_env.retrieval.factory import make_retriever
from qr_env.reward.paper_rewards import PAPER_REWARDS
from qr_env.reward.reward import Reward, RewardFunction
from qr_env.shop.load import load_shop
from qr_env.shop.shop import Shop

REWARDS: dict[str, RewardFunction] = {"default": Reward(), **PAPER_REWARDS}


def open_shop(shop: Shop | str) -> Shop:
    """A shop by the names of `load_shop`: "generated", "icecat", "esci", "wands", or a folder."""
    return load_shop(shop) if isinstance(shop, str) else shop


def open_retriever(retriever: Retriever | str, shop: Shop) -> Retriever:
    """A retriever by the names of `make_retriever`, its index kept in the cache folder."""
    return make_retriever(retriever, shop, cache_root()) if isinstance(retriever, str) else retriever


def open_judge(judge: Judge | str, shop: Shop) -> Judge:
    """A judge by name and optional argument: "auto", "labels", "embedding", "llm", "cross-encoder:MODEL", …"""
    if not isinstance(judge, str):
        return judge
    kind, _, argument = judge.partition(":")
    opened: Judge = load_plugin("qr_env.judges", kind)(shop, argument)
    return opened


def open_reward(reward: RewardFunction | str) -> RewardFunction:
    """A reward function by name: "default" is `Reward()`, the others are `PAPER_REWARDS`."""
    return load_plugin("qr_env.rewards", reward, REWARDS) if isinstance(reward, str) else reward
