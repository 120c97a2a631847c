"""The comparison and its renderers, on rows that are in no database."""

import csv
import io
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from statistics import mean, stdev
from typing import Any

import pytest

from api.reports import charts, csv_table, formatting, grouping, html, markdown
from api.reports.charts import CHARTS
from api.reports.comparison import JobGroups, compare
from api.reports.curves import build_curves, downsample
from api.reports.schemas import Comparison
from models.experiments import ExperimentSpec, Regime
from models.inference import Plan
from models.settings import Settings
from models.states import JobState
from models.store.report_data import EpochSummary, Spread
from models.store.tables import Experiment, Job, Result
from tests.factories import EVERY_TECHNIQUE_TOGETHER, job_spec, result_record

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Value = float | str | None


def job(variant: str, seed: int, accuracy: Value, *, loss: float = 0.1, **changes: Any) -> Job:
    """A finished job with that test accuracy; with a state instead of an accuracy, one without a result."""
    spec = job_spec(seed=seed, **changes)
    state = JobState.SUCCEEDED if isinstance(accuracy, float) else JobState(str(accuracy))
    job_id = f"job_{variant}_{seed}".replace(" ", "-")
    result = None
    if isinstance(accuracy, float):
        record = result_record(test_accuracy=accuracy, test_loss=loss)
        result = Result(job_id=job_id, **asdict(record))
    return Job(
        id=job_id,
        variant=variant,
        seed=seed,
        spec=spec.model_dump(mode="json"),
        dataset=spec.dataset.name,
        state=state,
        result=result,
        epochs=2,
        epochs_done=1,
        error_code="diverged" if state is JobState.FAILED else None,
        error_message="the loss is NaN" if state is JobState.FAILED else None,
        created_at=NOW + timedelta(seconds=seed),
    )


def compared(variants: dict[str, list[Job]], *, baseline: str = "a", expected: int = 0) -> Comparison:
    jobs = [job for group in variants.values() for job in group]
    epochs = {
        name: [summary(number, [0.4 / number] * len(done)) for number in (1, 2) if done]
        for name, group in variants.items()
        for done in [[job for job in group if job.result]]
    }
    complete = all(each.state.terminal for each in jobs)
    plan = Plan(Regime.FIXED if complete else Regime.INTERIM)
    subject = JobGroups(
        "title", "exp_1", baseline, variants, expected or len(jobs), plan, complete, repeat="curl again"
    )
    return compare(subject, epochs, {"a": 1}, now=NOW, version="0.0")


def summary(epoch: int, losses: Sequence[float]) -> EpochSummary:
    """An epoch of jobs with these losses, whether of training or validation."""
    measured = Spread(len(losses), mean(losses), stdev(losses) if len(losses) > 1 else None)
    return EpochSummary(epoch, measured, measured, measured, measured, measured)


def pairs(accuracies: Sequence[tuple[float, float]]) -> Comparison:
    return compared(
        {
            "a": [job("a", seed, first) for seed, (first, _) in enumerate(accuracies)],
            "b": [job("b", seed, second) for seed, (_, second) in enumerate(accuracies)],
        }
    )


def test_the_unit_of_replication_is_the_seed_whose_parts_are_averaged() -> None:
    def run(variant: str, seed: int, part: int, accuracy: float) -> Job:
        dataset = {"name": "mnist_5k", "part": {"of": 2, "index": part}}
        return job(variant, seed, accuracy, dataset=dataset)

    comparison = compared(
        {
            "a": [run("a", seed, part, 0.8 + 0.01 * part) for seed in range(3) for part in range(2)],
            "b": [run("b", seed, part, 0.9 + 0.02 * seed) for seed in range(3) for part in range(2)],
        }
    )
    variant, contrast = comparison.variants[1], comparison.contrasts[0]
    assert (variant.n, [(run.seed, run.part) for run in variant.seeds][:3]) == (3, [(0, 0), (0, 1), (1, 0)])
    assert variant.metrics is not None
    assert (variant.metrics.test_accuracy.n, variant.metrics.test_accuracy.sd) == (3, pytest.approx(0.02))
    assert contrast.differences is not None
    difference = contrast.differences.test_accuracy_points
    assert (difference.n, difference.mean, difference.sd) == (3, pytest.approx(11.5), pytest.approx(2.0))
    assert (contrast.seeds, contrast.accuracy_on_new_images) == ([0, 1, 2], None)


