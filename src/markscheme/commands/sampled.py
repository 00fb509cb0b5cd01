"""What the commands rft and dpo begin with: judged completions of the initial policy in a run folder."""

from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.commands.options import GeneratorOptions, TaskOptions, TrainedModelOptions
from markscheme.commands.shared import check_golds, console, say, scorer_by_name
from markscheme.grpo.baselines.samples import Judged, SampledConfig, counts_of, judged_groups
from markscheme.grpo.head import check_head
from markscheme.models import fingerprint, load_policy
from markscheme.problems import Problem
from markscheme.progress import progress_bar
from markscheme.prompting import check_room
from markscheme.run_log import RunLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """The initial policy, its completions, and where the run is kept."""

    policy: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    groups: list[list[Judged]]
    log: RunLog


def sample(
    command: str,
    task: TaskOptions,
    out: Path,
    model: TrainedModelOptions | None,
    engine: GeneratorOptions | None,
    scorer: str,
    settings: SampledConfig,
) -> Sampled:
    """Draws and judges what is not in the run folder yet.

    Raises:
        GoldError: if a gold cannot be read.
        InputError: if an option cannot be used, or too many completions could not be scored.
    """
    model, engine = model or TrainedModelOptions(), engine or GeneratorOptions()
    reward = scorer_by_name(scorer)
    problems = task.problems()
    check_golds(reward, problems)
    policy, tokenizer = load_policy(model.model, model.revision, model.dtype)
    form = task.prompt_format()
    record = {
        "command": command,
        "model": {**asdict(model), "fingerprint": fingerprint(policy, tokenizer)},
        "task": task.record(problems),
        "scorer": {"name": reward.name, "version": reward.version},
        "engine": engine.kind,
        "prompt_format": asdict(form),
        command: asdict(settings),
    }
    check_head(policy)
    model.prepare(policy, settings.seed)

    def prompt_ids(problem: Problem) -> tuple[int, ...]:
        return form.prompt_ids(problem.question, tokenizer)

    tokens = check_room(policy, problems, prompt_ids, settings.max_completion_tokens)
    log = RunLog(out, record)
    with progress_bar(console, "problems", len(problems)) as bar:
        generator = engine.start(policy, tokenizer, tokens, out / "for-servers")
        groups = judged_groups(generator, reward, problems, prompt_ids, settings, log, bar.update)
        generator.release()
    counts = counts_of(groups)
    say(
        f"{counts['completions']} completions of the initial policy: {counts['correct']} correct, "
        f"{counts['cut_off']} cut off, {counts['unscored']} without a score"
    )
    return Sampled(policy=policy, tokenizer=tokenizer, groups=groups, log=log)
