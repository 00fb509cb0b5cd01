from dataclasses import replace

import pytest

from markscheme.files import InputError
from markscheme.reward_models import RewardNetwork
from markscheme.reward_models.examples import encode, encode_all
from markscheme.reward_models.preferences import rated

LONG = " Ada has 3 apples." * 100
SHORT = rated("How many?", {" 3": 1.0, " 4": 0.0}, "short")
HALF = rated("How many plums?", {" 7": 1.0, LONG: 0.5, " 8": 0.0}, "half")
WHOLLY = rated("How many pears?", {LONG: 1.0, LONG + LONG: 0.0}, "wholly")
NO_ROOM = rated(LONG, {" 3": 1.0, " 4": 0.0}, "no room")


def test_one_sequence_a_completion_behind_one_prompt(network: RewardNetwork) -> None:
    example = encode(network, SHORT)
    assert [network.tokenizer.decode(one.completion_ids) for one in example.sequences] == [" 3<|end|>", " 4<|end|>"]
    assert len({one.prompt_ids for one in example.sequences}) == 1
    assert example.group == SHORT.group


def test_what_is_too_long_is_refused_with_the_ways_out(network: RewardNetwork) -> None:
    with pytest.raises(InputError, match=r"3 of 7 completions .* 512 tokens .*--over-long leave-out or truncate"):
        encode_all(network, [SHORT, HALF, WHOLLY])
    assert not network.truncates


def test_what_is_too_long_is_left_out_with_its_pairs_and_counted(network: RewardNetwork) -> None:
    examples, counts = encode_all(network, [SHORT, HALF, WHOLLY], "leave-out")
    # of HALF's three pairs the one of 7 and 8 is left; of WHOLLY nothing
    assert [one.comparison.completions for one in examples] == [(" 3", " 4"), (" 7", " 8")]
    assert [(pair.chosen, pair.rejected) for pair in examples[1].comparison.pairs] == [(" 7", " 8")]
    assert examples[1].comparison.ratings == (1.0, 0.0)
    assert all(network.fits(one) for example in examples for one in example.sequences)
    assert counts == {"too_long": 3, "truncated": 0, "left_out": 3, "pairs_left_out": 3}


def test_what_is_too_long_is_cut_in_training_and_in_scoring(network: RewardNetwork) -> None:
    examples, counts = encode_all(network, [SHORT, HALF, WHOLLY, NO_ROOM], "truncate")
    assert network.truncates  # and the scorer made of it does the same
    assert counts == {"too_long": 5, "truncated": 3, "left_out": 2, "pairs_left_out": 1}
    [cut] = [one for one in examples[1].sequences if len(one) == network.max_tokens]
    assert cut.completion_ids[-1] == network.tokenizer.eos_token_id
    assert cut == network.encode(HALF.prompt, LONG)


def test_nothing_left_is_an_error(network: RewardNetwork) -> None:
    with pytest.raises(InputError, match="no completion has at most the model's 512 tokens"):
        encode_all(network, [WHOLLY], "leave-out")


def test_a_question_without_pairs_stays_for_losses_that_need_none(network: RewardNetwork) -> None:
    alone = rated("How many?", {" 3": 1.0}, "alone")
    assert [one.comparison for one in encode_all(network, [alone])[0]] == [alone]
    unknown = replace(alone, ratings=(None,))
    with pytest.raises(InputError):
        encode_all(network, [unknown])
