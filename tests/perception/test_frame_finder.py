"""Frames that are asked for out of order are those that a video has in order, bit for bit."""

import os
import pathlib

import numpy as np
import pytest

from hardmo_jax.perception import video, video_stream
from hardmo_jax.perception.frame_finder import FrameFinder
from hardmo_jax.perception.photos import MediaError
from tests.perception import made_videos

DATA = pathlib.Path(os.environ.get("HARDMO_DATA", pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"))


def pictures(count, height=48, width=64):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (height, width, 3))
    return [np.roll(noise, 3 * at, axis=1).astype(np.uint8) for at in range(count)]


def varied(count):
    """Times of a video of variable rate."""
    steps = np.random.default_rng(1).integers(1, 5, count) * made_videos.STEP // 2
    return np.concatenate([[0], np.cumsum(steps)[:-1]]).tolist()


def made(folder, kind):
    if kind == "rotated":
        return made_videos.write_rotated(folder / "a.mp4", pictures(140), 90)
    options = {
        "closed": dict(g="12", bf="2"),
        "open": {"g": "30", "bf": "3", "x264-params": "open-gop=1"},
        "one key frame": dict(g="1000", bf="2"),
    }.get(kind, {"g": "25"})
    path = folder / ("a.mkv" if kind == "matroska" else "a.mp4")
    return made_videos.write(path, pictures(140), times=varied(140) if kind == "varied" else None, **options)


@pytest.mark.parametrize("kind", ["closed", "open", "one key frame", "varied", "matroska", "rotated"])
def test_any_order_gives_the_frames_of_the_order(tmp_path, kind):
    media = video.open_media(made(tmp_path, kind))
    frames = list(media.frames())
    finder = FrameFinder(media)
    for at in (139, 3, 4, 100, 101, 60, 99, 0, 138, 70, 71, 139):
        np.testing.assert_array_equal(finder.image(at, frames[at].time_seconds), frames[at].image)
    np.testing.assert_array_equal(FrameFinder(media).image(120), frames[120].image)
    finder.close()


def test_a_frame_far_on_is_reached_without_decoding_all_before(tmp_path, monkeypatch):
    media = video.open_media(made(tmp_path, "closed"))
    times = [frame.time_seconds for frame in media.frames()]
    decoded = []
    around = video_stream.frames_around

    def counted(*arguments):
        for found in around(*arguments):
            decoded.append(found[0])
            yield found

    monkeypatch.setattr(video_stream, "frames_around", counted)
    FrameFinder(media).image(130, times[130])
    assert 1 <= len(decoded) <= 14


def test_a_time_that_no_frame_has_is_counted_instead(tmp_path):
    media = video.open_media(made(tmp_path, "closed"))
    frames = list(media.frames())
    np.testing.assert_array_equal(FrameFinder(media).image(90, frames[90].time_seconds + 0.01), frames[90].image)


def test_a_frame_that_is_not_there_is_told(tmp_path):
    media = video.open_media(made(tmp_path, "closed"))
    finder = FrameFinder(media)
    with pytest.raises(MediaError, match="no frame 500"):
        finder.image(500, 20.0)
    assert finder.image(0, 0.0).shape == (48, 64, 3)


def test_frames_of_a_real_video():
    path = next(iter(sorted((DATA / "media" / "videos").glob("*.mp4"))), None)
    if path is None:
        pytest.skip("needs the shared real videos (HARDMO_DATA)")
    media = video.open_media(path)
    frames = [frame for frame in media.frames(stop=120)]
    finder = FrameFinder(media)
    for at in (len(frames) - 1, 10, len(frames) // 2):
        np.testing.assert_array_equal(finder.image(at, frames[at].time_seconds), frames[at].image)
