"""Only containers and codecs of today are opened, and none of them leads to another file or address."""

import http.server
import threading

import pytest

from hardmo_jax.perception import video
from hardmo_jax.viz import video_sound
from tests.perception import made_videos
from tests.reference import hostile_media


@pytest.mark.parametrize(("suffix", "codec", "pixels"), [(".avi", "cinepak", "rgb24"), (".mkv", "snow", "yuv420p")])
def test_codecs_that_nobody_films_with_are_refused_by_name(tmp_path, suffix, codec, pixels):
    path = made_videos.write(
        tmp_path / f"old{suffix}", hostile_media.pictures(2), codec=codec, pixels=pixels, strict="-2"
    )
    with pytest.raises(video.MediaError, match=rf"old\{suffix}: its codec {codec!r} .*; convert it to H.264 in MP4"):
        video.open_media(path)


@pytest.fixture
def asked():
    """Port of a server of this machine, and what it was asked for."""
    paths = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port, paths
    server.shutdown()
    server.server_close()


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:{port}/canary.ts\n#EXT-X-ENDLIST\n",
    "HLS of a file": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{folder}/canary.ts\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile canary.ts\nfile 'http://127.0.0.1:{port}/canary.ts'\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1" bandwidth="1"><BaseURL>http://127.0.0.1:{port}/canary.ts</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
    "Smooth Streaming": "<SmoothStreamingMedia MajorVersion='2' Duration='9'></SmoothStreamingMedia>",
    "a sequence of files": "[playlist]\nFile1=http://127.0.0.1:{port}/canary.ts\n",
}


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".avi", ".gif"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_lists_of_other_files_are_refused_and_nothing_is_asked_for(tmp_path, asked, kind, suffix):
    port, paths = asked
    made_videos.write(tmp_path / "canary.ts", hostile_media.pictures(2))
    drawn = made_videos.write(tmp_path / "drawn.mp4", hostile_media.pictures(2))
    path = tmp_path / f"list{suffix}"
    path.write_text(PLAYLISTS[kind].format(port=port, folder=tmp_path))
    with pytest.raises(video.MediaError):
        list(video.open_media(path).frames())
    with pytest.raises((video.MediaError, OSError)):
        video_sound.add_sound(drawn, path, tmp_path / "out.mp4")
    assert paths == []


def test_a_quicktime_movie_that_refers_to_another_file_does_not_open_it(tmp_path):
    made_videos.write(tmp_path / "canary.mov", hostile_media.pictures(2))
    data = bytearray((tmp_path / "canary.mov").read_bytes())
    # The data reference says `the same file` by its flag; without it, it is the path that stands there.
    at = data.index(b"url \0\0\0\1")
    data[at : at + 8] = b"url \0\0\0\0"
    (tmp_path / "refers.mov").write_bytes(data)
    whole = list(video.open_media(tmp_path / "canary.mov").frames())
    try:
        frames = list(video.open_media(tmp_path / "refers.mov").frames())
    except video.MediaError:
        return
    # Its own pictures or none; the reference leads nowhere.
    assert len(frames) <= len(whole)


@pytest.mark.parametrize(
    "name", ["concat:canary.ts|canary.ts.mp4", "http:x.mp4", "subfile,,start,0,end,9,,:canary.mp4"]
)
def test_names_that_look_like_addresses_are_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    made_videos.write(tmp_path / "canary.ts", hostile_media.pictures(2))
    with pytest.raises(FileNotFoundError):
        video.open_media(name)
    (tmp_path / name).write_bytes((made_videos.write(tmp_path / "a.mp4", hostile_media.pictures(3))).read_bytes())
    assert len(list(video.open_media(name).frames())) == 3
    assert video_sound.add_sound("a.mp4", name, "out.mp4") is None
