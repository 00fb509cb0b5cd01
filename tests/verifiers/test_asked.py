"""What an answer says that the question cannot mean."""

import pytest

from markscheme.verifiers.asked import is_another_unit

METRES = "A path is 12 metres long. How many metres are five such paths?"
TEN = "Write the binary number 11000 in base ten."


@pytest.mark.parametrize(
    ("answer", "gold", "prompt", "another", "reason"),
    [
        (r"60 \text{ km}", "60", METRES, True, "kilometres, of which the prompt does not speak"),
        (r"60 \text{ m}", "60", METRES, False, "what is asked for"),
        (r"60 \text{ meters}", "60", METRES, False, "spelled otherwise"),
        ("60", "60", METRES, False, "no unit"),
        (r"60 \text{ km}", r"60 \text{ km}", METRES, False, "the gold has a unit: that is compared"),
        (r"60 \text{ apples}", "60", METRES, False, "no unit that is known"),
        (r"60 \text{ hours}", "60", METRES, False, "the prompt has no time at all"),
        (
            r"60 \text{ km}",
            "60",
            "A drive of 12 km in the morning, five times, in the yard.",
            False,
            "a yard is no yard",
        ),
        (r"60 \text{ m}^2", "60", "A field of 5 m by 12 m", False, "a square of what the prompt has"),
        (r"60 \text{ cm}^2", "60", "A field of 5 m by 12 m", True, "a square of something else"),
        (r"60\%", "60", METRES, False, "a percent sign is no unit of length"),
        (r"60 \text{ km}", "60", "", False, "without a prompt nothing is known"),
        ("24_{16}", "24", TEN, True, "base sixteen for ten"),
        ("24_{10}", "24", TEN, False, "base ten"),
        ("24_{16}", "24", "What is 36 in hexadecimal?", False, "base sixteen is asked for"),
    ],
)
def test_which_units_the_question_can_mean(answer: str, gold: str, prompt: str, another: bool, reason: str) -> None:
    assert is_another_unit(answer, gold, prompt) is another, reason
