"""One run of a study: `python -m markscheme.studies.run METHOD STEPS SEED FOLDER`."""

import json
import resource
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from markscheme.files import write_json
from markscheme.run_log import RunLog
from markscheme.studies.methods import METHODS
from markscheme.studies.setting import setting

BEFORE = "before"
"""No training."""
TRL = "trl"


def run(method: str, steps: int, seed: int, folder: Path) -> dict[str, Any]:
    """Trains by a method and evaluates; leaves result.json in the folder."""
    torch.set_num_threads(1)
    chosen = setting(steps, seed)
    trained = TrainedState()
    before_mb, start = _peak_mb(), time.process_time()
    if method == TRL:
        from markscheme.studies.trl_run import train_trl

        train_trl(chosen, folder / "train")
    elif method != BEFORE:
        METHODS[method].train(chosen, folder / "train")
    train_cpu_s, peak_mb = time.process_time() - start, _peak_mb()
    trained.close()
    if method not in (TRL, BEFORE):
        train_cpu_s -= sum(line.get("dev_cpu_s", 0.0) for line in RunLog(folder / "train", {}).read("timings.jsonl"))
    evaluation = chosen.evaluation(folder / "evaluation")
    result = {
        "method": method,
        "steps": steps,
        "seed": seed,
        "train_cpu_s": round(train_cpu_s, 1),
        "added_mb": round(peak_mb - before_mb, 1),
        "trained_mb": round(trained.peak_bytes / 2**20, 2),
        "metrics": evaluation.summary["metrics"],
    }
    write_json(folder / "result.json", result)
    return result


class TrainedState:
    """Watches every optimizer: the bytes of what it moves, with gradients and moments, of all that live at a time."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._bytes: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self.close = register_optimizer_step_post_hook(self._after_step).remove

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if optimizer in self._bytes:
            return
        moved = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        moments = [one for state in optimizer.state.values() for one in state.values() if torch.is_tensor(one)]
        self._bytes[optimizer] = sum(one.nbytes for one in (*moved, *(one.grad for one in moved), *moments))
        self.peak_bytes = max(self.peak_bytes, sum(self._bytes.values()))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    _, method, steps, seed, folder = sys.argv
    print(json.dumps(run(method, int(steps), int(seed), Path(folder))))
