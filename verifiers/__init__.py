"""Verifiers: text in, verdict out. Rules only; nothing here imports torch, and sympy only in worker processes."""

from markscheme.verifiers.choice import ChoiceVerifier
from markscheme.verifiers.conventions import Conventions
from markscheme.verifiers.extract import extract
from markscheme.verifiers.format import FormatVerifier
from markscheme.verifiers.length import Conciseness, LengthPenalty
from markscheme.verifiers.math_verifier import MathVerifier
from markscheme.verifiers.numeric import NumericVerifier
from markscheme.verifiers.repetition import RepetitionPenalty
from markscheme.verifiers.statements import AnswerKind, Statement
from markscheme.verifiers.steps import StepVerifier

__all__ = [
    "AnswerKind",
    "ChoiceVerifier",
    "Conciseness",
    "Conventions",
    "FormatVerifier",
    "LengthPenalty",
    "MathVerifier",
    "NumericVerifier",
    "RepetitionPenalty",
    "Statement",
    "StepVerifier",
    "extract",
]
