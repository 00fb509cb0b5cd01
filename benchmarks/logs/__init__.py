"""Sample logs of other evaluation harnesses, read into one neutral form; lm-evaluation-harness's form also written."""

from markscheme.benchmarks.logs.inspect_ai import ErrorSampleWarning
from markscheme.benchmarks.logs.lm_eval_write import write_lm_eval
from markscheme.benchmarks.logs.read import filters_of, read_log
from markscheme.benchmarks.logs.sample import LoggedSample

__all__ = ["ErrorSampleWarning", "LoggedSample", "filters_of", "read_log", "write_lm_eval"]
