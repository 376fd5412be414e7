"""Live video: the recording holds every frame as it was seen, whatever ends it."""

import errno
import http.server
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import av
import cv2
import numpy as np
import pytest

from hardmo_jax.perception import live_address, video
from hardmo_jax.perception.live_address import LiveStreamError
from hardmo_jax.perception.live_stream import LiveCapture
from tests.perception import made_videos

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FRAMES = 8


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (FRAMES, 6, 8, 3), np.uint8)
    return [cv2.resize(one, (64, 48), interpolation=cv2.INTER_CUBIC) for one in coarse]


def captured(source, recording, **options):
    """How a session ended, and the frames that were seen, as number, time and picture."""
    with LiveCapture(live_address.live_address(str(source)), recording, **options) as capture:
        capture.start()
        seen = [(frame.number, frame.time_seconds, frame.image) for frame in capture.frames()]
    return capture, seen


def decoded(path):
    """Frames by an independent reader."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


MAKERS = {
    "plain": lambda folder, pictures: made_videos.write(folder / "a.mp4", pictures),
    "B frames": lambda folder, pictures: made_videos.write(folder / "b.mp4", pictures, bf="3"),
    "B frames without times of decoding": lambda folder, pictures: made_videos.write(
        folder / "c.mkv", pictures[:4], bf="3", times=made_videos.IRREGULAR
    ),
    "turned": lambda folder, pictures: made_videos.write_rotated(folder / "d.mp4", pictures, 90),
    "compressed camera": lambda folder, pictures: made_videos.write(
        folder / "e.avi", pictures, codec="mjpeg", pixels="yuvj420p"
    ),
    "VP9": lambda folder, pictures: made_videos.write(folder / "f.webm", pictures, codec="libvpx-vp9"),
}


@pytest.mark.parametrize("name", list(MAKERS))
def test_the_recording_of_a_played_file_has_its_frames_to_the_bit(name, pictures, tmp_path):
    path = MAKERS[name](tmp_path, pictures)
    capture, seen = captured(f"play:{path}", tmp_path / "recording.mkv")
    assert (capture.ended_because, capture.error, capture.is_copied) == ("the stream ended", None, True)
    theirs, ours = decoded(path), decoded(tmp_path / "recording.mkv")
    assert capture.num_frames == len(theirs) == len(ours)
    assert all(np.array_equal(*pair) for pair in zip(theirs, ours, strict=True))
    # Read as all videos are: upright, at the same times, and at the rate that it has.
    source, recorded = (video.open_media(one) for one in (path, tmp_path / "recording.mkv"))
    assert (recorded.fps, recorded.rotations) == (source.fps, source.rotations)
    pairs = list(zip(source.frames(), recorded.frames(), strict=True))
    assert max(abs(one.time_seconds - other.time_seconds) for one, other in pairs) <= 1e-3
    for number, seconds, image in seen:
        assert np.array_equal(image, pairs[number][1].image), "what is looked at is what is recorded"
        assert abs(seconds - pairs[number][1].time_seconds) <= 1e-3
    assert not recorded.warnings


@pytest.mark.parametrize("pixels", ["yuyv422", "bgr24", "gray"])
def test_raw_pictures_of_a_camera_are_recorded_without_loss(pixels, pictures, tmp_path):
    path = made_videos.write(tmp_path / "raw.avi", pictures, codec="rawvideo", pixels=pixels)
    capture, seen = captured(f"play:{path}", tmp_path / "recording.mkv")
    assert not capture.is_copied
    ours = decoded(tmp_path / "recording.mkv")
    assert len(ours) == FRAMES
    for number, _, image in seen:
        assert np.array_equal(image, ours[number])
    planar = {"yuyv422": "yuv422p", "bgr24": "rgb24", "gray": "gray"}[pixels]
    with av.open(str(path)) as one, av.open(str(tmp_path / "recording.mkv")) as other:
        for first, second in zip(one.decode(video=0), other.decode(video=0), strict=True):
            assert np.array_equal(first.to_ndarray(format=planar), second.to_ndarray(format=planar))


def test_whoever_is_slow_gets_the_newest_frame_and_the_recording_has_all(pictures, tmp_path):
    path = made_videos.write(tmp_path / "a.mp4", pictures * 3)
    with LiveCapture(live_address.live_address(f"play:{path}"), tmp_path / "recording.mkv") as capture:
        capture.start()
        numbers = []
        for frame in capture.frames():
            numbers.append(frame.number)
            time.sleep(0.2)
    assert numbers == sorted(set(numbers))
    assert len(numbers) < 12
    assert numbers[-1] == 3 * FRAMES - 1, "the last one is always seen"
    assert len(decoded(tmp_path / "recording.mkv")) == 3 * FRAMES


def test_a_limit_and_an_end_stop_the_recording(pictures, tmp_path):
    path = made_videos.write(tmp_path / "a.mp4", pictures, g="1", bf="0")
    capture, _ = captured(f"play:{path}", tmp_path / "limit.mkv", limit_frames=3)
    assert (capture.num_frames, capture.ended_because) == (3, "3 frames were recorded")
    assert len(decoded(tmp_path / "limit.mkv")) == 3
    capture, _ = captured(f"play:{path}", tmp_path / "end.mkv", end_seconds=0.1)
    assert (capture.num_frames, capture.ended_because) == (3, "0.1 s were recorded")


def test_a_stream_through_a_pipe_is_recorded_and_a_stall_keeps_what_came(pictures, tmp_path):
    path = made_videos.write(tmp_path / "a.ts", pictures * 6, g="4", bf="0")
    os.mkfifo(tmp_path / "pipe")
    is_done = threading.Event()

    def send():
        with (tmp_path / "pipe").open("wb") as file:
            file.write(path.read_bytes())
            file.flush()
            is_done.wait(20)  # neither ended nor going on

    sender = threading.Thread(target=send)
    sender.start()
    capture, _ = captured(tmp_path / "pipe", tmp_path / "recording.mkv", stall_seconds=1.0)
    is_done.set()
    sender.join()
    assert "nothing came for 1 s; what came before is kept" in str(capture.error)
    ours, theirs = decoded(tmp_path / "recording.mkv"), decoded(path)
    assert len(ours) >= len(theirs) - 2
    assert all(np.array_equal(*pair) for pair in zip(ours, theirs, strict=False))


def test_a_pipe_that_nobody_writes_to_is_told(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LiveStreamError, match=r"pipe pipe: nothing came for 0\.5 s"):
        captured(tmp_path / "pipe", tmp_path / "recording.mkv", stall_seconds=0.5)
    assert not (tmp_path / "recording.mkv").exists()


def test_a_stream_over_http_is_recorded(pictures, tmp_path):
    path = made_videos.write(tmp_path / "a.ts", pictures, bf="0")
    asked = []

    class Camera(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers.get("Authorization"))
            if not asked[-1]:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(path.read_bytes())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        source = f"http://anna:geheim@127.0.0.1:{server.server_port}/live.ts?token=geheim"
        capture, _ = captured(source, tmp_path / "recording.mkv")
    finally:
        server.shutdown()
        server.server_close()
    assert any(word and word.startswith("Basic ") for word in asked), "the password goes to the camera"
    assert capture.num_frames == FRAMES
    with pytest.raises(LiveStreamError) as caught:
        captured(source, tmp_path / "again.mkv", stall_seconds=2.0)
    assert f"http://127.0.0.1:{server.server_port}/live.ts: cannot be opened (Connection refused)" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert not (tmp_path / "again.mkv").exists()


def test_an_earlier_recording_is_never_written_over(pictures, tmp_path):
    path = made_videos.write(tmp_path / "a.mp4", pictures)
    (tmp_path / "recording.mkv").write_bytes(b"mine")
    with pytest.raises(LiveStreamError, match="is there already"):
        captured(f"play:{path}", tmp_path / "recording.mkv")
    assert (tmp_path / "recording.mkv").read_bytes() == b"mine"


def test_what_holds_no_video_is_told(tmp_path):
    path = made_videos.write_sound(tmp_path / "sound.mp4")
    with pytest.raises(LiveStreamError, match=r"play:sound\.mp4: sends no video"):
        captured(f"play:{path}", tmp_path / "recording.mkv")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(LiveStreamError, match=r"play:text\.mp4: cannot be opened"):
        captured(f"play:{tmp_path / 'text.mp4'}", tmp_path / "recording.mkv")


def test_a_full_disk_is_told_and_ends_the_session(pictures, tmp_path, monkeypatch):
    from hardmo_jax.perception import live_recording

    path = made_videos.write(tmp_path / "a.mp4", pictures, bf="0")
    whole = live_recording.LiveRecorder.write_packet
    count = iter(range(100))

    def write_packet(self, packet):
        if next(count) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(self, packet)

    monkeypatch.setattr(live_recording.LiveRecorder, "write_packet", write_packet)
    capture, _ = captured(f"play:{path}", tmp_path / "recording.mkv")
    assert "could not be written (the disk is full); what came before is in it" in str(capture.error)
    assert len(decoded(tmp_path / "recording.mkv")) == 4


def test_a_killed_recording_can_be_read_up_to_its_last_second(pictures, tmp_path):
    path = made_videos.write(tmp_path / "a.mp4", pictures * 12, g="8", bf="0")
    code = (
        "import pathlib, sys; from hardmo_jax.perception import live_address; "
        "from hardmo_jax.perception.live_stream import LiveCapture\n"
        "with LiveCapture(live_address.live_address(sys.argv[1]), pathlib.Path(sys.argv[2])) as capture:\n"
        "    capture.start()\n"
        "    for frame in capture.frames():\n"
        "        print(frame.number, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"play:{path}", str(tmp_path / "recording.mkv")],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    last, lines = 0, process.stdout or []
    for line in lines:
        last = int(line)
        if last >= 60:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    ours = [frame.image for frame in video.open_media(tmp_path / "recording.mkv").frames()]
    assert last - 27 <= len(ours) <= last + 40
    theirs = decoded(path)
    assert all(np.array_equal(*pair) for pair in zip(ours, theirs, strict=False))
