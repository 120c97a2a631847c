"""The store against a model of it, over random sequences of its operations."""

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from models.store.database import Database
from tests.chaos.fault_log import FaultLog, Tally
from tests.chaos.store_state_machine import Score, StoreMachine


def test_the_store_behaves_as_a_simple_model(
    database: Database, tally: Tally, fault_log: FaultLog, full: bool
) -> None:
    score = Score()

    @seed(fault_log.seed)
    def machine() -> StoreMachine:
        return StoreMachine(database, score)

    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]  # whatever makes a machine will do
        settings=settings(
            max_examples=1000 if full else 25,
            stateful_step_count=30,
            # A smaller example takes minutes to find: for people, not for continuous integration.
            phases=[Phase.generate, Phase.shrink] if full else [Phase.generate],
            deadline=None,
            database=None,
            print_blob=False,
            # A real database takes its time, and so do many rules.
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    # Every step was compared: what differs has failed the test.
    tally.faults, tally.jobs = score.stale + score.expired, score.jobs
    assert score.sequences >= (1000 if full else 25)
    assert min(score.stale, score.expired) > 0, "no fault was injected"
