"""Verifiers: text in, verdict out. Rules only; nothing here imports torch, and sympy only in worker processes."""

from markscheme.verifiers.conventions import Conventions
from markscheme.verifiers.extract import AnswerKind, Statement, extract
from markscheme.verifiers.format import FormatVerifier
from markscheme.verifiers.math_verifier import MathVerifier
from markscheme.verifiers.numeric import NumericVerifier

__all__ = ["AnswerKind", "Conventions", "FormatVerifier", "MathVerifier", "NumericVerifier", "Statement", "extract"]
