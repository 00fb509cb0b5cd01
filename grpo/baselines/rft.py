"""Rejection sampling fine-tuning: supervised fine-tuning on the correct completions of the initial policy (coefficient
I(o) in the unified paradigm, DeepSeekMath, arXiv:2402.03300, section 5.2; Yuan et al. 2023, arXiv:2308.01825).

Online RFT, which draws from the policy as it is now, is the preset online-rft of the GRPO loop.
"""

from collections.abc import Sequence

from markscheme.files import InputError
from markscheme.grpo.baselines.samples import Judged, counts_of
from markscheme.packing.sequences import TokenSequence


def rft_examples(groups_PG: Sequence[Sequence[Judged]]) -> list[TokenSequence]:
    """What `sft.train_sft` is to learn: completions that are correct and were not cut off, the same one once.

    Raises:
        InputError: if there are none.
    """
    examples = list(dict.fromkeys(one.sequence for group in groups_PG for one in group if one.is_example))
    if not examples:
        counts = counts_of(groups_PG)
        raise InputError(
            f"of {counts['completions']} completions none is to be learned from: {counts['correct']} are correct, "
            f"{counts['cut_off']} cut off, {counts['unscored']} without a score; give more or easier problems, "
            "more --num-samples or --max-completion-tokens, or a better model"
        )
    return examples
