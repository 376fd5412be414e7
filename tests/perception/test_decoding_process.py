"""A process that decodes gives what decoding here gives; when it dies or grows, one file fails and no other."""

import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import psutil
import pytest

from hardmo_jax.perception import decoding_process, photos, video
from hardmo_jax.perception.decoding_process import DecodingError, DecodingLimits, ProcessDecoder
from hardmo_jax.perception.frame_choice import FrameChoice
from hardmo_jax.pipelines import annotate_input
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from tests.conftest import ROOT
from tests.perception import made_videos
from tests.reference import hostile_media

#: A decoder of photos to which things happen that the end of a file asks for.
_FRAGILE = """
import os, sys, time
from hardmo_jax.perception import decoders, decoding_child as it

decode = decoders.InProcessDecoder.photo

def photo(self, data, path, max_pixels):
    if data.endswith(b"CRASH"):
        os.kill(os.getpid(), 11)
    if data.endswith(b"ABORT"):
        os.abort()
    if data.endswith(b"HANG"):
        time.sleep(600)
    if data.endswith(b"GROW"):
        bytearray(1 << 40)
    if data.endswith(b"PRINT"):
        os.write(1, b"printed by native code")
    if data.endswith(b"RAISE"):
        raise RuntimeError("not foreseen")
    return decode(self, data, path, max_pixels)

decoders.InProcessDecoder.photo = photo
it.serve(float(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def decoder():
    with ProcessDecoder() as made:
        yield made
        # Nothing of this module that is not meant to do so ends the process.
        assert made.num_started == 1


def seen(media):
    """All that a reader learns of media."""
    frames = [(frame.time_seconds, frame.frame_index, frame.image) for frame in media.frames()]
    return frames, media.warnings, media.truncated, media.fps, media.frame_count, media.sizes


def assert_same(found, expected):
    assert found[1:] == expected[1:]
    assert [frame[:2] for frame in found[0]] == [frame[:2] for frame in expected[0]]
    for (_, _, image), (_, _, reference) in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(image, reference)


@pytest.mark.parametrize("name", hostile_media.VIDEOS | hostile_media.PHOTOS)
def test_pictures_are_those_that_are_decoded_here(tmp_path, decoder, name):
    suffix, make = (hostile_media.VIDEOS | hostile_media.PHOTOS)[name]
    path = tmp_path / f"whole{suffix}"
    path.write_bytes(make(tmp_path))
    found, expected = seen(video.open_media(path, decoder=decoder)), seen(video.open_media(path))
    assert len(expected[0]) == (6 if name in hostile_media.VIDEOS else 1)
    assert_same(found, expected)


def test_what_is_odd_about_a_video_is_told_alike(tmp_path, decoder):
    whole = made_videos.write(
        tmp_path / "a.mp4", hostile_media.pictures(6) * 3, g="4", container={"movflags": "+faststart"}
    )
    cut = made_videos.cut_off(whole, tmp_path / "cut.mp4", 0.7)
    found, expected = seen(video.open_media(cut, decoder=decoder)), seen(video.open_media(cut))
    assert expected[2]
    assert_same(found, expected)


def test_frames_are_chosen_and_found_by_time(tmp_path, decoder):
    path = made_videos.write(tmp_path / "a.mp4", hostile_media.pictures(8), g="4")
    media = video.open_media(path, decoder=decoder)
    chosen = media.chosen(FrameChoice(start_seconds=0.08, end_seconds=0.24, stride=2))
    assert [frame.frame_index for frame in chosen.frames()] == [2, 4]
    here = list(video.open_media(path).frames_around(0.2))
    around = list(media.frames_around(0.2))
    assert [time for time, _ in around] == [time for time, _ in here]
    np.testing.assert_array_equal(around[0][1], here[0][1])


def test_who_stops_early_leaves_the_process_to_the_next(tmp_path, decoder):
    path = made_videos.write(tmp_path / "a.mp4", hostile_media.pictures(8))
    for _ in range(3):
        media = video.open_media(path, decoder=decoder)
        frames = media.frames()
        assert next(frames).frame_index == 0
        frames.close()
    assert len(list(media.frames())) == 8


def test_two_readers_at_once_have_a_process_each(tmp_path):
    path = made_videos.write(tmp_path / "a.mp4", hostile_media.pictures(6))
    with ProcessDecoder() as decoder:
        media = video.open_media(path, decoder=decoder)
        pairs = list(zip(media.frames(), media.frames(), strict=True))
        assert decoder.num_started == 2
    assert len(pairs) == 6
    for first, second in pairs:
        np.testing.assert_array_equal(first.image, second.image)


def test_relative_names_and_odd_ones_are_found_and_told_as_they_were_given(tmp_path, decoder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = "zwei\nZeilen \udcff 日本.mp4"
    made_videos.write(tmp_path / "a.mp4", hostile_media.pictures(2)).rename(odd)
    assert len(list(video.open_media(odd, decoder=decoder).frames())) == 2
    pathlib.Path("text.mp4").write_text("see attachment\n" * 9)
    with pytest.raises(video.MediaError, match=r"^text.mp4: is not a video"):
        video.open_media("text.mp4", decoder=decoder)


@pytest.fixture
def fragile(monkeypatch):
    monkeypatch.setattr(decoding_process, "_PROGRAM", _FRAGILE)
    with ProcessDecoder(DecodingLimits(seconds=1.5, memory_bytes=2 << 30)) as made:
        yield made


def _photo(path, end=b""):
    import cv2

    path.write_bytes(cv2.imencode(".jpg", np.full((40, 60, 3), 90, np.uint8))[1].tobytes() + end)
    return path


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (b"CRASH", r"its decoder crashed \(signal SIGSEGV\)"),
        (b"ABORT", "its decoder gave up"),
        (b"HANG", r"decoding took longer than 1.5 s"),
        (b"GROW", r"decoding needs more than 2.0 GiB; make the picture smaller, or allow more"),
        (b"RAISE", r"its decoder crashed \(status 1\)"),
    ],
)
def test_whatever_happens_to_it_one_photo_fails_and_the_next_is_read(tmp_path, fragile, end, told):
    (folder := tmp_path / "photos").mkdir()
    for number in range(4):
        _photo(folder / f"{number}.jpg", end if number == 1 else b"")
    start = time.monotonic()
    media = video.open_media(folder, decoder=fragile)
    assert [frame.source_path.name for frame in media.frames(on_error="skip")] == ["0.jpg", "2.jpg", "3.jpg"]
    (warning,) = media.warnings
    assert re.match(rf"skipped: .*1.jpg: {told}", warning)
    assert time.monotonic() - start < 60


def test_its_error_is_one_of_media_in_one_line(tmp_path, fragile):
    path = _photo(tmp_path / "a.jpg", b"CRASH")
    with pytest.raises(DecodingError, match=r"a.jpg: its decoder crashed \(signal SIGSEGV\)") as raised:
        list(video.open_media(path, decoder=fragile).frames())
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, photos.MediaError)


def test_an_installation_in_which_it_does_not_start_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding_process, "_PROGRAM", "raise SystemExit(3)")
    with ProcessDecoder() as decoder, pytest.raises(DecodingError, match=r"did not start \(status 3\)"):
        list(video.open_media(_photo(tmp_path / "a.jpg"), decoder=decoder).frames())


def test_a_job_goes_on_behind_a_photo_that_ends_its_decoder(tmp_path, fragile, monkeypatch):
    monkeypatch.setattr(annotate_input, "shared_process_decoder", lambda: fragile)
    (folder := tmp_path / "photos").mkdir()
    for number in range(3):
        _photo(folder / f"{number}.jpg", b"CRASH" if number == 1 else b"")
    for source in (folder, video.open_media(folder)):
        media = annotate_input.open_input(source, AnnotateOptions()).media
        assert [frame.source_path.name for frame in media.frames(on_error="skip")] == ["0.jpg", "2.jpg"]
        assert "its decoder crashed (signal SIGSEGV)" in media.warnings[0]


_FORKS = """
import os, sys
from hardmo_jax.perception import video
from hardmo_jax.perception.decoding_process import shared_process_decoder

