"""An experiment's jobs as a table, and which models are tried first."""

from typing import Any

from api.dashboard.playground import Model, groups, pair
from api.dashboard.run_table import grid
from models.states import JobState
from models.store.experiment_runs import RunGlance


def glance(variant: str = "none", seed: int = 0, **changes: Any) -> RunGlance:
    values: dict[str, Any] = {
        "reused": False,
        "job_id": f"job_{variant}_{seed}",
        "state": JobState.SUCCEEDED,
        "fraction": 1.0,
        "epochs_done": 3,
        "epochs": 3,
        "error": None,
        "test_accuracy": 0.9,
        "test_loss": 0.3,
    }
    return RunGlance(variant, seed, **(values | changes))


def waiting(variant: str, seed: int, state: JobState, **changes: Any) -> RunGlance:
    return glance(variant, seed, state=state, test_accuracy=None, test_loss=None, **changes)


def test_rows_are_variants_in_their_order_and_columns_are_seeds() -> None:
    found = grid(
        [glance("b", 7), glance("a", 10), glance("b", 10, test_accuracy=0.95)], ["b", "a"], baseline="a"
    )
    assert found.seeds == (7, 10)
    assert [(row.variant, row.is_baseline, row.mean) for row in found.rows] == [
        ("b", False, "92.50"),
        ("a", True, "90.00"),
    ]
    assert [cell and cell.text for row in found.rows for cell in row.cells] == [
        "90.00",
        "95.00",
        None,
        "90.00",
    ]
    assert [cell.best for row in found.rows for cell in row.cells if cell] == [False, True, False]


def test_each_state_is_told_without_colour() -> None:
    states = [state for state in JobState if state not in (JobState.SUCCEEDED, JobState.RUNNING)]
    found = grid([waiting("a", n, state) for n, state in enumerate(states)], ["a"], baseline="a")
    texts = [cell.text for cell in found.rows[0].cells if cell]
    assert len(set(texts)) == len(states)
    assert found.rows[0].mean is None
    running = waiting("a", 0, JobState.RUNNING, fraction=0.429, epochs_done=1)
    (cell,) = grid([running], ["a"], baseline="a").rows[0].cells
    assert cell is not None
    assert (cell.text, cell.title) == ("42 %", "a, seed 0: running, epoch 1 of 3")


def test_a_failure_says_why_and_a_reused_job_that_it_is_one() -> None:
    failed = waiting("a", 0, JobState.FAILED, error="It broke.")
    found = grid([failed, glance("a", 1, reused=True)], ["a"], baseline="a")
    assert [cell.title for cell in found.rows[0].cells if cell] == [
        "a, seed 0: failed: It broke.",
        "a, seed 1: test accuracy 90.00 %, test loss 0.3000, trained before",
    ]


def model(name: str, group: str, *, regularized: bool = False, seed: int = 0, of: str = "mnist") -> Model:
    return Model(name, name, group, "", "", regularized=regularized, seed=seed, dataset=of)


def test_a_pair_is_of_one_experiment_and_one_seed_where_there_is_one() -> None:
    lone, other = model("lone", "Jobs on their own"), model("other", "one", seed=1)
    plain, dropout = model("plain", "one"), model("dropout", "one", regularized=True)
    assert pair([lone, other, dropout, plain]) == (plain, dropout)
    assert pair([lone, other, dropout]) == (other, dropout)
    assert pair([lone, dropout]) == (lone, dropout)
    elsewhere = model("elsewhere", "two", of="fashion_mnist")
    assert pair([elsewhere, dropout]) == (dropout, elsewhere)
    assert pair([plain]) == (plain, plain)


def test_groups_keep_the_order_of_their_newest() -> None:
    found = [model("a", "new"), model("b", "old"), model("c", "new")]
    assert {group: [each.job_id for each in models] for group, models in groups(found).items()} == {
        "new": ["a", "c"],
        "old": ["b"],
    }
