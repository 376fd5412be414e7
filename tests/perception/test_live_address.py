"""What is live input and what is not; and that no password is ever told."""

import os
import sys

import pytest

from hardmo_jax.perception import live_address
from hardmo_jax.perception.live_address import LiveStreamError


@pytest.mark.parametrize("source", ["clip.mp4", "out/photos", "C:\\clips\\a.mp4", "a:b", "no such file", ""])
def test_files_and_folders_are_no_live_input(source):
    assert live_address.live_address(source) is None


@pytest.mark.parametrize("source", ["rtsp://cam/1", "http://cam/video.mjpg", "udp://@239.0.0.1:1234", "tcp://cam:9"])
def test_streams_are_known_by_their_scheme(source):
    address = live_address.live_address(source)
    assert address.kind == "stream"
    assert address.url == source
    assert "file" not in address.options["protocol_whitelist"].split(","), "a stream must not open files"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("rtsp://10.0.0.5:554/cam/1", "rtsp://10.0.0.5:554/cam/1"),
        ("rtsp://anna:geheim@10.0.0.5:554/cam", "rtsp://10.0.0.5:554/cam"),
        ("rtsp://anna:ge/he@im@10.0.0.5/cam", "rtsp://10.0.0.5/cam"),
        ("http://cam/video?user=anna&pwd=geheim", "http://cam/video"),
        ("http://cam?geheim", "http://cam"),
        ("http://cam/video#geheim", "http://cam/video"),
        ("rtsp://cam/user=anna_password=geheim_channel=1.sdp", "rtsp://cam/..."),
        ("http://cam/token/geheim/video", "http://cam/..."),
        ("rtmp://cam/live%3Fkey%3Dgeheim", "rtmp://cam/..."),
    ],
)
def test_what_is_told_holds_no_password(url, told):
    assert live_address.live_address(url).public == told
    assert "geheim" not in told
    assert "anna" not in told


def test_a_named_pipe_and_standard_input_are_live(tmp_path):
    os.mkfifo(tmp_path / "video")
    assert live_address.live_address(str(tmp_path / "video")).kind == "pipe"
    assert live_address.live_address("-").public == "standard input"


def test_a_file_that_is_called_like_a_stream_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "webcam:0").write_bytes(b"x")
    assert live_address.live_address("webcam:0") is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ftp://anna:geheim@host/a.mp4", "ftp://host/a.mp4: ftp:// is no known kind of live input; known: webcam:0"),
        ("play:nothing.mp4", "play:nothing.mp4: no such file to play"),
        ("play:pyproject.toml", "is not called like a video"),
    ],
)
def test_what_is_wrong_is_told(source, message, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    with pytest.raises(LiveStreamError) as caught:
        live_address.live_address(source)
    assert message in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="cameras are files on Linux alone")
def test_a_camera_that_is_not_there_is_told_with_those_that_are(monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda path: path in ("/dev/video2", "/dev/video3"))
    with pytest.raises(LiveStreamError, match="webcam:0: there is no /dev/video0; there are webcam:2, webcam:3"):
        live_address.live_address("webcam:0")
    assert live_address.live_address("webcam:3").url == "/dev/video3"
    assert live_address.live_address("webcam:/dev/video2").format == "v4l2"
    with pytest.raises(LiveStreamError, match="give the number of a camera"):
        live_address.live_address("webcam:front door")