def count():
    return sum(1 for _ in video.open_media(sys.argv[1], decoder=shared_process_decoder()).frames())

numbers = [count()]
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(count() + shared_process_decoder().num_started)
    numbers += [count(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]
print(numbers, shared_process_decoder().num_started)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_after_a_fork_both_have_a_process_of_their_own(tmp_path):
    path = made_videos.write(tmp_path / "a.mp4", hostile_media.pictures(5))
    done = subprocess.run(
        [sys.executable, "-c", _FORKS, str(path)], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    )
    assert done.stdout == "[5, 5, 7, 5, 7, 5, 7] 1\n"
    assert done.stderr == ""


def test_what_native_code_prints_is_no_answer(tmp_path, fragile):
    (frame,) = video.open_media(_photo(tmp_path / "a.jpg", b"PRINT"), decoder=fragile).frames()
    assert frame.image.shape == (40, 60, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit no memory")
def test_memory_is_limited_before_a_picture_takes_it(tmp_path):
    # 1 kB of run lengths become 196 megapixels, 588 MB, and as much again in the order of RGB.
    path = tmp_path / "large.bmp"
    header = struct.pack("<IiiHHIIiiII", 40, 14_000, 14_000, 1, 8, 1, 2, 0, 0, 256, 0)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 1080, 0, 0, 1078) + header + bytes(1024) + b"\0\1")
    with ProcessDecoder(DecodingLimits(memory_bytes=1 << 30)) as decoder:
        with pytest.raises(video.MediaError, match=r"needs more than 1.0 GiB|cannot be decoded"):
            list(video.open_media(path, decoder=decoder).frames())
        assert len(list(video.open_media(_photo(tmp_path / "a.jpg"), decoder=decoder).frames())) == 1


