"""Scorers where they are not at home: in other trainers and harnesses, and functions written for those as scorers here.

Each `to_...` takes any scorer and returns what that caller wants, in one line. Where a caller knows missing rewards,
"could not tell" is one there too; where it does not, the adapter raises, unless `unscored` says what it shall count as.
"""

from markscheme.adapters.functions import FunctionScorer, as_scorer
from markscheme.adapters.harnesses import to_evaluate, to_inspect, to_lm_eval
from markscheme.adapters.reading import UnscoredError
from markscheme.adapters.trainers import to_open_instruct, to_openrlhf, to_trl, to_verifiers, to_verl

__all__ = [
    "FunctionScorer",
    "UnscoredError",
    "as_scorer",
    "to_evaluate",
    "to_inspect",
    "to_lm_eval",
    "to_open_instruct",
    "to_openrlhf",
    "to_trl",
    "to_verifiers",
    "to_verl",
]
