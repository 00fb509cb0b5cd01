"""markscheme: score mathematics, train on the scores, measure what changed."""

__version__ = "0.1.0"