def test_runs_are_paired_by_seed_and_not_by_position() -> None:
    comparison = compared(
        {
            "a": [job("a", 0, 0.90), job("a", 1, "failed"), job("a", 2, 0.92)],
            "b": [job("b", 2, 0.95), job("b", 1, 0.50), job("b", 0, 0.91)],
        }
    )
    (contrast,) = comparison.contrasts
    assert contrast.seeds == [0, 2]
    assert contrast.differences is not None
    assert contrast.differences.test_accuracy_points.mean == pytest.approx(2.0)
    assert contrast.differences.test_accuracy_points.n == 2


def test_missing_jobs_are_reported() -> None:
    comparison = compared(
        {
            "a": [job("a", 0, 0.9), job("a", 1, "failed")],
            "b": [job("b", 0, "running"), job("b", 1, "queued")],
        },
        expected=5,
    )
    assert not comparison.complete
    assert (comparison.finished, comparison.jobs) == (1, 5)
    assert [
        (missing.variant, missing.seed, missing.state, missing.reason) for missing in comparison.missing
    ] == [
        ("a", 1, "failed", "the loss is NaN"),
        ("b", 0, "running", "1 of 2 epochs done"),
        ("b", 1, "queued", "1 of 2 epochs done"),
    ]
    first, second = comparison.variants
    assert (first.n, first.failed_seeds, first.unfinished_seeds) == (1, [1], [])
    assert (second.n, second.metrics, second.line, second.unfinished_seeds) == (0, None, None, [0, 1])
    assert "nothing can be said" in comparison.contrasts[0].verdict
    assert "Missing because deleted: 1 job of this experiment." in comparison.notes


def test_one_seed_shows_what_happened_and_no_more() -> None:
    comparison = pairs([(0.90, 0.92)])
    metrics = comparison.variants[0].metrics
    assert metrics is not None
    assert (metrics.test_accuracy.mean, metrics.test_accuracy.sd, metrics.test_accuracy.low) == (
        0.90,
        None,
        None,
    )
    verdict = comparison.contrasts[0].verdict
    assert verdict.startswith("Test accuracy +2.00 points, test loss 0.0000 nats")
    assert verdict.endswith("One pair: this shows what happened, not what would happen again.")


def test_a_repeated_seed_counts_once_with_its_result() -> None:
    retried = job("a", 0, 0.9)
    retried.id = "job_retry"
    comparison = compared({"a": [job("a", 0, "failed"), retried], "b": [job("b", 0, 0.8)]}, expected=2)
    assert [run.job_id for run in comparison.variants[0].seeds] == ["job_retry"]
    assert comparison.complete
    assert comparison.missing == []
    assert "Left out: 1 job with the same variant and seed as another." in comparison.notes


def test_repeated_jobs_are_not_reported_as_deleted() -> None:
    first, again = job("x", 0, 0.9), job("x", 0, 0.9)
    again.id = "job_again"
    subject = grouping.group_jobs([first, again], settings=Settings(), base_url="")
    comparison = compare(subject, {name: [] for name in subject.variants}, {}, now=NOW, version="0.0")
    assert (comparison.complete, comparison.finished, comparison.jobs) == (True, 1, 1)
    assert not [note for note in comparison.notes if "deleted" in note]


def test_the_order_of_variants_changes_no_number() -> None:
    variants = {
        name: [job(name, seed, 0.9 + 0.01 * number * seed) for seed in range(6)]
        for number, name in enumerate("abc")
    }
    forwards = {contrast.variant: contrast for contrast in compared(variants).contrasts}
    backwards = {
        contrast.variant: contrast for contrast in compared(dict(reversed(variants.items()))).contrasts
    }
    assert forwards == backwards


def test_markdown_keeps_the_seeds_line_and_aligned_tables() -> None:
    text = markdown.render(
        compared(
            {
                "without Dropout": [job("without Dropout", 0, 0.9798, loss=0.11016)],
                "with Dropout": [job("with Dropout", 0, 0.9801, loss=0.0741)],
            },
            baseline="without Dropout",
        )
    )
    lines = [line.rstrip() for line in text.splitlines()]
    assert "Model without Dropout - Test Loss: 0.1102, Test Accuracy: 0.9798" in lines
    assert "Model with Dropout - Test Loss: 0.0741, Test Accuracy: 0.9801" in lines
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 6
    assert all(len({len(line) for line in table.splitlines()}) == 1 for table in tables)
    assert "    curl again" in lines


