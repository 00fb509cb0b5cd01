"""Group relative policy optimisation: Algorithm 1 of DeepSeekMath (arXiv:2402.03300), outcome or process supervision;
and PPO, where there is a critic.

Shapes: P problems a step, G completions a problem.
"""

import copy
import functools
import statistics
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from markscheme import parallel
from markscheme.checkpoint import CHECKPOINTS, load_checkpoint, save_checkpoint, settings_of
from markscheme.generation import Generator
from markscheme.grpo.baselines.ppo import Critic
from markscheme.grpo.batch import Batch, Draw, batch_metrics, joined, records, update_critic
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.flops import update_flops
from markscheme.grpo.head import check_head
from markscheme.grpo.monitor import HackingMonitor, step_figures
from markscheme.grpo.rollout import Decode, PromptIds, greedy_metrics, greedy_rollouts
from markscheme.grpo.update import Progress, update_policy
from markscheme.grpo.watch import Watch
from markscheme.machine import gemm_peak, give_back_memory
from markscheme.models import has_adapter, plain_weights
from markscheme.optimizer import make_optimizer
from markscheme.packing.attention import Packing, packing_for
from markscheme.packing.trunk import trunk_states
from markscheme.problems import Problem, problems_hash
from markscheme.prompting import check_room
from markscheme.run_log import RunLog
from markscheme.scoring import Scorer, check_scorer

FIRST_STEPS, TOO_ALIKE = 3, 0.9
"""A run that has next to nothing to learn from in so many steps is told so: a share of groups."""


def train_grpo(
    policy: PreTrainedModel,
    generator: Generator,
    scorer: Scorer,
    problems: Sequence[Problem],
    prompt_ids: PromptIds,
    config: GRPOConfig,
    log: RunLog,
    *,
    dev_problems: Sequence[Problem] = (),
    decode: Decode | None = None,
    critic: Critic | None = None,
    next_scorer: Callable[[int], Scorer] | None = None,
    dev_scorer: Scorer | None = None,
    monitor: HackingMonitor | None = None,
    async_depth: int = 0,
    on_step: Callable[[int, Mapping[str, Any]], None] = lambda step, metrics: None,
) -> None:
    """Trains `policy` in place; goes on from the run folder's last checkpoint, bit by bit as if never interrupted.

    Args:
        generator: must be given the same weights as `policy`; it is told the new ones after every step.
        decode: turns token ids into text as the generator does; process supervision needs it.
        critic: PPO's value model, which the estimator gae needs; it is trained too.
        next_scorer: the reward of iteration 1, 2, ..., such as a reward model trained on with the rollouts so far,
            which are in the run's completions.jsonl; by default it stays `scorer`.
        dev_scorer: judges the dev problems; by default as the reward does.
        monitor: watches whether the reward is exploited: it sees what the reward says of the dev problems beside what
            `dev_scorer`, which must give verdicts, says of the same completions.
        async_depth: 1: while a step learns, the next one's rollouts are drawn, by a generator elsewhere which holds the
            weights of before; the objective must correct for that. 0: one after the other.
        on_step: is told (steps done, the step's metrics and timings).

    Raises:
        ValueError: if `decode` or `critic` is missing, the reward has no parts where these are to be compared, or the
            monitor would see nothing.
        InputError: if a prompt leaves no room for its completion, or the folder holds a run with other settings,
            another scorer or other problems. Nothing has been generated then.
        TypeError: if `scorer` is none, such as a plain function.
        GoldError: if a gold cannot be read.
        FloatingPointError: if the gradient is not finite.
        UnscoredError: if more than a fifth of a step's completions could not be scored.
        MismatchError: if the generator does not seem to hold the policy's weights.
        StoppedError: if the monitor raises an alarm that stops; the checkpoint is written then.
    """
    check_scorer(scorer)
    _check_arrangement(policy, generator, critic, config, async_depth)
    if monitor is not None:
        _check_monitored(dev_problems, dev_scorer, config, is_renewed=next_scorer is not None)
    check_head(policy)
    check_room(policy, [*problems, *dev_problems], prompt_ids, config.max_completion_tokens)
    draw = Draw(
        generator=generator,
        scorer=scorer,
        problems=problems,
        prompt_ids=prompt_ids,
        config=config,
        decode=decode,
        critic=critic,
    )
    run = _Run.of(policy, critic, config, log, async_depth, _settings(config, scorer, problems, critic, async_depth))
    first_step, flight = run.resume()
    watch = None if monitor is None else Watch(monitor, log)
    if watch is not None:
        watch.resume()
    generator.load_weights(plain_weights(policy))
    policy.train()
    clock, ahead = _Clock(), _Ahead()
    recent, warned = deque[Mapping[str, float]](maxlen=FIRST_STEPS), False

    def dev_metrics(step: int) -> dict[str, float]:
        common = (dev_problems, prompt_ids, config.sampling(), config.score_deadline_s)
        with clock("dev"):
            rollouts = greedy_rollouts(generator, dev_scorer or draw.scorer, *common)
            return greedy_metrics(rollouts) | ({} if watch is None else watch.probe(step, rollouts, draw))

    if dev_problems and not parallel.of_all(log.read())[0]:
        log.write(0, dev_metrics(0), clock.take())
    for step in range(first_step, config.steps):
        iteration = config.iteration(step)
        begins = step > 0 and config.iteration(step - 1) < iteration
        if next_scorer is not None and iteration and (begins or step == first_step):
            draw = replace(draw, scorer=next_scorer(iteration))
        if flight is None:
            if begins:
                run.renew_reference()
            with clock("rollout"):
                flight = _Flight.drawn_by(draw, step)
            give_back_memory()
        done = step + 1
        if async_depth and done < config.steps and config.iteration(done) == iteration:
            ahead.begin(draw, done)
        else:
            generator.release()
        with clock("update"):
            metrics = run.update(step, flight)
        if watch is not None:
            metrics |= step_figures(flight.drawn.groups_PG)
        give_back_memory()
        with clock("rollout"):
            next_flight = ahead.end()
        with clock("update"):
            generator.load_weights(plain_weights(policy))
        if dev_problems and (done % config.dev_every == 0 or done == config.steps):
            metrics |= dev_metrics(done)
        timings = clock.take()
        timings |= _throughput(policy, flight, config, timings)
        log.write(done, metrics, timings)
        recent.append(metrics)
        warned = warned or (parallel.is_first() and _warn_of_silence(recent, done))
        if step == 0 and config.supervision == "process" and parallel.is_first():
            _warn_without_steps(flight.drawn, draw.scorer)
        run.log_completions(flight, {"step": done, "iteration": iteration, "scorer": draw.judge})
        flight = next_flight
        run.save(done, flight, is_due=watch is not None and watch.stops)
        on_step(done, metrics | timings)
        if watch is not None:
            watch.stop()


