"""The small charts of the list of experiments."""

from api.dashboard.experiments import draw_forest
from api.experiments.serializers import AccuracyDifference


def test_a_small_forest_has_called_differences_first() -> None:
    open_ones = [AccuracyDifference(f"open {n}", 0.0, -1.0, 1.0, None) for n in range(6)]
    called = AccuracyDifference("called", 1.502, 0.004, 3.0, "higher")
    forest = draw_forest([*open_ones, called])
    assert forest[0]["text"] == "called: +1.502 (+0.004 to +3.000) points"
    assert [item["text"].split(":")[0] for item in forest] == ["called", *(f"open {n}" for n in range(5))]
    assert (forest[0]["low"], forest[0]["mean"], forest[0]["high"]) == (50.1, 74.0, 98.0)
