"""Scorers as the metrics of other harnesses. What each passes and expects was seen in the versions named."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from markscheme.adapters.reading import gold_in, gold_name, gold_of, meta_of, naming_the_gold
from markscheme.messages import prompt_of
from markscheme.score_rows import PROMPT_COLUMNS, failure_of
from markscheme.scoring import Outcome, Sample, Score, Scorer, check_scorer


def to_lm_eval(
    scorer: Scorer, *, gold: str | None = None, metric: str = "correct"
) -> Callable[[Mapping[str, Any], Sequence[Any]], dict[str, float]]:
    """A `process_results` for a task of lm-evaluation-harness (0.4): a module beside the task's YAML has
    `process_results = to_lm_eval(scorer)`, and the YAML `process_results: !function module.process_results` and a
    `metric_list` with `correct` and `unscored`, both by `mean`.

    Where the scorer cannot tell, `correct` is left out of that document's metrics, so the mean is over the others, and
    `unscored` is 1. Of several completions (a filter such as take_first_k) both are means.

    Args:
        gold: the column of the document with the gold; by default the first of gold, answer, ground_truth, solution,
            target, label that is there.
        metric: another name for `correct`.

    Raises:
        InputError: when it is called, if the column is not there.
        GoldError: when it is called, if the gold cannot be read.
    """

    check_scorer(scorer)

    def process_results(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
        name = gold_name(gold, doc)
        prompt = next((prompt_of(doc[column]) for column in PROMPT_COLUMNS if column in doc), "")
        truth = None if name is None else gold_in(name, doc[name], "a document")
        texts = results[0] if isinstance(results[0], list) else results[:1]
        meta = meta_of(doc)
        samples = [Sample(prompt=prompt, completion=str(text), gold=truth, meta=meta) for text in texts]
        with naming_the_gold(name, doc):
            scores = scorer.score(samples)
        values = [score.value for score in scores if score.value is not None]
        known = {metric: fmean(values)} if values else {}
        return {**known, "unscored": 1 - len(values) / len(scores)}

    return process_results


def to_inspect(scorer: Scorer) -> Any:
    """A scorer for a Task of Inspect (0.3.285): `Task(..., scorer=to_inspect(MathVerifier()))`.

    Right is C, wrong and no answer are I (the latter with Inspect's reason `no_response`); ratings are numbers. What
    the scorer could not tell is unscored there too, and in no metric.

    Raises:
        GoldError: when it scores, if a target cannot be read.
    """
    check_scorer(scorer)
    from inspect_ai.scorer import CORRECT, INCORRECT, Target, accuracy, stderr
    from inspect_ai.scorer import Score as InspectScore
    from inspect_ai.scorer import scorer as register
    from inspect_ai.solver import TaskState

    def score_of(score: Score) -> InspectScore:
        about: dict[str, Any] = {
            "answer": score.answer,
            "explanation": failure_of(score) or None,
            "metadata": {"outcome": score.outcome.value, "scorer": f"{scorer.name} {scorer.version}"},
        }
        if score.value is None:
            failed = score.outcome is Outcome.FAILED
            return InspectScore.unscored(reason="grader_failed" if failed else "scoring_failed", **about)
        if score.correct is None:
            return InspectScore(value=score.value, **about)
        reason = "no_response" if score.outcome is Outcome.NO_ANSWER else None
        return InspectScore(value=CORRECT if score.correct else INCORRECT, reason=reason, **about)

    def made() -> Any:
        async def score(state: TaskState, target: Target) -> InspectScore:
            sample = Sample(
                prompt=state.input_text,
                completion=state.output.completion,
                gold=gold_of(list(target)),
                id=str(state.sample_id),
                group=str(state.sample_id),
                meta=meta_of(state.metadata or {}),
            )
            [found] = await asyncio.to_thread(scorer.score, [sample])
            return score_of(found)

        return score

    return register(metrics=[accuracy(), stderr()], name=scorer.name)(made)()


def to_evaluate(scorer: Scorer) -> Any:
    """A metric for Hugging Face evaluate (0.4): `to_evaluate(MathVerifier()).compute(predictions=..., references=...)`,
    a reference being a gold or a list of golds.

    `accuracy` (of a scorer that rates, `mean`) is over what could be scored; `n` and `unscored` say how much that is.

    Raises:
        GoldError: when it computes, if a reference cannot be read.
    """
    check_scorer(scorer)
    import datasets
    import evaluate

    text = datasets.Value("string")
    forms = [{"predictions": text, "references": text}, {"predictions": text, "references": datasets.Sequence(text)}]

    class Metric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description=f"{scorer.name} {scorer.version} of markscheme",
                citation="",
                inputs_description="predictions: completions; references: golds, or lists of golds",
                features=[datasets.Features(form) for form in forms],
            )

        def _compute(self, predictions: Sequence[str], references: Sequence[Any]) -> dict[str, Any]:
            samples = [
                Sample(prompt="", completion=completion, gold=gold_of(gold), id=f"prediction {place}")
                for place, (completion, gold) in enumerate(zip(predictions, references, strict=True))
            ]
            scores = scorer.score(samples)
            values = [score.value for score in scores if score.value is not None]
            rates = any(score.outcome is Outcome.RATED for score in scores)
            mean = fmean(values) if values else None
            return {"mean" if rates else "accuracy": mean, "n": len(values), "unscored": len(scores) - len(values)}

    return Metric()
