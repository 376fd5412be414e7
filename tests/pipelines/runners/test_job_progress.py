import json

import numpy as np
import pytest

from hardmo_jax.pipelines.runners.job_progress import (
    FrameCount,
    Heartbeat,
    JobProgress,
    RateOfRun,
    UsualCost,
    last_progress,
)


def test_frames_of_inputs_that_nobody_opened_follow_from_their_size():
    count = FrameCount()
    for number in range(4):
        count.add(f"v{number}", ".mp4", 1000 * (number + 1))
    count.add("gif", ".gif", 500)
    assert count.expected is None
    count.know("v0", 20)
    # 20 frames a 1,000 bytes, for the others as for a kind that is not known.
    assert count.expected == 20 + 40 + 60 + 80 + 10
    count.know("gif", 100)
    count.know("v3", 200)
    assert count.expected == 20 + 200 + 100 + (2000 + 3000) * 220 / 5000
    count.drop("v1")
    assert count.expected == 20 + 200 + 100 + 3000 * 220 / 5000
    count.know("v2", None)
    assert count.expected == 20 + 200 + 100 + 132
    count.know("v3", 150)
    assert count.expected == 20 + 150 + 100 + 132


@pytest.mark.parametrize("seed", range(5))
def test_time_left_is_right_within_a_fifth_after_a_tenth_of_a_job(seed):
    """A job of inputs of unlike length and cost, of which nobody knows more than their sizes."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(50, 400, 60)
    sizes = (frames * rng.uniform(8000, 12_000, 60)).astype(int)
    costs = np.repeat(rng.uniform(0.15, 0.25, 60), frames)
    starts = 5.0 + np.concatenate([[0.0], np.cumsum(costs)])
    now = [0.0]
    rate, count = RateOfRun(lambda: now[0]), FrameCount()
    for number, size in enumerate(sizes):
        count.add(str(number), ".mp4", int(size))
    ends = np.cumsum(frames)
    opened = 0
    for moment in np.arange(0.0, starts[-1], 4.0):
        now[0] = moment
        done = max(int(np.searchsorted(starts, moment, side="right")) - 1, 0)
        while opened < 60 and (opened == 0 or ends[opened - 1] <= done):
            count.know(str(opened), int(frames[opened]))
            opened += 1
        rate.step(done)
        if done >= 0.1 * ends[-1]:
            told = rate.seconds_for(count.expected - done)
            left = starts[-1] - moment
            # The last input may cost what it likes.
            assert abs(told - left) <= 0.2 * max(left, 0.05 * starts[-1])


def test_what_earlier_runs_did_and_the_loading_of_models_do_not_count():
    now = [0.0]
    rate = RateOfRun(lambda: now[0])
    for moment, done in ((0.0, 500), (30.0, 500), (40.0, 520), (50.0, 540)):
        now[0] = moment
        rate.step(done)
    assert rate.per_second == pytest.approx(2.0)
    assert rate.seconds_for(100) == pytest.approx(50.0)
    now[0] = 60.0
    assert rate.seconds_for(100) == pytest.approx(40.0)


def test_programs_that_the_first_takes_load_are_no_usual_cost():
    cost = UsualCost()
    assert cost.per_frame is None
    cost.add(0, 3.0)
    assert cost.per_frame is None
    cost.add(30, 30.0)
    assert cost.per_frame == pytest.approx(1.0)
    # One take more tells that the first was an exception; by frames, not by takes.
    cost.add(30, 3.0)
    assert cost.per_frame == pytest.approx(0.1)
    cost.add(100, 50.0)
    assert cost.per_frame == pytest.approx(0.5)


def _progress(**changes):
    fields = {
        "state": "running", "elapsed_seconds": 1.23456, "num_items": 2, "num_done": 1, "num_failed": 0,
        "num_in_hand": 1, "frames_looked": 5, "frames_labelled": 4, "frames_expected": None, "frames_of_run": 4,
        "num_labels": 3, "looked_per_second": None, "labelled_per_second": 2.0, "seconds_left": None,
        "stage_seconds": {"fit": 1.0}, "takes_waiting": 0, "memory_bytes": None,
    }  # fmt: skip
    return JobProgress(**(fields | changes))


def test_a_line_is_written_every_so_often_whatever_happens(tmp_path):
    path = tmp_path / "progress.jsonl"
    told = []
    import time

    with Heartbeat(path, _progress, told.append, every_seconds=0.05):
        time.sleep(0.5)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert 4 <= len(lines) == len(told)
    assert lines[0]["stage_seconds"] == {"fit": 1.0}
    assert lines[0]["elapsed_seconds"] == 1.235


def test_the_last_whole_line_is_what_counts(tmp_path):
    path = tmp_path / "progress.jsonl"
    assert last_progress(path) is None
    path.write_bytes(b'{"state": "running"}\n{"state": "do')
    assert last_progress(path) == {"state": "running"}
    path.write_bytes(b'{"state": "running"}\nnonsense\n')
    assert last_progress(path) == {"state": "running"}
