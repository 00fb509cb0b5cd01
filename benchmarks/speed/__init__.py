"""Ours against its peers, side by side: `python -m markscheme.benchmarks.speed.verifiers`."""
