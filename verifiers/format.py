"""Whether a completion states its answer once, and in the wanted form."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from markscheme.scoring import Outcome, Sample, Score
from markscheme.verifiers.extract import readable
from markscheme.verifiers.limits import MAX_ANSWER_CHARS, RULES_VERSION
from markscheme.verifiers.marks import boxes, hash_lines, tags
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import unwrap
from markscheme.verifiers.statements import AnswerKind

_SCANS = {AnswerKind.BOX: boxes, AnswerKind.TAG: tags, AnswerKind.HASHES: hash_lines}
_THOUGHT_MARK = compiled_later(r"<(/?)think>")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatVerifier:
    """RATED 1.0 if there is exactly one answer of the wanted form and it is not empty, else 0.0. Needs no gold.

    With `thought`, the completion must also think first: nothing before `<think>`, which the prompt may already have
    opened, one `</think>`, and the one answer behind it; `FormatVerifier(form=AnswerKind.TAG, thought=True)` is the
    format reward of DeepSeek-R1-Zero (DeepSeek-AI 2025, section 2.2.2). What the thought holds does not count.

    >>> verifier = FormatVerifier(form=AnswerKind.TAG, thought=True)
    >>> texts = ["<think>5 + 2</think> <answer>7</answer>", "<answer>7</answer>", "<think>5 + 2 <answer>7</answer>"]
    >>> [score.value for score in verifier.score([Sample(prompt="", completion=text) for text in texts])]
    [1.0, 0.0, 0.0]
    """

    form: AnswerKind = AnswerKind.BOX
    """BOX, TAG or HASHES."""
    thought: bool = False

    def __post_init__(self) -> None:
        if self.form not in _SCANS:
            raise ValueError(f"form must be one of {', '.join(_SCANS)}, got {self.form!r}")

    @property
    def name(self) -> str:
        return f"format-{AnswerKind(self.form).value}{'-thought' if self.thought else ''}"

    @property
    def version(self) -> str:
        return RULES_VERSION

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._score_one(sample.completion) for sample in samples]

    def _score_one(self, completion: str) -> Score:
        text = readable(completion)
        start = _end_of_thought(text) if self.thought else 0
        if start is None:
            return Score(
                value=0.0, outcome=Outcome.RATED, evidence={"reason": "no thought that is opened and closed once"}
            )
        statements = list(islice(_SCANS[self.form](text[start:]), 2))
        well_formed = len(statements) == 1 and bool(unwrap(statements[0].answer))
        reasons = ("no statement of the form", "the statement is empty", "more than one statement")
        return Score(
            value=float(well_formed),
            outcome=Outcome.RATED,
            answer=statements[0].answer[:MAX_ANSWER_CHARS] if well_formed else None,
            evidence={} if well_formed else {"reason": reasons[len(statements)]},
        )


def _end_of_thought(text: str) -> int | None:
    """Where the one thought ends that the text begins with; None if it is not so."""
    marks = list(islice(_THOUGHT_MARK.finditer(text), 3))
    opened = bool(marks) and not marks[0][1]
    if len(marks) != 1 + opened or not marks[-1][1] or (opened and text[: marks[0].start()].strip()):
        return None
    return marks[-1].end()
