"""Whether a completion states its answer once, and in the wanted form."""

from collections.abc import Sequence
from dataclasses import dataclass

from markscheme.scoring import Outcome, Sample, Score
from markscheme.verifiers.extract import AnswerKind, boxes, hash_lines, readable, tags
from markscheme.verifiers.limits import MAX_ANSWER_CHARS, RULES_VERSION
from markscheme.verifiers.reading import unwrap

_SCANS = {AnswerKind.BOX: boxes, AnswerKind.TAG: tags, AnswerKind.HASHES: hash_lines}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatVerifier:
    """RATED 1.0 if there is exactly one answer of the wanted form and it is not empty, else 0.0. Needs no gold."""

    form: AnswerKind = AnswerKind.BOX
    """BOX, TAG or HASHES."""

    def __post_init__(self) -> None:
        if self.form not in _SCANS:
            raise ValueError(f"form must be one of {', '.join(_SCANS)}, got {self.form!r}")

    @property
    def name(self) -> str:
        return f"format-{AnswerKind(self.form).value}"

    @property
    def version(self) -> str:
        return RULES_VERSION

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._score_one(sample.completion) for sample in samples]

    def _score_one(self, completion: str) -> Score:
        statements = list(_SCANS[self.form](readable(completion)))
        well_formed = len(statements) == 1 and bool(unwrap(statements[0].answer))
        return Score(
            value=float(well_formed),
            outcome=Outcome.RATED,
            answer=statements[0].answer[:MAX_ANSWER_CHARS] if well_formed else None,
            evidence={"statements": len(statements)},
        )
