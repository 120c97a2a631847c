"""The states of a job: transitions lead to known states, and terminal states have none."""

from models.states import TRANSITIONS, JobState, can_follow

TERMINAL = {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_terminal_states_never_change() -> None:
    assert {state for state in JobState if state.terminal} == TERMINAL
    for state in TERMINAL:
        assert not any(can_follow(state, after) for after in JobState)


def test_every_state_can_be_reached_from_queued_and_can_end() -> None:
    reached = {JobState.QUEUED}
    while wider := {after for state in reached for after in TRANSITIONS[state]} - reached:
        reached |= wider
    assert reached == set(JobState)
    for state in set(JobState) - TERMINAL:
        assert can_follow(state, JobState.CANCELLED)


def test_only_a_running_job_succeeds_or_fails() -> None:
    for after in (JobState.SUCCEEDED, JobState.FAILED):
        assert [before for before in JobState if can_follow(before, after)] == [JobState.RUNNING]
