"""A reward model that goes on learning while the policy does: iterative GRPO (Algorithm 1 of DeepSeekMath,
arXiv:2402.03300), where after each iteration it is trained on with a replay of 10 % historical data.
"""

import shutil
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from markscheme.checkpoint import CHECKPOINTS
from markscheme.files import sha256_of, whole_folder, write_json
from markscheme.optimizer import check_settings
from markscheme.refresh_pairs import IterationPairs, completions_of, draw_replayed, label
from markscheme.reward_models import (
    PreferencePair,
    RewardModel,
    RewardModelConfig,
    RewardNetwork,
    compared,
)
from markscheme.reward_models.examples import encode
from markscheme.reward_models.formats import load_pairs
from markscheme.reward_models.model import MODEL_FOLDER
from markscheme.reward_models.preferences import is_held_out
from markscheme.reward_models.training import measure, train_encoded
from markscheme.run_log import RunLog
from markscheme.scoring import Scorer
from markscheme.verdict_pairs import verdict_pairs

COMPLETIONS = "completions.jsonl"
REWARD_MODELS = "reward-models"
"""Where a GRPO run folder holds a run folder for each refresh."""
PAIRS = "pairs"
RECORD = "refresh.json"
"""Written last: a refresh that has it is finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshConfig:
    """Settings of the refreshes."""

    replay_share: float = 0.1
    """Share of the training pairs that comes from before the iteration, as far as there are so many."""
    pairs_per_problem: int = 4
    """At most so many pairs of one problem in an iteration."""
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    """Of each refresh. Its seed also decides which pairs are made and replayed. Its held_out_share must not be above
    the one that the initial model was trained with, or that model has seen questions that are held out here."""

    def __post_init__(self) -> None:
        check_settings(self, positive=("pairs_per_problem",))
        if not 0 <= self.replay_share < 1:
            raise ValueError(f"replay_share must be at least 0 and below 1, got {self.replay_share}")


class RefreshedRewardModel:
    """The scorer of each iteration: the initial reward model, and from then on the last one, trained further.

    Iteration i covers steps i * M + 1 to (i + 1) * M of the GRPO run. For iteration i >= 1, the completions of
    iteration i - 1 are labelled and paired, correct against incorrect; pairs of the time before are mixed in, drawn
    from those of all earlier iterations and of the initial model's training; on these the model of iteration i - 1 is
    trained further. It keeps its weights and its AdamW with both means of each weight, which the checkpoint beside it
    holds (an initial model without one gets a new AdamW); the learning rate's schedule begins anew. Questions that are
    held out, by their hash, are trained on in no iteration; on the fresh ones, the model is measured before and after.

    `reward-models/i` is a run folder as `train-reward-model` writes them, with `pairs` and refresh.json. Each part is
    there whole or not at all: after a kill, the same call goes on and ends with the same weights. A checkpoint is
    dropped when a later refresh is finished.

    The reward's scale: a score is (reward - centre) / spread, and a refresh measures both anew. GRPO compares the
    completions of a group, which one model scores, and (r - mean) / (std + eps) does not change with the centre nor,
    but for eps, with the spread. What does not divide by the std (Dr. GRPO, a weighted sum of scorers) does see the
    spread, which keeps the unit of a reward at one standard deviation of those of the held-out completions.
    """

    def __init__(
        self,
        run_folder: Path,
        initial: Path,
        labeller: Scorer,
        steps_per_iteration: int,
        config: RefreshConfig,
        initial_pairs: Path | None = None,
    ) -> None:
        """
        Args:
            run_folder: Of the GRPO run, which writes every rollout to its completions.jsonl.
            initial: Folder of a trained reward model.
            labeller: A verifier: it must give verdicts.
            steps_per_iteration: M of Algorithm 1.
            initial_pairs: What the initial model was trained on, for the replay.

        Raises:
            InputError: if `initial` holds no reward model, or `initial_pairs` no pairs.
        """
        if steps_per_iteration < 1:
            raise ValueError(f"steps_per_iteration must be at least 1, got {steps_per_iteration}")
        self.run_folder, self.initial, self.labeller = run_folder, initial, labeller
        self.steps_per_iteration, self.config = steps_per_iteration, config
        self.initial_pairs = load_pairs(initial_pairs) if initial_pairs else []
        self._settings = {
            "initial": RewardModel(initial).version,
            "initial_pairs": sha256_of(initial_pairs) if initial_pairs else None,
            "labeller": {"name": labeller.name, "version": labeller.version},
            "steps_per_iteration": steps_per_iteration,
            **asdict(config),
        }

    def __call__(self, iteration: int) -> RewardModel:
        """The scorer of iteration 0, 1, ...; what is missing of it is trained first, when its completions are written.

        Where the completions give no pair to train on or none to measure on, the model of before goes on, with a
        warning and a record.

        Raises:
            InputError: if completions are missing, the labeller gives no verdicts, or the run folder holds refreshes
                with other settings.
            GoldError: if a gold cannot be read.
            FloatingPointError: if a gradient is not finite.
        """
        if iteration == 0:
            return RewardModel(self.initial)
        before = self(iteration - 1)
        folder, settings = self._folder(iteration), {"command": "refresh", "iteration": iteration, **self._settings}
        if not folder.exists():
            with whole_folder(folder) as partial:
                RunLog(partial, settings)
        log = RunLog(folder, settings)
        if not (folder / RECORD).exists():
            self._refresh(iteration, before, log)
        return RewardModel(folder / MODEL_FOLDER) if (folder / MODEL_FOLDER).exists() else before

    def _folder(self, iteration: int) -> Path:
        return self.run_folder / REWARD_MODELS / str(iteration)

    def _refresh(self, iteration: int, before: RewardModel, log: RunLog) -> None:
        started = time.perf_counter()
        network = RewardNetwork.load(before.folder).to("cuda" if torch.cuda.is_available() else "cpu")
        first_step, last_step = (iteration - 1) * self.steps_per_iteration + 1, iteration * self.steps_per_iteration
        if not (log.folder / PAIRS).exists():
            rows = completions_of(self.run_folder / COMPLETIONS, first_step, last_step)
            self._make_pairs(iteration, rows, network).save(log.folder / PAIRS)
        pairs = IterationPairs.load(log.folder / PAIRS)
        record: dict[str, Any] = {"iteration": iteration, "first_step": first_step, "last_step": last_step}
        record |= {**pairs.counts, "trained": bool(pairs.fresh and pairs.held_out)}
        if record["trained"]:
            record |= self._train(before, network, pairs, log)
        else:
            record["version"] = before.version
            made = ", ".join(f"{name} {count}" for name, count in pairs.counts.items())
            message = f"no pairs to train on, or none to measure on ({made}): the reward model of before goes on"
            warnings.warn(f"iteration {iteration}: {message}", stacklevel=3)
        write_json(log.folder / RECORD, {**record, "seconds": round(time.perf_counter() - started, 3)})
        for earlier in range(1, iteration if record["trained"] else 1):
            if (checkpoints := self._folder(earlier) / CHECKPOINTS).exists():
                shutil.rmtree(checkpoints)

    def _make_pairs(self, iteration: int, rows: list[dict[str, Any]], network: RewardNetwork) -> IterationPairs:
        """Pairs that the network can read; completions that are too long for it are counted apart."""
        config, settings = self.config, self.config.reward_model
        readable = [row for row in rows if network.fits(network.encode(row["question"], row["completion"]))]
        labelled = label(readable, self.labeller)
        pairs, counts = verdict_pairs(labelled, config.pairs_per_problem, settings.seed, f"iteration-{iteration - 1}")
        fresh = self._trainable(pairs)
        history = self._history(iteration, network)
        replayed = draw_replayed(history, len(fresh), config.replay_share, settings.seed, iteration)
        held_out = [pair for pair in pairs if is_held_out(pair, settings.held_out_share)]
        sizes = {"fresh_pairs": len(fresh), "replayed_pairs": len(replayed), "held_out_pairs": len(held_out)}
        made_of = {**asdict(counts), "too_long": len(rows) - len(readable), "historical_pairs": len(history), **sizes}
        return IterationPairs(fresh=fresh, replayed=replayed, held_out=held_out, counts=made_of)

    def _history(self, iteration: int, network: RewardNetwork) -> list[PreferencePair]:
        """What can be replayed: the training pairs of the initial model and of all earlier iterations."""
        history = [
            pair
            for pair in self._trainable(self.initial_pairs)
            if all(network.fits(network.encode(pair.prompt, text)) for text in (pair.chosen, pair.rejected))
        ]
        for earlier in range(1, iteration):
            history += IterationPairs.load(self._folder(earlier) / PAIRS).fresh
        return history

    def _trainable(self, pairs: list[PreferencePair]) -> list[PreferencePair]:
        return [pair for pair in pairs if not is_held_out(pair, self.config.reward_model.held_out_share)]

    def _train(self, before: RewardModel, network: RewardNetwork, pairs: IterationPairs, log: RunLog) -> dict[str, Any]:
        """Trains `network`, which has the weights of `before`, and saves it; returns the figures of both."""
        examples = [encode(network, one) for one in compared([*pairs.fresh, *pairs.replayed])]
        held_out = [encode(network, one) for one in compared(pairs.held_out)]
        continues = before.folder.with_name(CHECKPOINTS) if before.folder.name == MODEL_FOLDER else None
        settings, model = self.config.reward_model, log.folder / MODEL_FOLDER
        accuracy_before = measure(network, held_out, settings.token_budget)
        accuracy_after = train_encoded(network, examples, held_out, settings, log, continues=continues)
        if not model.exists():
            network.save(model)
        return {
            "optimizer_continued": continues is not None and any(continues.glob("step-*")),
            "before": asdict(accuracy_before),
            "after": asdict(accuracy_after),
            "centre": network.centre,
            "spread": network.spread,
            "version": RewardModel(model).version,
        }
