"""The benchmark beside TRL: that it compares like with like, not how fast anything is."""

import importlib.util
from dataclasses import replace

import pytest

from markscheme.benchmarks.speed.grpo import Figures, Settings, check_gradients, headlines, necessary_flops
from markscheme.benchmarks.speed.workloads import WORKLOADS, Model, Workload, make_batch
from markscheme.files import InputError

TINY = Workload(
    about="tiny",
    model=Model(vocabulary=50, width=16, layers=2, heads=2, kv_heads=1, inner=32),
    problems=4,
    group_size=4,
    prompt_tokens=5,
    completion_tokens=12,
    median=6,
    flat_groups=1,
)


def figures(cpu_s: float, *, added_mb: float | None = None, grad_norm: float | None = None) -> Figures:
    return Figures(
        cpu_s=cpu_s,
        median_cpu_s=cpu_s,
        steps=1,
        tokens_per_cpu_s=1.0,
        peak_share=None,
        added_mb=added_mb,
        grad_norm=grad_norm,
        generation_cpu_s=None,
    )


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="TRL is not installed")
@pytest.mark.parametrize("workload", [TINY, replace(TINY, kl_coef=0.3), replace(TINY, entropy=True)])
def test_all_contenders_compute_the_same_gradient(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    from trl.trainer import utils

    from markscheme.benchmarks.speed.contenders import CONTENDERS, measure

    monkeypatch.setattr(utils, "_use_triton", utils._use_triton)  # put back what a contender changes
    norms = [measure(contender, workload, seed=0, steps=1)["grad_norm"] for contender in CONTENDERS]
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-5)
    assert norms[0] > 0


def test_a_skewed_batch_always_has_a_completion_that_is_cut_off() -> None:
    for seed in range(5):
        lengths = [len(one) for group in make_batch(WORKLOADS["skewed"], seed).completions_PG for one in group]
        assert max(lengths) == 512
        assert min(lengths) >= 4
        assert len(set(lengths)) > 20


def test_necessary_work_of_a_small_case() -> None:
    """One prompt of 3 tokens with two completions of 2, one layer of width 4 with one head and an inner width of 8.

    Weights of the trunk: 4 * 4 each for q, k, v, o and 3 * 4 * 8, together 160. Tokens through it: 3 + 1 + 1. Pairs: 6
    of the prompt, and for each completion's one token 3 of the prompt and itself. Head: 4 tokens of 4 * 10 weights.
    So forward 2 * 160 * 5 + 4 * 4 * (6 + 4 + 4) + 2 * 40 * 4 = 1600 + 224 + 320, and three times that.
    """
    model = Model(vocabulary=10, width=4, layers=1, heads=1, kv_heads=1, inner=8)
    workload = Workload(about="", model=model, problems=1, group_size=2, prompt_tokens=3, completion_tokens=2)
    assert necessary_flops(workload, 0) == 3 * 2_144
    assert necessary_flops(replace(workload, kl_coef=0.1), 0) == 4 * 2_144
    assert necessary_flops(replace(workload, problems=3, flat_groups=2), 0) == 3 * 2_144


def test_ratios_are_theirs_over_ours() -> None:
    found = {
        "even": {"ours": figures(2.0, added_mb=100.0), "trl": figures(6.0, added_mb=250.0)},
        "real": {"ours": figures(1.0), "trl": figures(9.0)},
        "kl": {"trl": figures(9.0)},
    }
    assert headlines(found) == {"even": 3.0, "memory": 2.5}


def test_contenders_whose_gradients_differ_are_not_compared() -> None:
    check_gradients("even", {"ours": figures(1.0, grad_norm=0.5), "trl": figures(1.0, grad_norm=0.500001)})
    with pytest.raises(InputError, match=r"even: the contenders do not compute the same gradient.*0\.51"):
        check_gradients("even", {"ours": figures(1.0, grad_norm=0.5), "trl": figures(1.0, grad_norm=0.51)})


def test_a_workload_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="no workload 'evn'; there are even, skewed"):
        Settings(workloads=("evn",))
