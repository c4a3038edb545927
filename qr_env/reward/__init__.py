"""Feedback on a rewrite's result list, and the reward computed from it."""

from qr_env.reward.feedback import Feedback
from qr_env.reward.paper_rewards import PAPER_REWARDS
from qr_env.reward.reward import Reward, Weights

__all__ = ["PAPER_REWARDS", "Feedback", "Reward", "Weights"]
