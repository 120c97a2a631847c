"""How to read a report's numbers, and what they cannot say. Pure."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from models.dataset_spec import DatasetSpec
from models.formatting import format_count
from models.statistics import compute_proportion_standard_error
from models.store.tables import Job, Result

_SAME_RULER = (
    "Losses are cross-entropy in nats without any penalty, accuracies are measured with random layers off, "
    "so that every variant is measured with the same ruler."
)

_INTERVALS = (
    "Intervals of means, and of differences that are not tested, are 95 % t intervals over seeds, each for "
    "itself; differences are taken within pairs that share a seed. Intervals of tested differences in "
    "verdicts, charts and the table of differences hold for all tests together."
)


def build_notes(
    jobs: Sequence[Job],
    stopping_rule: str | None,
    *,
    deleted: int,
    repeated: int,
    follow_ups: Sequence[str],
    judged: Mapping[str, int],
) -> list[str]:
    """Sentences about measures, intervals, and whatever limits the comparison of these jobs."""
    results = [job.result for job in jobs if job.result is not None]
    notes = [_SAME_RULER, _INTERVALS, *([stopping_rule] if stopping_rule else [])]
    if follow_ups:
        notes.append(
            f"Followed up on fresh seeds by {', '.join(follow_ups)}: what was chosen because of this report "
            "is judged there, in a family of tests of its own."
        )
    # How often each test set has been looked at.
    notes += [
        f"Judged on the test images of {name} so far: {format_count(count, 'model')}. The more models are "
        "chosen among by what they do on these images, the less they say about others."
        for name, count in judged.items()
    ]
    if deleted > 0:
        notes.append(f"Missing because deleted: {format_count(deleted, 'job')} of this experiment.")
    if repeated > 0:
        notes.append(f"Left out: {format_count(repeated, 'job')} with the same variant and seed as another.")
    if results and len(find_datasets(jobs)) == 1:
        (dataset,) = find_datasets(jobs).values()
        rows = dataset.card.test_examples
        mean = fmean(value for result in results if (value := result.test_accuracy) is not None)
        error = 100 * compute_proportion_standard_error(mean, rows)
        notes.append(
            f"The test set has {rows:,} images, so that an accuracy of {100 * mean:.1f} % has a standard "
            f"error of {error:.2f} points as an estimate for unseen digits; more seeds do not lower it."
        )
    if stopped := sum(result.stop_reason == "max_seconds" for result in results):
        notes.append(
            f"Stopped by `training.max_seconds`: {format_count(stopped, 'run')}. How many epochs they had "
            "depends on the machine's speed and load, so that a repetition gives other numbers."
        )
    if len({describe_engine(result) for result in results}) > 1:
        notes.append("The jobs ran on different engines; differences between those are in the numbers too.")
    if len({job.dataset for job in jobs}) > 1:
        notes.append("Accuracies on the test images of different datasets cannot be compared.")
    return notes


def find_datasets(jobs: Sequence[Job]) -> dict[str, DatasetSpec]:
    """The datasets of jobs by their names."""
    return {job.dataset: DatasetSpec.model_validate(job.spec["dataset"]) for job in jobs}


def describe_engine(result: Result) -> str:
    """The libraries, the device and the threads that trained a model."""
    versions = f"TensorFlow {result.tensorflow}, Keras {result.keras}"
    return f"{versions} on {result.device}, threads a job: {result.threads}"