@pytest.mark.slow
def test_the_largest_photo_fits_into_the_usual_limits(tmp_path):
    # What takes most: 16 bits, and pixels that shine through.
    path = tmp_path / "large.png"
    side = 14_000
    packed, row = zlib.compressobj(1), b"\0" + np.full(4 * side, 40_000, ">u2").tobytes()
    data = b"".join(packed.compress(row) for _ in range(side)) + packed.flush()
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)),
            (b"IDAT", data),
            (b"IEND", b""),
        ):
            file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    with ProcessDecoder() as decoder:
        (frame,) = video.open_media(path, decoder=decoder).frames()
    assert frame.image.shape == (side, side, 3)
    assert len(np.unique(frame.image[::1000, ::1000])) == 1


_PARENT = """
import sys, time
from hardmo_jax.perception import decoding_process
if sys.argv[1] == "hang":
    decoding_process._PROGRAM = "import signal, time; signal.alarm(1); time.sleep(600)"
decoder = decoding_process.ProcessDecoder()
with decoder._child() as child:
    print(child._process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills by signal")
@pytest.mark.parametrize("state", ["idle", "hang"])
def test_it_does_not_outlive_whoever_started_it(state):
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, state], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        # Nobody may be there to take note of its end.
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the process that decodes lives on")


@pytest.mark.parametrize("words", [{"seconds": 0.0}, {"seconds": float("nan")}, {"memory_bytes": 1}])
def test_limits_that_let_nothing_through_are_refused(words):
    with pytest.raises(ValueError, match="must"):
        DecodingLimits(**words)


def test_it_starts_without_jax():
    code = (
        "import sys; import hardmo_jax.perception.decoding_child; "
        "print(*(name in sys.modules for name in ('jax', 'pyarrow')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["False", "False"]
