"""Run by tests/front/test_peers.py in an environment of its own: verl's reward managers, with our verifier as their
`compute_score`. Prints what came of it as one line of JSON.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(sys.argv[1])
os.environ |= {"HF_HUB_OFFLINE": "1", "HOME": str(HERE), "VERL_LOGGING_LEVEL": "ERROR"}

import numpy as np  # noqa: E402
import torch  # noqa: E402
import verl  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402
from tensordict import TensorDict  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402
from verl import DataProto  # noqa: E402
from verl.trainer.ppo.reward import load_reward_manager  # noqa: E402

UNKNOWN = r"\boxed{" + "1+" * 1_500 + "1}"  # longer than any answer that is read: UNDECIDED
WORDS = ["<pad>", "<eos>", "<unk>", "4", "5", "2 + 2 = ?", r"\boxed{4}", r"\boxed{5}", "hm", UNKNOWN]
REWARD = """
from markscheme.adapters import to_verl
from markscheme.verifiers import MathVerifier
strict = to_verl(MathVerifier())
lenient = to_verl(MathVerifier(), unscored=0.0)
"""


def tokenizer() -> Any:
    words = Tokenizer(models.WordLevel({word: k for k, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split("\n", "removed")
    made = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    made.save_pretrained(HERE / "tokenizer")
    return made


def config(manager: str, function: str) -> Any:
    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        return compose(
            "ppo_trainer",
            overrides=[
                f"actor_rollout_ref.model.path={HERE / 'tokenizer'}",
                f"reward.reward_manager.name={manager}",
                f"reward.custom_reward_function.path={HERE / 'reward.py'}",
                f"reward.custom_reward_function.name={function}",
            ],
        )


def batch(completions: list[str]) -> DataProto:
    n = len(completions)
    prompts = torch.tensor([[WORDS.index("2 + 2 = ?")]] * n)
    responses = torch.tensor([[WORDS.index(text), WORDS.index("<eos>"), 0] for text in completions])
    mask = torch.cat([torch.ones_like(prompts), (responses != 0).long()], 1)
    tensors = {"prompts": prompts, "responses": responses, "attention_mask": mask}

    def column(value: Any) -> Any:
        found = np.empty(n, dtype=object)
        found[:] = [value] * n
        return found

    return DataProto(
        batch=TensorDict(tensors, batch_size=n),
        non_tensor_batch={
            "data_source": column("sums"),
            "reward_model": column({"style": "rule", "ground_truth": "4"}),
            "extra_info": column({"question": "2 + 2 = ?"}),
        },
    )


def judged(manager: str, function: str, completions: list[str], words: Any) -> dict[str, Any]:
    async def scores() -> tuple[Any, list[dict[str, Any]]]:
        made = load_reward_manager(config(manager, function), words)
        rows = [data[k : k + 1] for k in range(len(data))]
        return made, list(await asyncio.gather(*[made.run_single(row) for row in rows]))

    data = batch(completions)
    made, found = asyncio.run(scores())
    tensor = type(made).assemble_rm_scores(data, [one["reward_score"] for one in found])
    return {"rewards": tensor.tolist(), "extra": [one["reward_extra_info"] for one in found]}


if __name__ == "__main__":
    (HERE / "reward.py").write_text(REWARD)
    words = tokenizer()
    known = [r"\boxed{4}", r"\boxed{5}", "hm"]
    results: dict[str, Any] = {manager: judged(manager, "strict", known, words) for manager in ("naive", "dapo")}
    results["unscored as 0"] = judged("naive", "lenient", [*known, UNKNOWN], words)
    try:
        judged("naive", "strict", [UNKNOWN], words)
    except Exception as error:
        results["not known"] = f"{type(error).__name__}: {error}"
    print(json.dumps(results))
