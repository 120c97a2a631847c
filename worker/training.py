"""Training one job, from specification and examples to an evaluated model."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from models.records import EpochRecord, Progress
from models.spec import JobSpec
from worker.checkpoints import Checkpoint
from worker.datasets import DataSplit
from worker.evaluation import TrainedModel, evaluate_epoch, evaluate_model
from worker.program import ProgramCache
from worker.step_plan import StepPlan, Throughput
from worker.techniques.steps import compute_learning_rate
from worker.techniques.stopping import BestEpoch


class Observer(Protocol):
    """Receives progress. Either method may raise to end the training."""

    def on_chunk_end(self, progress: Progress) -> None:
        """Some steps of an epoch are done; more of its steps follow."""

    def on_epoch_end(
        self, record: EpochRecord, progress: Progress, checkpoint: Callable[[], Checkpoint]
    ) -> None:
        """An epoch is trained and evaluated; `checkpoint` makes what a later `train` can resume from."""


def is_time_up(spec: JobSpec, history: Sequence[EpochRecord]) -> bool:
    """Whether the epochs so far, of all attempts, have taken `training.max_seconds`."""
    limit = spec.training.max_seconds
    return limit is not None and sum(record.seconds for record in history) >= limit


def train(
    spec: JobSpec,
    split: DataSplit,
    observer: Observer,
    *,
    programs: ProgramCache,
    chunk_seconds: float,
    resume_from: Checkpoint | None = None,
) -> TrainedModel:
    """Train and evaluate one model, from its start or from a checkpoint of the same specification.

    Raises:
        TrainingFailed: the weights stopped being finite numbers.
    """
    compilations_before = programs.count_compilations()
    program, examples = programs.get(spec), programs.load_to_device(split.train)
    plan = StepPlan(split.train, spec.training.batch_size)
    compile_seconds = program.compile(examples, plan.batch_sizes)
    start = resume_from or Checkpoint([], [], [])
    history, best_weights = [*start.history], start.best_weights
    best = BestEpoch(spec.regularization.early_stopping, history)
    if resume_from:
        program.restore(start.program)
        program.average.set_epoch(start.epoch)
    epochs, epoch_steps = spec.training.planned_epochs, spec.training.steps_per_epoch or plan.steps
    total_steps = spec.training.steps or plan.steps * epochs
    throughput = Throughput(total_steps, chunk_seconds, steps_done=epoch_steps * len(history))

    def make_checkpoint() -> Checkpoint:
        return Checkpoint([*history], program.get_state(), best_weights)

    while len(history) < epochs and not best.should_stop and not is_time_up(spec, history):
        started, epoch = time.perf_counter(), len(history) + 1
        learning_rate = compute_learning_rate(spec, history)
        program.start_epoch(learning_rate)
        begin, end, trained = len(history) * epoch_steps, min(epoch * epoch_steps, total_steps), 0
        for order, done_before, chunk in plan.iter_chunks(spec.seed, begin, end, throughput):
            chunk_started = time.perf_counter()
            program.run_steps(examples, order, chunk, done_before=done_before)
            throughput.record(chunk.last - chunk.first, time.perf_counter() - chunk_started)
            trained += (chunk.last - chunk.first) * chunk.batch_size
            # on_epoch_end follows the epoch's last chunk at once.
            if done_before + chunk.steps_before + chunk.last < end:
                observer.on_chunk_end(throughput.get_progress(len(history)))
        program.average.update_after_epoch(epoch)
        with program.average.swapped_in():
            record = evaluate_epoch(
                program, split, epoch=epoch, trained=trained, learning_rate=learning_rate, started=started
            )
            if best.update(record) and best.restores_best:
                best_weights = program.get_weights()
        history.append(record)
        observer.on_epoch_end(record, throughput.get_progress(epoch), make_checkpoint)

    if best_weights:
        program.network.set_weights(best_weights)
    else:
        program.average.copy_to_network()
    return evaluate_model(
        spec,
        program,
        split,
        history,
        best,
        compile_seconds=compile_seconds,
        compilations=programs.count_compilations() - compilations_before,
    )