def test_markdown_shows_names_unchanged() -> None:
    text = markdown.render(
        compared({"*a* `b` _c_ proximal_l1": [job("a", 0, 0.9)]}, baseline="*a* `b` _c_ proximal_l1")
    )
    assert r"\*a\* \`b\` \_c\_ proximal_l1" in text


HOSTILE = '<script>alert("x")</script> & ](javascript:1) | =1+1'


def test_names_cannot_break_out_of_any_format() -> None:
    comparison = compared({HOSTILE: [job(HOSTILE, 0, 0.9)], "=b": [job("=b", 0, 0.9)]}, baseline=HOSTILE)
    page = html.render(comparison)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    text = markdown.render(comparison)
    assert "<script" not in text
    assert "](javascript" not in text
    rows = list(csv.DictReader(io.StringIO(csv_table.render(comparison))))
    assert [row["variant"] for row in rows] == [HOSTILE, "'=b"]


def test_html_is_self_contained_and_has_every_chart() -> None:
    page = html.render(pairs([(0.90, 0.92), (0.91, 0.94)]))
    # Links lead to other parts of the page only; the addresses are names of XML's own.
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    assert "<script" not in page
    assert "Model a - Test Loss: 0.1000, Test Accuracy: 0.9050" in page
    # All but those of damaged images, parts, ensembles and tuning, of which there is nothing here.
    absent = {"robustness", "bias-variance", "ensembles", "expected-best", "tuned-parameters", "trials"}
    assert absent < CHARTS.keys()
    drawn = [name for name, chart in CHARTS.items() if not chart.axes and name not in absent]
    assert page.count("<svg ") == len(drawn)
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    targets = set(re.findall(r'href="#([^"]*)"', page))
    assert targets <= set(ids)
    assert {target.partition("-")[0] for target in targets} & {"contrast", "variant", "network"}


def test_only_charts_with_data_are_shown() -> None:
    comparison = compared({"a": [job("a", 0, "queued")], "b": []}, expected=2)
    assert [name for name in CHARTS if charts.render(comparison, name, "svg")] == []
    assert "<svg" not in html.render(comparison)


def test_a_report_without_results_is_readable() -> None:
    comparison = compared({"a": [job("a", 0, "queued")], "b": []}, expected=2)
    assert "Partial: 0 of 2 jobs have finished." in html.render(comparison)
    assert "Partial: 0 of 2 jobs have finished." in markdown.render(comparison)
    rows = list(csv.DictReader(io.StringIO(csv_table.render(comparison))))
    assert [(row["state"], row["test_accuracy"]) for row in rows] == [("queued", "")]


def test_a_report_whose_jobs_have_all_ended_announces_no_more_results() -> None:
    comparison = compared({"a": [job("a", 0, "cancelled")], "b": [job("b", 0, "failed")]})
    assert (
        formatting.describe_progress(comparison)
        == "0 of 2 jobs have a result; the others will not have one (1 cancelled, 1 failed)."
    )


def test_seeds_in_a_row_are_a_range() -> None:
    assert formatting.format_ranges([0, 1, 2, 3, 7, 9, 10]) == "0-3, 7, 9-10"
    assert formatting.format_ranges([]) == ""


def test_confounders_and_reused_jobs_are_reported() -> None:
    comparison = compared({"a": [job("a", 0, 0.9)], "b": [job("b", 0, 0.9, training={"epochs": 7})]})
    variants = [
        variant.model_copy(
            update={"seeds": [seed.model_copy(update={"reused": True}) for seed in variant.seeds]}
        )
        for variant in comparison.variants
    ]
    text = markdown.render(comparison.model_copy(update={"variants": variants}))
    assert "b differs from the baseline in /training/epochs: 7 instead of 1." in text
    assert "a, seed 0: trained before, and reused" in text


