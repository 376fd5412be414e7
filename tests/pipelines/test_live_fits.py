"""Bodies of live video: those who are seen throughout the newest frames, as they stand in the last one."""

import dataclasses
import pathlib
import threading
import time

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.perception.live_address import LiveStreamError
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines import live, live_fits
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.live import LiveOptions
from hardmo_jax.pipelines.live_fits import LiveFits
from hardmo_jax.pipelines.warm_up import somebody_at_rest

COUNT = 8


@pytest.fixture(scope="module")
def body():
    return hm.open_body(view="smplh")


@pytest.fixture(scope="module")
def window(body):
    """Frames of one person, a second number who is there in the first half alone, at 20 frames a second."""
    take = somebody_at_rest(body, COUNT, pathlib.Path("live.mkv"))
    frames = []
    for at, (picture, sighting) in enumerate(zip(take.pictures, take.sightings, strict=True)):
        shown = dataclasses.replace(picture, time_seconds=at / 20, frame_index=3 * at)
        people = [dataclasses.replace(sighting, picture=shown)]
        if at < COUNT // 2:
            people.append(dataclasses.replace(people[0], track_id=1, keypoints_2d=people[0].keypoints_2d + 50))
        frames.append((shown, people))
    return frames


def test_who_is_there_from_first_to_last_has_a_body_in_the_last_frame(body, window):
    told, is_told = [], threading.Event()

    def fitted(rows, came_at):
        told.append((rows, came_at))
        is_told.set()

    fits = LiveFits(body, AnnotateOptions(), COUNT, fitted)
    fits.start()
    for number, (picture, people) in enumerate(window):
        assert not told, "nothing before there are enough frames"
        fits.offer(picture, people, float(number))
    assert is_told.wait(240)
    fits.stop()
    assert not fits.warnings
    ((row,), came_at) = told[0]
    assert came_at == COUNT - 1
    assert (row["kind"], row["frame"], row["track_id"]) == ("smpl", 3 * (COUNT - 1), 0)
    assert row["status"] in ("CONVERGED", "MAX_STEPS", "NO_BETTER")
    assert np.shape(row["body_pose"]) == (21, 3)
    # The body at rest, 4 m away, of which depth is the least sure.
    np.testing.assert_allclose(row["transl"], [0, 0, 4], atol=0.6)
    np.testing.assert_allclose(row["transl"][:2], [0, 0], atol=0.1)


def test_what_goes_wrong_is_told_once_and_does_not_end_it(body, window, monkeypatch):
    fits = LiveFits(body, AnnotateOptions(), COUNT, lambda rows, came_at: None)

    def fail(*_):
        raise ValueError("no\nbody")

    monkeypatch.setattr(fits, "_fit", fail)
    monkeypatch.setattr(live_fits, "_REST", 0.0)
    fits.start()
    for picture, people in [*window, window[-1]]:
        fits.offer(picture, people, 0.0)
        time.sleep(0.05)
    fits.stop()
    assert fits.warnings == ["bodies of some frames could not be fitted live: no body"]


def test_live_people_are_looked_for_by_fewer_looks_and_files_are_refused():
    options = live.live_perception(PerceptionOptions(detector="blazepose", hands=False, detect_every=40))
    assert (options.extra_looks, options.tiles, options.turned) == (0, (), "never")
    assert (options.hands, options.detect_every, options.detector) == (False, 40, "blazepose")
    with pytest.raises(LiveStreamError, match="cannot come from files"):
        live.live_perception(PerceptionOptions(detector="files", keypoints_file="a.json"))


@pytest.mark.parametrize("wrong", [{"window_frames": 2}, {"window_frames": 5000}, {"stall_seconds": 0.0}])
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(LiveStreamError):
        LiveOptions(**wrong)
