"""Reward models: a Bradley-Terry model trained from preference pairs, and the scorer made of it."""

from markscheme.reward_models.evaluation import PairAccuracy, PairEvaluation, evaluate_pairs
from markscheme.reward_models.loss import bradley_terry_loss
from markscheme.reward_models.model import RewardNetwork
from markscheme.reward_models.preferences import PreferencePair, load_pairs, split_pairs
from markscheme.reward_models.scorer import RewardModel
from markscheme.reward_models.training import RewardModelConfig, train_reward_model

__all__ = [
    "PairAccuracy",
    "PairEvaluation",
    "PreferencePair",
    "RewardModel",
    "RewardModelConfig",
    "RewardNetwork",
    "bradley_terry_loss",
    "evaluate_pairs",
    "load_pairs",
    "split_pairs",
    "train_reward_model",
]
