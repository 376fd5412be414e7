"""No memory, no answer, and a clock that jumps: the job ends, and says what it could not do."""

import datetime
import random
import time
import types
from unittest import mock

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.pipelines import annotate_tracks
from hardmo_jax.pipelines.fit_pieces import FitMemoryError, fit_in_pieces, fit_in_windows
from hardmo_jax.pipelines.runners import job_progress
from hardmo_jax.pipelines.runners.manifest import read_item_states
from tests.pipelines.runners.scripted_jobs import expected_of, run_scripts, write_scripts
from tests.pipelines.runners.scripted_jobs import labels_of as scripted_labels_of
from tests.survive.dancers_seen import dancers_seen, fit_dancers, points_of
from tests.survive.recorded_jobs import Recorded, RunOf, bytes_of, in_one_process, run_recorded
from tests.survive.relations import ROUNDED


def _exhausted():
    return jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.")


@pytest.mark.parametrize("error", [_exhausted(), MemoryError()])
@pytest.mark.parametrize(("count", "most", "room"), [(10, 8, 8), (10, 8, 3), (100, 64, 7), (5, 100, 1), (1, 1, 1)])
def test_batches_are_halved_until_there_is_memory_for_them(count, most, room, error):
    tried, done = [], []

    def fit_some(first, end):
        tried.append(end - first)
        if end - first > room:
            raise error
        return {"pose": jax.numpy.arange(first, end), "frames": np.arange(first, end)[:, None]}

    result = fit_in_pieces(count, most, fit_some, done.append)
    np.testing.assert_array_equal(result["pose"], np.arange(count))
    assert result["frames"].shape == (count, 1)
    assert done == sorted(set(done))
    assert done[-1] == count
    # What was too much is not tried again.
    assert sum(size > room for size in tried) <= 7


def test_one_person_who_does_not_fit_is_told_of():
    def fit_some(first, end):
        raise _exhausted()

    with pytest.raises(FitMemoryError, match="not enough memory to fit one person; end other"):
        fit_in_pieces(9, 4, fit_some)