def test_jobs_that_differ_in_their_seed_only_are_one_variant() -> None:
    jobs = [
        job("x", 0, 0.9, name="one", labels={"a": "b"}),
        job("y", 1, 0.9),
        job("x", 0, 0.9, regularization={"dropout": {"rate": 0.3}}),
        job("x", 0, 0.9, training={"batch_size": 64}),
    ]
    subject = grouping.group_jobs(jobs, settings=Settings(), base_url="http://host")
    assert {name: len(group) for name, group in subject.variants.items()} == {
        "none, batch size 32": 2,
        "Dropout 0.3, batch size 32": 1,
        "none, batch size 64": 1,
    }
    assert subject.baseline == "none, batch size 32"
    own = [job("plain", 0, 0.9), job("L2", 0, 0.9, regularization={"l2": {}})]
    assert list(grouping.group_jobs(own, settings=Settings(), base_url="http://host").variants) == [
        "plain",
        "L2",
    ]


def test_f8_long_names_are_shortened_and_numbered_where_they_begin_alike() -> None:
    techniques: dict[str, Any] = {name: {} for name in EVERY_TECHNIQUE_TOGETHER}
    jobs = [
        job("x", 0, 0.9, regularization=techniques | {"early_stopping": {"patience": patience}})
        for patience in (5, 6)
    ]
    one, other = grouping.group_jobs(jobs, settings=Settings(), base_url="").variants
    assert (one, other) == (f"{one[:94]} (1)", f"{one[:94]} (2)")
    assert one[:94].endswith(" ...")


def test_the_repeat_command_survives_shell_quoting() -> None:
    document = ExperimentSpec.model_validate(
        {"name": "it's; rm", "variants": [{"name": "a"}], "seeds": [4]}
    ).resolve_seeds()
    row = Experiment(id="exp_1", name="x", document=document.model_dump(mode="json"), created_at=NOW)
    parts = shlex.split(
        grouping.group_experiment(row, [], settings=Settings(), base_url="http://host/").repeat
    )
    assert parts[2] == "http://host/v1/experiments"
    assert ExperimentSpec.model_validate_json(parts[-1]) == document
    again = grouping.group_jobs(
        [job("x", 5, 0.9, training={"epochs": 3})], settings=Settings(), base_url="http://host"
    )
    repeated = ExperimentSpec.model_validate_json(shlex.split(again.repeat)[-1])
    ((_, spec),) = repeated.build_runs()
    assert (spec.seed, spec.training.epochs, spec.model.hidden_units) == (5, 3, (16,))


def test_curves_have_bands_and_a_bounded_number_of_points() -> None:
    epochs = [summary(number, [1.0, 2.0] if number < 401 else [1.0]) for number in range(1, 501)]
    (curve,) = build_curves("exp_1", {"a": epochs}, max_points=50).items
    assert len(curve.train_loss) == 50
    first, last = curve.train_loss[0], curve.train_loss[-1]
    assert (first.epoch, first.n, first.mean) == (1, 2, 1.5)
    assert (first.low, first.high) == (pytest.approx(1.5 - 0.5**0.5), pytest.approx(1.5 + 0.5**0.5))
    assert (last.epoch, last.n, last.mean, last.low) == (500, 1, 1.0, None)
    assert downsample([1, 2, 3], 3) == [1, 2, 3]
    assert downsample(list(range(1, 1001)), 2) == [1, 1000]


def test_a_comparison_is_json_without_nan() -> None:
    text = pairs([(0.9, 0.9), (0.9, 0.9)]).model_dump_json()
    assert json.loads(text, parse_constant=pytest.fail)["contrasts"][0]["variant"] == "b"


def test_a_variant_shows_its_onset_of_overfitting() -> None:
    first, second = pairs([(0.9, 0.9), (0.9, 0.9)]).variants
    assert (first.overfitting_onset_epoch, second.overfitting_onset_epoch) == (1, None)


def test_a_variant_shows_its_confusion_and_diagnostics() -> None:
    variant = pairs([(0.9, 0.9), (0.9, 0.9)]).variants[0]
    assert variant.confusion is not None
    assert (variant.confusion[3][3], variant.confusion[3][5], variant.confusion[0][0]) == (14, 6, 20)
    assert variant.diagnostics is not None
    assert (variant.diagnostics.seed, variant.diagnostics.first_layer_side) == (0, 3)
    assert [bin_.n for bin_ in variant.diagnostics.calibration] == [50, 50]
