"""When differences may be called, and at which level."""

import numpy as np
import pytest

from models.experiments import Regime
from models.inference import LEVELS, Plan, choose_regime, judge_equivalence, judge_family


@pytest.mark.parametrize(
    ("inference", "complete", "changed", "regime"),
    [
        ("fixed", False, False, Regime.INTERIM),
        ("fixed", False, True, Regime.INTERIM),
        ("fixed", True, False, Regime.FIXED),
        ("fixed", True, True, Regime.EXTENDED),
        ("sequential", False, False, Regime.SEQUENTIAL),
        ("sequential", True, True, Regime.SEQUENTIAL),
    ],
)
def test_the_plan_decides_by_which_rule_a_report_speaks(
    inference: str, complete: bool, changed: bool, regime: Regime
) -> None:
    assert choose_regime(inference, complete=complete, changed=changed) is regime  # type: ignore[arg-type]  # a parameter's type is str


def test_a_plan_and_its_extension_are_wrong_in_five_percent_together() -> None:
    assert LEVELS[Regime.FIXED] + LEVELS[Regime.EXTENDED] == pytest.approx(0.05)
    assert LEVELS[Regime.SEQUENTIAL] == 0.05


def test_only_a_primary_metric_has_a_margin() -> None:
    plan = Plan(Regime.FIXED, ("test_accuracy",), margin_points=0.3, margin_loss=0.01)
    assert (plan.get_margin("test_accuracy"), plan.get_margin("test_loss")) == (0.3, None)
    assert Plan(Regime.FIXED, margin_loss=0.01).get_margin("test_loss") == 0.01


def draw(mean: float, n: int) -> dict[int, float]:
    values = np.random.default_rng(n).normal(size=n)
    return dict(enumerate((mean + (values - values.mean()) / values.std(ddof=1)).tolist()))


@pytest.mark.parametrize("regime", list(Regime))
def test_p_interval_and_call_agree(regime: Regime) -> None:
    differences = {mean: draw(mean, 40) for mean in (0.0, 0.3, 0.5, 0.8, 2.0)}
    judged = judge_family(differences, regime, tests=len(differences))
    for one in judged.values():
        assert one.p is not None
        assert one.low is not None
        assert one.high is not None
        excluded = one.low > 0 or one.high < 0
        assert excluded == (one.p <= LEVELS[regime])
        assert one.called == (excluded and regime is not Regime.INTERIM)
    assert judged[2.0].called == (regime is not Regime.INTERIM)
    assert not judged[0.0].called


def test_a_larger_family_calls_less() -> None:
    difference = {"a": draw(0.8, 20)}
    few, many = (judge_family(difference, Regime.SEQUENTIAL, tests=tests)["a"] for tests in (1, 50))
    assert (few.called, many.called) == (True, False)
    assert few.low is not None
    assert many.low is not None
    assert many.low < few.low


def test_a_member_with_few_pairs_is_neither_called_nor_in_the_way_of_others() -> None:
    differences = {"few": {0: 1.0, 1: 1.1, 2: 0.9}, "many": draw(2.0, 8), "none": {}}
    judged = judge_family(differences, Regime.FIXED, tests=3)
    assert (judged["few"].p, judged["few"].called) == (None, False)
    assert judged["few"].low is not None
    assert judged["many"].called
    assert (judged["none"].low, judged["none"].called) == (None, False)


@pytest.mark.parametrize(
    "regime",
    [
        Regime.SEQUENTIAL,
        choose_regime("fixed", complete=False, changed=False),
        choose_regime("fixed", complete=True, changed=False, other_baseline=True),
        choose_regime("fixed", complete=False, changed=False, other_baseline=True),
    ],
)
def test_at_intervals_or_with_another_baseline_few_pairs_have_no_p(regime: Regime) -> None:
    # However large the difference.
    judged = judge_family({pairs: draw(100.0, pairs) for pairs in (2, 5, 6)}, regime, tests=1)
    assert [judged[pairs].p is None for pairs in (2, 5, 6)] == [True, True, False]
    assert not judged[5].called


@pytest.mark.parametrize("regime", [Regime.FIXED, Regime.EXTENDED, Regime.SEQUENTIAL])
def test_equivalence_is_shown_within_the_margin_and_not_beyond(regime: Regime) -> None:
    differences = {"equal": draw(0.0, 40), "apart": draw(1.0, 40), "few": {0: 0.0, 1: 0.1}}
    judgements = judge_family(differences, regime, tests=3)
    judged_equal = judge_equivalence(differences, dict.fromkeys(differences, 0.9), judgements, regime)
    assert [name for name, one in judged_equal.items() if one.equivalent] == ["equal"]
    interim = judge_family(differences, Regime.INTERIM, tests=3)
    none = judge_equivalence(differences, dict.fromkeys(differences, 9.0), interim, Regime.INTERIM)
    assert not any(one.equivalent for one in none.values())
