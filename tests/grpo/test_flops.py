"""Necessary work, by hand."""

from transformers import Qwen2Config, Qwen2ForCausalLM

from markscheme.grpo.flops import update_flops


def test_necessary_work_of_a_small_case() -> None:
    """A prompt of 3 tokens with two completions of 2, one layer of width 4 with one head and an inner width of 8.

    Weights of the trunk: 4 * 4 each for q, k, v, o and 3 * 4 * 8, together 160. Tokens through it: 3 + 1 + 1. Pairs: 6
    of the prompt, and for each completion's one token 3 of the prompt and itself. Head: 4 tokens of 4 * 10 weights.
    So forward 2 * 160 * 5 + 4 * 4 * (6 + 4 + 4) + 2 * 40 * 4 = 1600 + 224 + 320, and three times that.
    """
    for tied in (True, False):
        config = Qwen2Config(
            vocab_size=10,
            hidden_size=4,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
            tie_word_embeddings=tied,
        )
        model = Qwen2ForCausalLM(config)
        assert update_flops(model, [(3, [2, 2])], with_reference=False) == 3 * 2_144
        assert update_flops(model, [(3, [2, 2])], with_reference=True) == 4 * 2_144
        assert update_flops(model, [(3, [2, 2])] * 2, with_reference=False) == 6 * 2_144
        model.requires_grad_(False)
        assert update_flops(model, [(3, [2, 2])], with_reference=False) == 2 * 1_600 + 3 * 224 + 2 * 320
