"""GRPO and its baselines."""