@pytest.mark.parametrize("error", [_exhausted(), MemoryError()])
@pytest.mark.parametrize(("asked", "room", "tried"), [(64, 64, [64]), (64, 20, [64, 32, 16]), (20, 8, [20, 10, 8])])
def test_windows_of_a_track_are_halved_until_there_is_memory_for_them(asked, room, tried, error):
    seen = []

    def fit_track(options):
        seen.append(options.window_frames)
        if options.window_frames > room:
            raise error
        return "fitted"

    fitted, options = fit_in_windows(MotionOptions(window_frames=asked, overlap_frames=asked // 4), fit_track)
    assert fitted == "fitted"
    assert seen == tried
    assert options.window_frames == tried[-1]


def test_a_window_that_never_fits_is_told_of():
    def fit_track(options):
        raise _exhausted()

    with pytest.raises(FitMemoryError, match="not enough memory to fit 8 frames of one person together; end other"):
        fit_in_windows(MotionOptions(), fit_track)


def test_other_errors_of_a_track_are_not_taken_for_it():
    def fit_track(options):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        fit_in_windows(MotionOptions(), fit_track)


@pytest.mark.slow
@pytest.mark.survive
def test_tracks_are_fitted_in_the_memory_that_there_is(promise):
    """Fits of a video: over time in shorter windows, and frame by frame in smaller batches."""
    body = hm.open_body()
    people = [one for one in dancers_seen(body) if one.picture.position < 16 and one.track_id == 0]
    real_motion, real_alone = annotate_tracks.recover_motion, annotate_tracks.lift_and_fit
    tried = []

    def motion_in(room):
        def recover_motion(*arguments, motion_options, **options):
            tried.append(motion_options.window_frames)
            if motion_options.window_frames > room:
                raise _exhausted()
            return real_motion(*arguments, motion_options=motion_options, **options)

        return mock.patch.object(annotate_tracks, "recover_motion", recover_motion)

    def alone_in(room):
        def lift_and_fit(body, observations, **options):
            tried.append(observations.batch_shape[0])
            if observations.batch_shape[0] > room:
                raise _exhausted()
            return real_alone(body, observations, **options)

        return mock.patch.object(annotate_tracks, "lift_and_fit", lift_and_fit)

    with promise("memory that runs out while a video is fitted") as row:
        with motion_in(8):
            halved = fit_dancers(body, people, window_frames=32)
        row.tried(None if tried == [32, 16, 8] else f"windows of {tried} frames were tried")
        said = [warning for warning in halved.warnings if "memory did not suffice" in warning]
        row.tried(None if len(said) == 1 else "nobody is told of shorter windows")
        asked = fit_dancers(body, people, window_frames=8)
        row.tried(None if _apart(halved, asked) == 0 else "the fit is not that of windows that are asked for")
        with motion_in(4):
            try:
                fit_dancers(body, people)
                row.tried("a track was fitted without memory")
            except FitMemoryError:
                row.tried(None)
        tried.clear()
        with alone_in(5):
            halved = fit_dancers(body, people, frames_per_second=2.0)
        row.tried(None if tried[:3] == [16, 8, 4] and set(tried[3:]) <= {4} else f"batches of {tried} were tried")
        apart = _apart(halved, fit_dancers(body, people, frames_per_second=2.0))
        row.tried(None if apart <= ROUNDED else f"labels depend on the size of batches: {1000 * apart:.3f} mm")


def _apart(one, other):
    ours, theirs = points_of(one), points_of(other)
    return max(np.nanmax(np.linalg.norm(points - theirs[key], axis=-1)) for key, points in ours.items())


def test_other_errors_of_the_device_are_not_taken_for_it():
    def fit_some(first, end):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        fit_in_pieces(9, 4, fit_some)


def test_a_clock_that_jumps_changes_no_label(tmp_path, promise, one_thread):
    recorded = Recorded.make(tmp_path / "inputs", [[1, 1], [2]])
    assert recorded.packed
    drawn = random.Random(0)

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(drawn.uniform(0, 4e9), tz)

    with promise("a clock that jumps to and fro") as row:
        stores = []
        for clock in (lambda: 0.0, lambda: drawn.uniform(-1e9, 1e10), time.monotonic):
            output = tmp_path / f"job_{len(stores)}"
            with (
                in_one_process(recorded, RunOf()),
                mock.patch.object(time, "time", clock),
                mock.patch.object(job_progress, "datetime", types.SimpleNamespace(datetime=Jumping, UTC=datetime.UTC)),
            ):
                outcome = run_recorded(recorded, output)
            row.tried(None if outcome.num_left == 0 and outcome.failures == () else "the job did not end well")
            row.tried(None if 0 <= outcome.progress.elapsed_seconds < 600 else "time ran backwards")
            stores.append(bytes_of(output))
        row.tried(None if stores[0] == stores[1] == stores[2] else "labels depend on the clock")


@pytest.mark.slow
@pytest.mark.survive
def test_processes_that_hang_die_and_run_out_of_memory(tmp_path, promise):
    paths = write_scripts(
        tmp_path / "clips",
        {"hang_at": 1, "once": str(tmp_path / "hung")}, {"hang_at": 0}, {"die_at": 1, "once": str(tmp_path / "died")},
        {"die_at": 0}, {"label": "die"}, {"label": "die", "once": str(tmp_path / "label_died")}, {"label": "fail"},
        {"fail_at": 1}, {}, {"takes": [3, 1, 2]},
    )  # fmt: skip
    with promise("processes that hang, die or fail") as row:
        start = time.monotonic()
        # A process that has said nothing yet may load what it needs, on a machine that is busy with something else.
        outcome = run_scripts(paths, tmp_path / "job", stall_seconds=5.0)
        row.tried(None if time.monotonic() - start < 300 else "it took minutes")
        row.tried(None if outcome.num_left == 0 else f"{outcome.num_left} are left")
        causes = {
            "clip_001.mp4": "nothing said for 5 s", "clip_003.mp4": "ended with status 9",
            "clip_004.mp4": "ended with status 3", "clip_006.mp4": "nobody can be fitted",
            "clip_007.mp4": "no video at all",
        }  # fmt: skip
        told = dict(outcome.failures)
        row.tried(None if told.keys() == causes.keys() else f"failures are {sorted(told)}")
        for name, cause in causes.items():
            row.tried(None if cause in told.get(name, "") else f"{name}: {told.get(name)}")
        whole = [paths[number] for number in (0, 2, 5, 8, 9)]
        labels = [label for label in scripted_labels_of(tmp_path / "job") if label[0] not in causes]
        row.tried(None if labels == expected_of(whole) else "labels of others are missing")
        states = read_item_states(tmp_path / "job").values()
        stages = sorted(state.failure.stage for state in states if state.failure is not None)
        row.tried(None if stages == ["fit", "fit", "look", "look", "look"] else f"stages are {stages}")
