"""TRL's GRPOTrainer on the embedded policy: the same problems in the same order, the same optimizer and schedule."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from trl import GRPOConfig as TRLConfig
from trl import GRPOTrainer

from markscheme.grpo.config import GRPOConfig
from markscheme.optimizer import make_optimizer
from markscheme.run_log import RunLog
from markscheme.schedule import batch_indices, learning_rate_share
from markscheme.scoring import Sample
from markscheme.studies.methods import config_of
from markscheme.studies.setting import FORM, Setting
from markscheme.verifiers import MathVerifier


def train_trl(setting: Setting, folder: Path) -> None:
    """With the loss and the settings of the method `plain`.

    Raises:
        ValueError: if TRL's prompts would not be the same tokens.
    """
    config = config_of(setting, GRPOConfig())
    problems = setting.problems()
    order = [i for step in range(config.steps) for i in batch_indices(
        len(problems), config.prompts_per_step, step, config.seed)]  # fmt: skip
    chosen = [problems[i] for i in order]
    prompts = [FORM.render(problem.question, setting.tokenizer) for problem in chosen]
    for problem, prompt in zip(chosen, prompts, strict=True):
        if tuple(setting.tokenizer(prompt)["input_ids"]) != setting.prompt_ids(problem):
            raise ValueError(f"TRL would read other tokens than we do in the prompt of {problem.id}")
    verifier = MathVerifier()

    def reward(completions: list[str], gold: list[str], **_: Any) -> list[float | None]:
        samples = [Sample(prompt="", completion=c, gold=g) for c, g in zip(completions, gold, strict=True)]
        return [score.value for score in verifier.score(samples)]

    optimizer = make_optimizer(setting.policy, config)
    schedule = LambdaLR(
        optimizer, lambda step: learning_rate_share(step, config.steps, config.warmup_steps, config.decay_share)
    )
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TRLConfig(
            output_dir=scratch,
            per_device_train_batch_size=config.group_size,
            gradient_accumulation_steps=config.prompts_per_step,
            num_generations=config.group_size,
            max_completion_length=config.max_completion_tokens,
            max_steps=config.steps,
            loss_type="grpo",
            beta=0.0,
            max_grad_norm=config.max_grad_norm,
            shuffle_dataset=False,
            use_cpu=not torch.cuda.is_available(),
            bf16=False,
            gradient_checkpointing=False,
            seed=config.seed,
            report_to=[],
            disable_tqdm=True,
            logging_steps=1,
            save_strategy="no",
        )
        trainer = GRPOTrainer(
            model=setting.policy,
            reward_funcs=reward,
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": prompts, "gold": [problem.gold for problem in chosen]}),
            processing_class=setting.tokenizer,
            optimizers=(optimizer, schedule),
        )
        trainer.train()
    log = RunLog(folder, {})
    for line in trainer.state.log_history:
        if "reward" in line:
            log.append("metrics.jsonl", {"step": line["step"], "reward": line["reward"]})
