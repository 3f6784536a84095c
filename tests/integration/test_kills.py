"""A run that is killed at any moment leaves complete files, and goes on to the bits of one that was not."""

import pytest
from kills import KillRuns


@pytest.mark.slow
def test_killed_runs_leave_complete_files_and_resume_exactly(tmp_path) -> None:
    kills = list(KillRuns(tmp_path / "kills", seed=1, num_images=20).run(["validation", "checkpoint"]))
    assert [kill.phase for kill in kills] == ["validation", "checkpoint"]
    assert [kill.torn for kill in kills] == [[], []]
    assert [kill.different for kill in kills] == [[], []]
