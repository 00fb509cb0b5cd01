"""Tasks, evaluation, comparison, reports: what the commands evaluate, compare and regrade do, in Python."""

from markscheme.benchmarks.comparison import Comparison, GroupChange, MetricChange, compare
from markscheme.benchmarks.evaluation import EvaluationConfig, evaluate
from markscheme.benchmarks.logs import LoggedSample, read_log, write_lm_eval
from markscheme.benchmarks.outcomes import Evaluation, GradedCompletion, ProblemOutcome, load_evaluation
from markscheme.benchmarks.protocols import BOXED_CHAT, PLAIN, EvaluationProtocol, protocol_named
from markscheme.benchmarks.regrading import Regraded, regrade
from markscheme.benchmarks.report import write_report
from markscheme.benchmarks.tasks import load_problems, task_problems

__all__ = [
    "BOXED_CHAT",
    "PLAIN",
    "Comparison",
    "Evaluation",
    "EvaluationConfig",
    "EvaluationProtocol",
    "GradedCompletion",
    "GroupChange",
    "LoggedSample",
    "MetricChange",
    "ProblemOutcome",
    "Regraded",
    "compare",
    "evaluate",
    "load_evaluation",
    "load_problems",
    "protocol_named",
    "read_log",
    "regrade",
    "task_problems",
    "write_lm_eval",
    "write_report",
]
