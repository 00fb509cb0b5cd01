"""Reading the results of simple-evals: `TASK_MODEL_allresults.json`.

The file holds conversations, and a page of HTML for each; the gold and the score of its mathematics task stand on
that page only.
"""

import html
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markscheme.benchmarks.logs.sample import LoggedSample
from markscheme.benchmarks.logs.values import answer_of, prompt_of, verdict_of
from markscheme.files import InputError
from markscheme.problems import question_hash

# A model may write such lines too, but only above, in its own message: these end the page.
RESULT = re.compile(r"<p>Correct Answer: ([^<]*)</p>\s*<p>Extracted Answer: [^<]*</p>\s*<p>Score: ([^<]*)</p>\s*$")


def read_simple_evals(path: Path, results: Mapping[str, Any]) -> list[LoggedSample]:
    """The samples of a file, which holds `results`. The samples of one question are told by its words.

    Raises:
        InputError: if there is a conversation without an answer, or without a gold on its page.
    """
    pages, conversations = results.get("htmls"), results.get("convos")
    if not isinstance(pages, list) or not isinstance(conversations, list) or len(pages) != len(conversations):
        raise InputError(f"{path}: 'htmls' and 'convos' must be lists of one length; give the file whole again")
    counts: Counter[str] = Counter()
    samples: list[LoggedSample] = []
    for index, (page, conversation) in enumerate(zip(pages, conversations, strict=True)):
        where = f"{path}:convos[{index}]"
        prompt = prompt_of(conversation[:-1]) if isinstance(conversation, list) else None
        completion = prompt_of(conversation[-1:]) if isinstance(conversation, list) else None
        if prompt is None or completion is None or not conversation:
            raise InputError(f"{where}: no messages; give the file whole again")
        result = RESULT.search(page) if isinstance(page, str) else None
        if result is None:
            raise InputError(f"{where}: its page in 'htmls' has no correct answer; a log of the math task is needed")
        problem = question_hash(prompt)
        samples.append(
            LoggedSample(
                problem=problem,
                question=prompt,
                completion=completion,
                gold=answer_of(html.unescape(result[1]), where, name="Correct Answer"),
                verdict=verdict_of(_number(result[2])),
                k=counts[problem],
                row={"convo": conversation, "html": page},
                where=where,
            )
        )
        counts[problem] += 1
    return samples


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[01](\.0)?", text) else None
