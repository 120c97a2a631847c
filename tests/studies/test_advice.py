"""How often advice is given: simulated experiments with known truth, through the report's own code."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest

from api.reports.advice import recommend
from api.reports.comparison import JobGroups, compare
from models.experiments import Regime
from models.inference import Plan
from models.records import CORRUPTIONS, SEVERITIES
from models.store.tables import Job
from tests.studies.test_verdicts import Draw, heavy_tailed, normal, now_and_then_far_off, skewed
from tests.unit.api.reports.test_comparison import NOW, job

NAMES = ("none", "b", "c", "d", "e", "f")
# Mean and scatter of a run, its seed's part apart: of the size that they have on MNIST.
LEVELS = {
    "test_accuracy": (0.95, 0.002),
    "test_loss": (0.2, 0.004),
    "test_ece_debiased": (0.001, 0.0002),
    "training_seconds": (4.0, 0.05),
}
# The accuracy on damaged test images, where it is measured.
DAMAGED = {"robust_accuracy": (0.65, 0.005)}
RECOMMENDED = (
    "For images unlike the test images: ",
    "For accuracy: ",
    "takes no longer",
    "hardly worth",
    "acted upon",
    "few weights",
)
# Each kind of advice, by what is true of variant b: differences in standard deviations of a pair's.
KINDS: dict[str, tuple[dict[str, float], float]] = {
    "For accuracy: b": ({"test_accuracy": 2}, 0.0),
    "b has a lower test loss than none, and takes no longer": ({"test_loss": -2, "training_seconds": -2}, 0),
    "b is hardly worth the time": ({"test_loss": 2, "training_seconds": 2}, 0.0),
    "b has a lower calibration error": ({"test_ece_debiased": -2}, 0.0),
    "For few weights or features: b": ({"test_accuracy": 2}, 0.5),
    "For images unlike the test images: b": ({"robust_accuracy": 2}, 0.0),
    # Beside damaged images, with which it shares its level.
    "b has a lower calibration error than none": ({"test_ece_debiased": -2, "robust_accuracy": 0}, 0.0),
}


def draw_experiments(
    number: int, draw: Draw, effects: Mapping[str, float], *, seeds: int, zeros: float = 0.0
) -> Iterator[dict[str, list[Job]]]:
    """Runs of five techniques and none; `effects` are what b differs by, in sd of paired differences.

    Damaged test images are measured where an effect, perhaps 0, on them is given.
    """
    generator = np.random.default_rng(0)
    levels = LEVELS | (DAMAGED if DAMAGED.keys() & effects.keys() else {})
    changes = {"evaluation": {"robustness": True}} if levels != LEVELS else {}
    rows: dict[str, list[Job]] = {}
    for index, variant in enumerate(NAMES):
        regularization = {"l2": {"factor": 0.001 * index}} if index else {}
        rows[variant] = [
            job(variant, seed, 0.95, regularization=regularization, **changes) for seed in range(seeds)
        ]
    for _ in range(number):
        values = {
            name: mean + sd * (draw(generator, (1, seeds)) + draw(generator, (len(NAMES), seeds)))
            for name, (mean, sd) in levels.items()
        }
        for name, effect in effects.items():
            values[name][1] += effect * levels[name][1] * np.sqrt(2)
        # The same rows with other results: to build them takes longer than to report on them.
        for index, variant in enumerate(NAMES):
            for seed, run in enumerate(rows[variant]):
                assert run.result is not None
                run.result.zero_weight_fraction = zeros if variant == "b" else 0.0
                for name in LEVELS:
                    setattr(run.result, name, float(values[name][index, seed]))
                if "robust_accuracy" in levels:
                    mean = float(values["robust_accuracy"][index, seed])
                    accuracy = {damage: [0.95, *[mean] * SEVERITIES] for damage in CORRUPTIONS}
                    run.result.robustness = {"accuracy": accuracy, "mean_accuracy": mean}
        yield rows


def advise(rows: Mapping[str, list[Job]], regime: Regime, pairs: int) -> str:
    first = {name: jobs[:pairs] for name, jobs in rows.items()}
    total = sum(map(len, first.values()))
    subject = JobGroups("title", "exp_1", "none", first, total, Plan(regime), True, repeat="again")
    considerations = recommend(compare(subject, {name: [] for name in rows}, {}, now=NOW, version="0.0"))
    return "\n".join(advice.text for each in considerations for advice in each.advice)


def recommends(text: str) -> bool:
    return any(words in text for words in RECOMMENDED)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_advice_is_given_where_b_differs_by_two_standard_deviations(
    kind: str, record_property: Callable[[str, object], None]
) -> None:
    effects, zeros = KINDS[kind]
    given = [
        kind in advise(rows, Regime.FIXED, 10)
        for rows in draw_experiments(500, normal, effects, seeds=10, zeros=zeros)
    ]
    record_property("share", float(np.mean(given)))
    assert np.mean(given) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("effects", [{}, {"robust_accuracy": 0}], ids=["", "damaged images"])
@pytest.mark.parametrize("draw", [normal, heavy_tailed, skewed, now_and_then_far_off])
@pytest.mark.parametrize(
    "looks",
    [[(Regime.FIXED, 10)], [(Regime.SEQUENTIAL, pairs) for pairs in (6, 10, 15, 20)]],
    ids=["a fixed plan", "four looks"],
)
def test_where_nothing_differs_95_percent_of_the_reports_recommend_nothing(
    draw: Draw,
    looks: list[tuple[Regime, int]],
    effects: dict[str, float],
    record_property: Callable[[str, object], None],
) -> None:
    simulated = draw_experiments(1000, draw, effects, seeds=looks[-1][1])
    recommended = [any(recommends(advise(rows, *look)) for look in looks) for rows in simulated]
    record_property("share", float(np.mean(recommended)))
    # Half a point for the noise of the simulation.
    assert np.mean(recommended) <= 0.055
