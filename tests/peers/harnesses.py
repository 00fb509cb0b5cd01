"""Run by tests/front/test_peers.py in an environment of its own: lm-evaluation-harness, Inspect, Hugging Face evaluate
and verifiers, each with our verifier as its judge of four completions. Prints what came of it as one line of JSON.
"""

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

HERE = Path(sys.argv[1])
os.environ |= {"HF_HOME": str(HERE), "HOME": str(HERE), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

from markscheme.adapters import to_evaluate, to_inspect  # noqa: E402
from markscheme.scoring import Sample as MarkschemeSample  # noqa: E402
from markscheme.scoring import Score  # noqa: E402
from markscheme.verifiers import MathVerifier  # noqa: E402

UNKNOWN = "1+" * 1_500 + "1"  # longer than any answer that is read: UNDECIDED
COMPLETIONS = [r"So \boxed{2}.", r"So \boxed{5}.", rf"So \boxed{{{UNKNOWN}}}.", "Let me think."]
PROBLEMS = [{"question": f"{k} + {k} = ?", "answer": str(2 * k)} for k in range(1, 5)]

TASK = """
task: sums
dataset_path: json
dataset_kwargs:
  data_files: {test: %s}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
process_results: !function sums.process_results
metric_list:
  - {metric: correct, aggregation: mean, higher_is_better: true}
  - {metric: unscored, aggregation: mean, higher_is_better: false}
"""
MODULE = """
from markscheme.adapters import to_lm_eval
from markscheme.verifiers import MathVerifier
process_results = to_lm_eval(MathVerifier())
"""


def by_lm_eval() -> dict[str, Any]:
    import lm_eval
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    (HERE / "problems.jsonl").write_text("".join(json.dumps(one) + "\n" for one in PROBLEMS))
    (HERE / "sums.yaml").write_text(TASK % (HERE / "problems.jsonl"))
    (HERE / "sums.py").write_text(MODULE)

    class Writer(LM):
        def loglikelihood(self, requests: Any) -> Any: ...
        def loglikelihood_rolling(self, requests: Any) -> Any: ...
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            return [COMPLETIONS[int(request.args[0][0]) - 1] for request in requests]

    tasks = TaskManager(include_path=str(HERE), include_defaults=False)
    found = lm_eval.simple_evaluate(model=Writer(), tasks=["sums"], task_manager=tasks, bootstrap_iters=0)
    return {name: found["results"]["sums"][f"{name},none"] for name in ("correct", "unscored")}


def by_inspect() -> dict[str, Any]:
    import tiktoken

    words = SimpleNamespace(encode=lambda text, **_: text.split(), encode_ordinary=str.split)
    tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_: words  # its tables are not on this machine
    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, get_model
    from inspect_ai.solver import generate

    class Watched(MathVerifier):
        metas: ClassVar[list[Any]] = []

        def score(self, samples: Sequence[MarkschemeSample]) -> list[Score]:
            self.metas.extend(sample.meta for sample in samples)
            return super().score(samples)

    outputs = [ModelOutput.from_content("mockllm/model", text) for text in COMPLETIONS]
    task = Task(
        dataset=[
            Sample(input=one["question"], target=one["answer"], id=k, metadata={"level": k})
            for k, one in enumerate(PROBLEMS)
        ],
        solver=[generate()],
        scorer=to_inspect(Watched()),
    )
    model = get_model("mockllm/model", custom_outputs=outputs)
    [log] = evaluate(task, model=model, log_dir=str(HERE / "logs"), display="none", max_samples=1)
    [score] = log.results.scores
    samples = [sample.scores[score.name] for sample in log.samples]
    return {
        "name": score.name,
        "scored": score.scored_samples,
        "unscored": score.unscored_samples,
        "accuracy": score.metrics["accuracy"].value,
        "reasons": [sample.reason for sample in samples],
        "values": [sample.value if sample.value in ("C", "I") else None for sample in samples],
        "levels": [meta["level"] for meta in Watched.metas],
        "answers": [sample.answer for sample in samples[:2]],
    }


def by_evaluate() -> dict[str, Any]:
    metric = to_evaluate(MathVerifier())
    golds = [one["answer"] for one in PROBLEMS]
    lists = to_evaluate(MathVerifier()).compute(predictions=COMPLETIONS[:1], references=[["9", "2"]])
    return {"one": metric.compute(predictions=COMPLETIONS, references=golds), "lists": lists}


class Endpoint(BaseHTTPRequestHandler):
    """An OpenAI-compatible model that writes the completion of the sum that it is asked."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = COMPLETIONS[int(asked["messages"][-1]["content"][0]) - 1]
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "stub", "choices": [choice]}
        body = json.dumps({**answer, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


TASKSET = """
import httpx
import verifiers.v1 as vf
from markscheme.adapters import to_verifiers
from markscheme.verifiers import MathVerifier

reward = to_verifiers(MathVerifier())

class SumData(vf.TaskData):
    answer: str = ""

class SumTask(vf.Task[SumData, vf.State, vf.TaskConfig]):
    pass

class Sums(vf.Taskset[SumTask, vf.TasksetConfig]):
    def load(self):
        for k in range(1, 5):
            yield SumTask(SumData(prompt=f"{k} + {k} = ?", answer=str(2 * k)), self.config.task)

class OneCall(vf.Harness[vf.HarnessConfig]):
    EXECUTES_CODE = NEEDS_CONTAINER = False
    APPENDS_SYSTEM_PROMPT = True

    async def launch(self, ctx, trace, runtime, endpoint, secret, mcp_urls, data, **rest):
        messages = [{"role": "user", "content": self.resolve_prompt(data)[1]}]
        async with httpx.AsyncClient() as client:
            answer = await client.post(
                f"{endpoint}/chat/completions",
                headers={"Authorization": f"Bearer {secret}"},
                json={"model": ctx.model, "messages": messages},
            )
            answer.raise_for_status()
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")

__all__ = ["Sums", "OneCall"]
"""


def by_verifiers() -> list[dict[str, Any]]:
    (HERE / "sums_taskset.py").write_text(TASKSET)
    sys.path.insert(0, str(HERE))
    os.environ["STUB_KEY"] = "none"
    import verifiers.v1 as vf  # noqa: TID251  # theirs, not our room

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = vf.EvalClientConfig(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key_var="STUB_KEY")
    context = vf.ModelContext(model="stub", client=client)
    settings = {
        "taskset": {"id": "sums_taskset", "task": {"rewards": {"math": {"fn": "sums_taskset:reward"}}}},
        "agent": {"harness": {"id": "sums_taskset"}, "runtime": {"type": "subprocess"}},
    }
    environment = vf.load_environment(vf.SingleAgentEnvConfig.model_validate(settings))

    async def rollouts() -> list[dict[str, Any]]:
        found = []
        async with environment.serving():
            for task in list(environment.taskset):
                episode = await environment.run_slot(environment.slots(task)[0], context)
                [trace] = episode.traces
                reward = trace.rewards["math"]
                errors = [error.message for error in trace.errors]
                found.append({"ok": trace.ok, "reward": reward and reward.score, "errors": errors})
        return found

    return asyncio.run(rollouts())


if __name__ == "__main__":
    print(json.dumps({one.__name__: one() for one in (by_lm_eval, by_inspect, by_evaluate, by_verifiers)}))
