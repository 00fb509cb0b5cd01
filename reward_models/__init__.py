"""Reward models: trained from preferences or from labelled steps, measured, and the scorers made of them."""

from markscheme.reward_models.config import RewardModelConfig
from markscheme.reward_models.evaluation import PairAccuracy, PairEvaluation, evaluate_pairs
from markscheme.reward_models.formats import load_comparisons, load_pairs, load_steps
from markscheme.reward_models.judge import Judge, JudgeConfig
from markscheme.reward_models.loss import bradley_terry_loss
from markscheme.reward_models.model import RewardNetwork
from markscheme.reward_models.preferences import Comparison, PreferencePair, compared, split_by_question
from markscheme.reward_models.process_scorer import ProcessRewardModel
from markscheme.reward_models.process_training import train_process_model
from markscheme.reward_models.scorer import RewardModel
from markscheme.reward_models.steps import LabelledSteps
from markscheme.reward_models.training import train_reward_model

__all__ = [
    "Comparison",
    "Judge",
    "JudgeConfig",
    "LabelledSteps",
    "PairAccuracy",
    "PairEvaluation",
    "PreferencePair",
    "ProcessRewardModel",
    "RewardModel",
    "RewardModelConfig",
    "RewardNetwork",
    "bradley_terry_loss",
    "compared",
    "evaluate_pairs",
    "load_comparisons",
    "load_pairs",
    "load_steps",
    "split_by_question",
    "train_process_model",
    "train_reward_model",
]
