"""An experiment's jobs as a table, and the models that the playground selects."""

from dataclasses import replace
from typing import Any

from api.dashboard.jobs import summarize
from api.dashboard.playground import Model, choose_pair, group_models
from api.dashboard.run_table import build_run_table
from models.run_key import describe_point
from models.states import JobState
from models.store.experiment_runs import RunSummary
from tests.factories import job_spec


def make_run(variant: str = "none", seed: int = 0, **changes: Any) -> RunSummary:
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
        "validation_loss": 0.3,
    }
    return RunSummary(variant, seed, **(values | changes))


def make_unfinished_run(variant: str, seed: int, state: JobState, **changes: Any) -> RunSummary:
    return make_run(variant, seed, state=state, test_accuracy=None, test_loss=None, **changes)


def test_rows_are_variants_in_their_order_and_columns_are_seeds() -> None:
    table = build_run_table(
        [make_run("b", 7), make_run("a", 10), make_run("b", 10, test_accuracy=0.95)], ["b", "a"], baseline="a"
    )
    assert table.seeds == (7, 10)
    assert [(row.variant, row.is_baseline, row.mean) for row in table.rows] == [
        ("b", False, "95.00 (1)"),
        ("a", True, "90.00 (1)"),
    ]
    assert [cell and cell.text for row in table.rows for cell in row.cells] == [
        "90.00",
        "95.00",
        None,
        "90.00",
    ]


def test_means_are_over_the_seeds_that_all_variants_with_results_have() -> None:
    runs = [
        *(make_run("a", seed, test_accuracy=0.9 + 0.02 * seed) for seed in range(3)),
        *(make_run("b", seed, test_accuracy=0.8 + 0.02 * seed) for seed in range(2)),
        make_unfinished_run("b", 2, JobState.RUNNING),
        *(make_unfinished_run("c", seed, JobState.FAILED) for seed in range(3)),
    ]
    table = build_run_table(runs, ["a", "b", "c"], baseline="a")
    assert [row.mean for row in table.rows] == ["91.00 (2)", "81.00 (2)", None]
    finished = build_run_table([run for run in runs if run.variant == "a"], ["a"], baseline="a")
    assert finished.rows[0].mean == "92.00"


def test_a_model_at_chance_level_is_flagged_in_words() -> None:
    run = make_run("a", test_accuracy=0.1)
    ((cell,),) = (row.cells for row in build_run_table([run], ["a"], baseline="a", chance=[run.job_id]).rows)
    assert cell is not None
    assert cell.flag == "chance"
    assert cell.title.endswith("no better than chance")


def test_states_differ_without_colour() -> None:
    states = [state for state in JobState if state not in (JobState.SUCCEEDED, JobState.RUNNING)]
    table = build_run_table(
        [make_unfinished_run("a", n, state) for n, state in enumerate(states)], ["a"], baseline="a"
    )
    texts = [cell.text for cell in table.rows[0].cells if cell]
    assert len(set(texts)) == len(states)
    assert table.rows[0].mean is None
    running = make_unfinished_run("a", 0, JobState.RUNNING, fraction=0.429, epochs_done=1)
    (cell,) = build_run_table([running], ["a"], baseline="a").rows[0].cells
    assert cell is not None
    assert (cell.text, cell.title) == ("42 %", "a, seed 0: running, epoch 1 of 3")


def test_titles_contain_errors_and_mark_reused_jobs() -> None:
    failed = make_unfinished_run("a", 0, JobState.FAILED, error="It broke.")
    table = build_run_table([failed, make_run("a", 1, reused=True)], ["a"], baseline="a")
    assert [cell.title for cell in table.rows[0].cells if cell] == [
        "a, seed 0: failed: It broke.",
        "a, seed 1: test accuracy 90.00 %, test loss 0.3000, trained before",
    ]


def make_model(
    name: str,
    group: str,
    *,
    regularized: bool = False,
    chosen: bool = False,
    seed: int = 0,
    dataset: str = "mnist",
) -> Model:
    return Model(
        name, name, group, "", "", regularized=regularized, chosen=chosen, seed=seed, dataset=dataset
    )


def test_a_pair_shares_experiment_and_seed_if_possible() -> None:
    without_experiment, other = (
        make_model("without experiment", "Jobs without an experiment"),
        make_model("other", "one", seed=1),
    )
    plain, dropout = make_model("plain", "one"), make_model("dropout", "one", regularized=True)
    assert choose_pair([without_experiment, other, dropout, plain]) == (plain, dropout)
    assert choose_pair([without_experiment, other, dropout]) == (other, dropout)
    assert choose_pair([without_experiment, dropout]) == (without_experiment, dropout)
    unrelated = make_model("unrelated", "two", dataset="fashion_mnist")
    assert choose_pair([unrelated, dropout]) == (dropout, unrelated)
    assert choose_pair([plain]) == (plain, plain)


def test_of_pairs_with_as_much_in_common_validation_chooses() -> None:
    plain, newest = make_model("plain", "one"), make_model("l1", "one", regularized=True)
    chosen = make_model("l2", "one", regularized=True, chosen=True)
    assert choose_pair([newest, chosen, plain]) == (plain, chosen)
    baseline = replace(make_model("l2", "one", regularized=True), is_baseline=True)
    assert choose_pair([newest, baseline, chosen, plain]) == (baseline, chosen)
    other_seed = make_model("l2", "one", regularized=True, chosen=True, seed=1)
    assert choose_pair([newest, other_seed, plain]) == (plain, newest)


def test_groups_keep_the_order_of_their_newest() -> None:
    models = [make_model("a", "new"), make_model("b", "old"), make_model("c", "new")]
    groups = group_models(models)
    assert list(groups) == ["new", "old"]
    assert [model.job_id for model in groups["new"]] == ["a", "c"]
    assert [model.job_id for model in groups["old"]] == ["b"]


def test_a_jobs_summary_counts_labels_that_stay_right_by_chance() -> None:
    spec = job_spec(dataset={"label_noise": 0.4}).model_dump(mode="json")
    assert ("Training labels", "40.00 % drawn at random, 36.00 % wrong") in summarize(spec)


def test_rows_are_grouped_by_the_points_of_axes_in_their_order() -> None:
    points = ['{"/dataset/train_samples": 250}', '{"/dataset/train_samples": 1000}']
    runs = [
        make_run(variant, point=point, reused=point == points[0])
        for variant in ("none", "l2")
        for point in points
    ]
    table = build_run_table(runs, ["none", "l2"], baseline="none", points=points)
    assert [(group.title, [row.name for row in group.rows]) for group in table.groups] == [
        ("250 training examples", ["none", "l2"]),
        ("1,000 training examples", ["none", "l2"]),
    ]
    cell = table.rows[0].cells[0]
    assert cell is not None
    assert cell.title.startswith("none, 250 training examples, seed 0: test accuracy 90.00 %")
    assert cell.reused
    (group,) = build_run_table(runs, ["none", "l2"], baseline="none", points=points[1:]).groups
    assert group.title == "1,000 training examples"


def test_a_point_is_named_in_words() -> None:
    point = {
        "/dataset/train_samples": None,
        "/model/hidden_units": [512, 64],
        "/training/optimizer/name": "sgd",
        "/regularization/l2/factor": 0.0001,
    }
    assert (
        describe_point(point) == "all training examples, hidden units 512-64, optimizer sgd, L2 factor 0.0001"
    )
    assert describe_point(None) == ""
