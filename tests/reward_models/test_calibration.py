import math

import numpy as np
import pytest

from markscheme.reward_models.calibration import calibration_of, errors_of, temperature_of


def test_errors_by_hand() -> None:
    # leads log 3, log 3, log 3, -log 3: p = 0.75 three times, 0.25 once; confidence 0.75 each, right in 3 of 4: no gap.
    # Brier (3 * 0.0625 + 0.5625) / 4 = 0.1875; nll (3 * 0.287682 + 1.386294) / 4 = 0.562335
    found = errors_of(np.log([3.0, 3.0, 3.0, 1 / 3]))
    assert found.ece == pytest.approx(0, abs=1e-12)
    assert found.brier == pytest.approx(0.1875)
    assert found.nll == pytest.approx(0.562335, abs=1e-6)


def test_bins_are_taken_apart() -> None:
    # p = 0.9 twice, once wrong: |0.9 - 0.5| * 2/3 = 0.266667; p = 0.6 once, right: |0.6 - 1| / 3 = 0.133333: 0.4
    found = errors_of(np.log([9.0, 1 / 9, 1.5]))
    assert found.ece == pytest.approx(0.4)


def test_who_knows_nothing() -> None:
    found = errors_of(np.zeros(5))
    assert (found.ece, found.brier, found.nll) == pytest.approx((0.0, 0.25, math.log(2)))


def test_the_temperature_is_the_one_that_drew_the_pairs() -> None:
    rng = np.random.default_rng(0)
    scale = rng.normal(0, 2, 20_000)  # of which the chosen one wins with probability sigmoid(scale)
    leads = np.where(rng.random(20_000) < 1 / (1 + np.exp(-scale)), scale, -scale) * 4
    assert temperature_of(leads) == pytest.approx(4, rel=0.05)
    groups = [str(k) for k in range(20_000)]
    found = calibration_of(leads.tolist(), groups)
    assert found.as_trained.ece > 0.1
    assert found.scaled.ece < 0.02
    assert found.scaled.nll < found.as_trained.nll


def test_certain_and_right_is_fine_at_any_size() -> None:
    found = calibration_of([1e6, 2e6], ["a", "b"])
    assert found.as_trained.nll == 0
    assert found.temperature is None  # the lower, the better


def test_leads_that_tell_nothing_have_no_best_temperature() -> None:
    # The mean lead is 0: at any temperature the nll is above log 2, which it comes to without end.
    found = calibration_of([1.0, -1.0], ["a", "b"])
    assert found.temperature is None
    assert found.as_trained.nll > math.log(2)
    assert calibration_of([1.0, 0.0], ["a", "b"]).temperature is None  # no lead is wrong: the lower the better
    # The mean is above 0, if barely: 1.1 / T and -1 / T are best where 1.1 sigmoid(-1.1 / T) = sigmoid(1 / T).
    found = calibration_of([1.1, -1.0], ["a", "b"])
    assert found.temperature is not None
    assert 1.1 / (1 + math.exp(1.1 / found.temperature)) == pytest.approx(
        1 / (1 + math.exp(-1 / found.temperature)), 1e-3
    )