def _check_arrangement(
    policy: PreTrainedModel, generator: Generator, critic: Critic | None, config: GRPOConfig, async_depth: int
) -> None:
    """
    Raises:
        ValueError: if these cannot work together.
    """
    is_shared = getattr(generator, "model", None) is policy
    if parallel.count() > 1 and (critic is not None or is_shared or async_depth):
        raise ValueError("in several processes there is no critic, no async_depth, and the generator has its own model")
    if async_depth not in (0, 1):
        raise ValueError(f"async_depth must be 0 or 1, got {async_depth}")
    if async_depth and is_shared:
        raise ValueError("async_depth 1 needs a generator that does not share the policy's weights")
    if async_depth and config.objective.correction == "none":
        raise ValueError("async_depth 1 learns from what older weights wrote: choose an objective.correction")


def _check_monitored(
    dev_problems: Sequence[Problem], dev_scorer: Scorer | None, config: GRPOConfig, is_renewed: bool
) -> None:
    """
    Raises:
        ValueError: if a monitor would see nothing.
    """
    if not dev_problems or dev_scorer is None:
        raise ValueError("a monitor compares the reward with a gold: give dev_problems and a dev_scorer too")
    if is_renewed and config.iteration_steps < 2 * config.dev_every:
        raise ValueError(
            f"dev_every {config.dev_every} leaves no two probes to an iteration of {config.iteration_steps} steps: "
            "a monitor would never see the renewed reward rise"
        )


def _warn_of_silence(recent: Sequence[Mapping[str, float]], done: int) -> bool:
    """Warns where some steps had next to nothing to learn from: the first ones, or later ones whose completions state
    no answer or do not end. That all are right is no reason.
    """
    names = ("zero_variance_share", "no_answer_share", "truncated_share")
    alike, silent, truncated = (statistics.fmean(metrics[name] for metrics in recent) for name in names)
    is_first = done == FIRST_STEPS
    if len(recent) < FIRST_STEPS or alike <= TOO_ALIKE or not (is_first or max(silent, truncated) > TOO_ALIKE):
        return False
    which = f"the first {FIRST_STEPS} steps" if is_first else f"the {FIRST_STEPS} steps up to {done}"
    way_out = "whether instruction, limit and problems suit the policy" if is_first else "try a lower learning rate"
    warnings.warn(
        f"in {alike:.0%} of the groups of {which} all completions got the same reward, and nothing is learned from "
        f"such groups ({silent:.0%} of the completions stated no answer, {truncated:.0%} were cut off): look at "
        f"completions.jsonl, and {way_out}",
        stacklevel=3,
    )
    return True


