"""The benchmark beside TRL: that it compares like with like, not how fast anything is."""

import importlib.util
from dataclasses import replace

import pytest

from markscheme.benchmarks.speed.grpo import Figures, Settings, check_gradients, headlines
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


def figures(seconds: float, *, added_mb: float | None = None) -> Figures:
    return Figures(
        seconds=seconds,
        median_s=seconds,
        steps=1,
        tokens_per_s=1.0,
        peak_share=None,
        added_mb=added_mb,
        grad_norm=None,
        generation_s=None,
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


def test_flat_groups_are_no_necessary_work() -> None:
    from markscheme.benchmarks.speed.contenders import necessary_flops

    workload = replace(TINY, median=None)
    model = workload.model.make()
    with_one_flat, without = (
        necessary_flops(model, make_batch(replace(workload, flat_groups=flat), 0), with_reference=False)
        for flat in (1, 0)
    )
    assert with_one_flat == pytest.approx(0.75 * without)
    with_reference = necessary_flops(model, make_batch(workload, 0), with_reference=True)
    assert with_reference == pytest.approx(without * 4 / 3)


def test_ratios_are_theirs_over_ours() -> None:
    found = {
        "even": {"ours": figures(2.0, added_mb=100.0), "trl": figures(6.0, added_mb=250.0)},
        "real": {"ours": figures(1.0), "trl": figures(9.0)},
        "kl": {"trl": figures(9.0)},
    }
    assert headlines(found) == {"even": 3.0, "memory": 2.5}


def test_contenders_whose_gradients_differ_are_not_compared() -> None:
    check_gradients("even", {"ours": 0.5, "trl": 0.500001, "untested": None})
    with pytest.raises(InputError, match=r"even: the contenders do not compute the same gradient.*0\.51"):
        check_gradients("even", {"ours": 0.5, "trl": 0.51})


def test_a_workload_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="no workload 'evn'; there are even, skewed"):
        Settings(workloads=("evn",))
