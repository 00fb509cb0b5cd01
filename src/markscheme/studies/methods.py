"""The methods: each takes a policy through its training, on the same problems and as many completions.

All learning rates were chosen on the dev part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markscheme.commands.sft import sft_examples
from markscheme.generation import Sampling, seed_of
from markscheme.grpo.baselines.dpo import DPOConfig, train_dpo
from markscheme.grpo.baselines.pairs import preference_pairs
from markscheme.grpo.baselines.ppo import Critic, CriticConfig
from markscheme.grpo.baselines.rft import rft_examples
from markscheme.grpo.baselines.samples import Judged, SampledConfig, judged_groups
from markscheme.grpo.baselines.sft import SFTConfig, train_sft
from markscheme.grpo.config import PRESETS, GRPOConfig
from markscheme.grpo.objective import Objective
from markscheme.grpo.training import train_grpo
from markscheme.models import EMBEDDED
from markscheme.reward_models import RewardModelConfig, RewardNetwork, compared, load_pairs, train_reward_model
from markscheme.reward_models.model import MODEL_FOLDER
from markscheme.reward_refresh import RefreshConfig, RefreshedRewardModel
from markscheme.run_log import RunLog
from markscheme.scoring import Scorer
from markscheme.studies.setting import FORM, GROUP_SIZE, MAX_COMPLETION_TOKENS, PROBLEMS_A_STEP, Setting, problems
from markscheme.studies.worked_steps import WorkedSteps
from markscheme.verdict_pairs import initial_pairs
from markscheme.verifiers import MathVerifier

ITERATION_STEPS = 8
REWARD_MODEL_PROBLEMS = 1_000
"""From which the first reward model learns; none of them is among those that the policy learns from."""
ROOM = 512
"""Tokens of a prompt and its completion, generously."""
RATE = 2.5e-4
"""Of the policy-gradient methods."""

Train = Callable[[Setting, Path], None]
"""Trains the setting's policy, in a run folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A row of the unified paradigm's table (DeepSeekMath, arXiv:2402.03300, section 5.2 and appendix A.1)."""

    data: str
    reward: str
    coefficient: str
    train: Train


def sft(setting: Setting, folder: Path) -> None:
    """On worked solutions, as many times over as others see completions of a problem."""
    config = SFTConfig(learning_rate=3e-4, batch_size=32, epochs=GROUP_SIZE, seed=setting.seed, token_budget=4_096)
    examples = sft_examples(setting.problems(), setting.tokenizer, FORM, room=None)
    train_sft(setting.policy, examples, config, RunLog(folder, {}))


def rft(setting: Setting, folder: Path) -> None:
    config = SampledConfig(
        learning_rate=3e-4,
        epochs=2,
        batch_size=32,
        num_samples=GROUP_SIZE,
        max_completion_tokens=MAX_COMPLETION_TOKENS,
        seed=setting.seed,
    )
    log = RunLog(folder, {})
    train_sft(setting.policy, rft_examples(_judged(setting, config, log)), config, log)


def dpo(setting: Setting, folder: Path) -> None:
    config = DPOConfig(
        learning_rate=1e-4,
        num_samples=GROUP_SIZE,
        max_completion_tokens=MAX_COMPLETION_TOKENS,
        seed=setting.seed,
    )
    log = RunLog(folder, {})
    pairs = preference_pairs(_judged(setting, config, log), config.pairs_per_problem, config.seed)
    train_dpo(setting.policy, pairs, config, log)


def _judged(setting: Setting, config: SampledConfig, log: RunLog) -> list[list[Judged]]:
    return judged_groups(
        setting.engine, MathVerifier(), setting.problems(), setting.prompt_ids, config, log
    )  # fmt: skip


def config_of(setting: Setting, base: GRPOConfig, **changes: Any) -> GRPOConfig:
    """The quickstart's settings with another objective."""
    return replace(
        base,
        steps=setting.steps,
        prompts_per_step=PROBLEMS_A_STEP,
        group_size=GROUP_SIZE,
        warmup_steps=10,
        max_completion_tokens=MAX_COMPLETION_TOKENS,
        seed=setting.seed,
        **{"learning_rate": RATE, **changes},
    )


def policy_gradient(base: GRPOConfig, scorer: Scorer | None = None, **changes: Any) -> Train:
    """The GRPO loop with these settings."""

    def train(setting: Setting, folder: Path) -> None:
        config = config_of(setting, base, **changes)
        critic = None
        if config.estimator == "gae":
            critic = Critic(setting.policy, CriticConfig(learning_rate=1e-3, token_budget=config.token_budget))
        train_grpo(
            setting.policy,
            setting.engine,
            scorer or MathVerifier(),
            setting.problems(),
            setting.prompt_ids,
            config,
            RunLog(folder, {}),
            dev_problems=setting.dev_problems(),
            decode=setting.decode,
            critic=critic,
            dev_scorer=MathVerifier(),
        )

    return train