def _warn_without_steps(drawn: Batch, scorer: Scorer) -> None:
    """Warns where process supervision has nothing to supervise, as under compositions, which give no steps."""
    if not any(rollout.score.steps for group in drawn.groups_PG for rollout in group):
        warnings.warn(
            f"the scorer {scorer.name} gave no completion of the first step values of its steps: without them process "
            "supervision compares whole completions",
            stacklevel=3,
        )


def _reference(policy: PreTrainedModel, config: GRPOConfig) -> PreTrainedModel | None:
    """The initial policy, if it is needed: a copy, unless it is what remains with the adapter off."""
    if not config.objective.kl_coef:
        return None
    if has_adapter(policy) and not config.iteration_steps:
        return policy
    reference: PreTrainedModel = copy.deepcopy(policy).eval().requires_grad_(False)
    return reference


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flight:
    """The batch of a step that is not over."""

    drawn: Batch
    trained: Batch
    """What is left of it, and was added, under dynamic sampling; else the same."""
    progress: Progress | None = None
    """How far a checkpoint had come with it."""
    is_behind: bool = False
    """Whether it was drawn with the weights of before the last step."""

    @classmethod
    def drawn_by(cls, draw: Draw, step: int) -> "_Flight":
        drawn = draw(step)
        return cls(drawn=drawn, trained=draw.refilled(step, drawn) if draw.config.refill_rounds else drawn)

    def metrics(self) -> dict[str, float]:
        metrics = batch_metrics(self.drawn)
        if self.trained is not self.drawn:
            metrics["refilled_groups"] = float(len(self.trained) - len(self.drawn.where_something_is_learned()))
        return metrics

    def to_plain(self, progress: Progress | None) -> dict[str, Any]:
        return {
            "drawn": self.drawn.to_plain(),
            "trained": None if self.trained is self.drawn else self.trained.to_plain(),
            "is_behind": self.is_behind,
            "progress": None if progress is None else asdict(progress),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "_Flight":
        drawn = Batch.from_plain(plain["drawn"])
        trained = drawn if plain["trained"] is None else Batch.from_plain(plain["trained"])
        progress = None if plain["progress"] is None else Progress(**plain["progress"])
        return cls(drawn=drawn, trained=trained, progress=progress, is_behind=plain["is_behind"])


class _Ahead:
    """Draws the batch of the next step in another thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "rollouts")
        self._pending: Future[_Flight] | None = None

    def begin(self, draw: Draw, step: int) -> None:
        self._pending = self._thread.submit(_Flight.drawn_by, draw, step)

    def end(self) -> "_Flight | None":
        """The batch that was begun, if one was, as soon as it is there: no weights change while it is written."""
        if self._pending is None:
            return None
        flight, self._pending = replace(self._pending.result(), is_behind=True), None
        return flight


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What learns, and its checkpoints."""

    policy: PreTrainedModel
    reference: PreTrainedModel | None
    optimizer: Optimizer
    critic: Critic | None
    packing: Packing
    config: GRPOConfig
    log: RunLog
    async_depth: int
    settings: Mapping[str, str]

    @classmethod
    def of(
        cls,
        policy: PreTrainedModel,
        critic: Critic | None,
        config: GRPOConfig,
        log: RunLog,
        async_depth: int,
        settings: Mapping[str, str],
    ) -> "_Run":
        packing = packing_for(policy)  # which readies the policy for it, and then every copy of it
        reference = _reference(policy, config)
        if parallel.count() > 1:
            parallel.shard(policy, trunk_states)
            if reference is not None and reference is not policy:
                parallel.shard(reference, trunk_states)
        return cls(
            policy=policy,
            reference=reference,
            optimizer=make_optimizer(policy, config),
            critic=critic,
            packing=packing,
            config=config,
            log=log,
            async_depth=async_depth,
            settings=settings,
        )

    def update(self, step: int, flight: _Flight) -> dict[str, float]:
        """All optimizer steps on the batch of a step, or those that are left; returns the step's metrics."""
        metrics = flight.metrics() | update_policy(
            self.policy,
            self.reference,
            self.optimizer,
            flight.trained.groups_PG,
            flight.trained.advantages_PGT,
            self.config,
            step,
            self.packing,
            flight.progress,
            functools.partial(self.save, step, flight),
            is_behind=flight.is_behind,
        )
        if self.critic is not None:
            metrics |= update_critic(self.critic, flight.trained, self.config, step)
        return metrics

    def log_completions(self, flight: _Flight, origin: Mapping[str, Any]) -> None:
        """The completions table: the first groups of the batch."""
        for record in records(flight.drawn, self.config.logged_groups):
            self.log.append("completions.jsonl", {**origin, **record})

    def renew_reference(self) -> None:
        """The policy as it is now."""
        if self.reference is not None:
            self.reference.load_state_dict(self.policy.state_dict())

    def save(
        self, step: int, flight: _Flight | None = None, progress: Progress | None = None, *, is_due: bool = False
    ) -> None:
        """Writes a checkpoint before a step, with its batch where it is there already, or inside of it, with how far it
        has come, if one is due, as it also is at the end and every `checkpoint_every` optimizer steps.
        """
        if self.async_depth and progress is not None:
            return  # meanwhile the weights of before the step draw the next batch
        position = step * self.config.optimizer_steps + (progress.done if progress else 0)
        if not is_due and position % self.config.checkpoint_every and step != self.config.steps:
            return
        extra: dict[str, Any] = {"flight": None if flight is None else flight.to_plain(progress)}
        if self.critic is not None:
            extra["critic"] = self.critic.state_dict()
        folder = self.log.folder / CHECKPOINTS
        save_checkpoint(folder, position, self.policy, self.optimizer, extra, self._others(), settings=self.settings)

    def _others(self) -> dict[str, nn.Module]:
        """Models beside the policy that a checkpoint must hold: a reference that is not just the initial policy."""
        moves = self.reference is not None and self.config.iteration_steps
        return {"reference": self.reference} if moves and self.reference is not None else {}

    def resume(self) -> tuple[int, _Flight | None]:
        """Takes over the last checkpoint; returns the step to go on with, and its batch where it has one."""
        folder = self.log.folder / CHECKPOINTS
        position, extra = load_checkpoint(folder, self.policy, self.optimizer, self._others(), settings=self.settings)
        step = position // self.config.optimizer_steps
        self.log.rewind(step)
        if extra is None:
            return 0, None
        if self.critic is not None:
            self.critic.load_state_dict(extra["critic"])
        return step, None if extra["flight"] is None else _Flight.from_plain(extra["flight"])


def _settings(
    config: GRPOConfig, scorer: Scorer, problems: Sequence[Problem], critic: Critic | None, async_depth: int
) -> dict[str, str]:
    """What a run must be gone on with; the prompts' form and what judges dev problems are the caller's to keep."""
    settings = settings_of(config, problems=[problems_hash(problems)])
    others = {"critic": repr(critic and critic.config), "async_depth": str(async_depth)}
    return {**settings, **others, "scorer": f"{scorer.name} {scorer.version}"}


def _throughput(
    policy: PreTrainedModel, flight: _Flight, config: GRPOConfig, seconds: Mapping[str, float]
) -> dict[str, float]:
    """Completion tokens a second of the rollouts, and the update's share of what the machine can multiply."""
    found: dict[str, float] = {}
    if "rollout_s" in seconds:  # not so in a step that went on from a checkpoint inside of it
        tokens = sum(len(rollout.completion.ids) for group in flight.drawn.groups_PG for rollout in group)
        found["tokens_per_s"] = tokens / seconds["rollout_s"]
    with_reference = bool(config.objective.kl_coef)
    moved = flight.trained if with_reference else joined(flight.trained.where_something_is_learned())
    groups = [(len(group[0].prompt_ids), [len(one.completion.ids) for one in group]) for group in moved.groups_PG]
    flops = config.updates_per_batch * update_flops(policy, groups, with_reference=with_reference)
    spent = seconds["update_cpu_s" if policy.device.type == "cpu" else "update_s"]
    peak = parallel.count() * gemm_peak(policy.device.type, str(policy.dtype).removeprefix("torch."))
    found["update_peak_share"] = flops / spent / peak
    return found


@dataclass(slots=True)
class _Clock:
    """Processor and wall time of the phases of a step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        before = time.process_time(), time.perf_counter()
        yield
        for name, start, now in zip(
            (f"{phase}_cpu_s", f"{phase}_s"), before, (time.process_time(), time.perf_counter()), strict=True
        ):
            self.seconds[name] = self.seconds.get(name, 0.0) + now - start

    def take(self) -> dict[str, float]:
        """What was measured since the last time."""
        seconds, self.seconds = self.seconds, {}
        return seconds
