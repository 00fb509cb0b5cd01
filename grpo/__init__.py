"""GRPO and its baselines: what the commands grpo, sft and dpo do, in Python."""

from markscheme.grpo.baselines.dpo import DPOConfig, train_dpo
from markscheme.grpo.baselines.ppo import Critic, CriticConfig
from markscheme.grpo.baselines.rft import rft_examples
from markscheme.grpo.baselines.sft import SFTConfig, train_sft
from markscheme.grpo.config import PRESETS, GRPOConfig
from markscheme.grpo.monitor import HackingMonitor, MonitorConfig
from markscheme.grpo.objective import Objective
from markscheme.grpo.training import train_grpo

__all__ = [
    "PRESETS",
    "Critic",
    "CriticConfig",
    "DPOConfig",
    "GRPOConfig",
    "HackingMonitor",
    "MonitorConfig",
    "Objective",
    "SFTConfig",
    "rft_examples",
    "train_dpo",
    "train_grpo",
    "train_sft",
]