def by_vllm(setting: Setting, folder: Path) -> None:
    """Plain GRPO whose rollouts vLLM writes, in this process."""
    from markscheme.vllm_engine import VLLMEngine

    engine = VLLMEngine(setting.policy, setting.tokenizer, max_model_len=ROOM)
    policy_gradient(GRPOConfig())(replace(setting, engine=engine), folder)


def process(setting: Setting, folder: Path) -> None:
    """GRPO with a reward for each step, from the worked solutions."""
    scorer = WorkedSteps({problem.id: problem.solution or "" for problem in setting.problems()})
    policy_gradient(GRPOConfig(supervision="process"), scorer)(setting, folder)


def iterative(setting: Setting, folder: Path) -> None:
    """Algorithm 1 whole: a reward model learns from the initial policy's samples, and after each iteration from the
    policy's own; no verdict is in the reward.
    """
    verifier, log = MathVerifier(), RunLog(folder, {})
    pairs, model = folder / "start" / "pairs.jsonl", folder / "start" / "reward-model"
    pairs.parent.mkdir(exist_ok=True)
    start_problems = problems("train", REWARD_MODEL_PROBLEMS, seed_of("reward model", setting.seed))
    sampling = Sampling(max_completion_tokens=MAX_COMPLETION_TOKENS)
    if not pairs.exists():
        initial_pairs(
            setting.engine, verifier, start_problems, setting.prompt_ids, pairs, sampling=sampling, seed=setting.seed
        )
    first = RewardModelConfig(
        learning_rate=2e-3, warmup_steps=10, batch_size=10, epochs=3, held_out_share=0.2, seed=setting.seed
    )
    if not (model / MODEL_FOLDER).exists():
        network = RewardNetwork.from_pretrained(EMBEDDED, seed=setting.seed)
        train_reward_model(network, compared(load_pairs(pairs)), first, RunLog(model, {}))
        network.save(model / MODEL_FOLDER)
    config = replace(
        config_of(setting, PRESETS["deepseekmath"], learning_rate=1e-4),
        objective=Objective(kl_coef=0.1),  # a policy that moves faster finds what the reward model is wrong about
        iteration_steps=ITERATION_STEPS,
        logged_groups=PROBLEMS_A_STEP,
    )
    again = replace(first, learning_rate=1e-3, epochs=2, batch_size=5, warmup_steps=5)
    refreshed = RefreshedRewardModel(
        folder,
        model / MODEL_FOLDER,
        verifier,
        config.iteration_steps,
        RefreshConfig(reward_model=again),
        pairs,
    )
    train_grpo(
        setting.policy,
        setting.engine,
        refreshed(0),
        setting.problems(),
        setting.prompt_ids,
        config,
        log,
        dev_problems=setting.dev_problems(),
        next_scorer=refreshed,
        dev_scorer=verifier,
    )


METHODS: Mapping[str, Method] = {
    "sft": Method(data="worked solutions", reward="-", coefficient="1", train=sft),
    "rft": Method(data="o ~ pi_sft", reward="rule", coefficient="I(o)", train=rft),
    "online-rft": Method(
        data="o ~ pi_theta", reward="rule", coefficient="I(o)", train=policy_gradient(PRESETS["online-rft"])
    ),
    "dpo": Method(
        data="o+, o- ~ pi_sft",
        reward="rule",
        coefficient="+- beta sigma(-margin)",
        train=dpo,
    ),
    "ppo": Method(
        data="o ~ pi_theta", reward="rule", coefficient="A_t (GAE, value model)", train=policy_gradient(PRESETS["ppo"])
    ),
    "rloo": Method(
        data="{o_i} ~ pi_theta",
        reward="rule",
        coefficient="r_i - mean of others",
        train=policy_gradient(PRESETS["rloo"]),
    ),
    "grpo": Method(
        data="{o_i} ~ pi_theta",
        reward="rule",
        coefficient="A_i + beta (pi_ref / pi - 1)",
        train=policy_gradient(PRESETS["deepseekmath"]),
    ),
    "plain": Method(data="{o_i} ~ pi_theta", reward="rule", coefficient="A_i", train=policy_gradient(GRPOConfig())),
    "vllm": Method(data="{o_i} ~ pi_theta, by vLLM", reward="rule", coefficient="A_i", train=by_vllm),
    "iterative": Method(
        data="{o_i} ~ pi_theta",
        reward="reward model, trained on after each iteration",
        coefficient="A_i + beta (pi_ref / pi - 1)",
        train=iterative,
    ),
    "process": Method(
        data="{o_i} ~ pi_theta",
        reward="rule, a step at a time",
        coefficient="A_i,t",
        train=process,
    ),
} | {
    f"preset-{name}": Method(data="{o_i} ~ pi_theta", reward="rule", coefficient="", train=policy_gradient(preset))
    for name, preset in PRESETS.items()
}
