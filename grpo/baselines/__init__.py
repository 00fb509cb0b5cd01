"""Baselines of GRPO."""
