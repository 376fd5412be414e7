"""What a user may name as live input, how it is opened, and what of it may be told: never a password.

`webcam:0`, `rtsp://`, `rtsps://`, `rtmp://`, `http://`, `https://`, `udp://`, `tcp://`, `-` (standard input), a named
pipe, and `play:clip.mp4`, a file that is played at its own pace as if it were a stream.
"""

import dataclasses
import os
import pathlib
import re
import stat
import sys
import urllib.parse
from collections.abc import Mapping
from typing import Literal

from hardmo_jax.perception.media_files import VIDEO_SUFFIXES
from hardmo_jax.perception.photos import MediaError

#: Addresses of streams.
STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp")
_KNOWN = "webcam:0, rtsp://, rtmp://, http://, udp://, tcp://, play:clip.mp4, a named pipe, or - for standard input"
#: What a stream may open in turn: no file, no other program.
_PROTOCOLS = "rtp,udp,tcp,tls,http,https,httpproxy,rtmp,rtmps,rtsp,crypto,srtp"
_DEMUXERS = "rtsp,rtp,sdp,hls,mpjpeg,mjpeg,mpegts,flv,live_flv,mov,mp4,matroska,webm,h264,hevc,mpeg,mpegvideo,ogg,avi"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
#: Paths that may hold a password, as some cameras want it.
_SECRETIVE = re.compile(r"[=&;@?]|pass|key|token", re.IGNORECASE)
#: Numbers of cameras that a message looks for.
_MOST_CAMERAS = 64


class LiveStreamError(MediaError):
    """Live input that cannot be opened, recorded or seen; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveAddress:
    """Live input, ready to be opened."""

    kind: Literal["webcam", "stream", "pipe", "play"]
    url: str
    """What FFmpeg opens; empty for standard input."""
    format: str | None = None
    """FFmpeg's name of the device or container; None finds out."""
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of FFmpeg."""
    public: str
    """The same for people and files, without user, password or anything that may be one."""


def live_address(source: str) -> LiveAddress | None:
    """Live input by what the user typed; None if it is none: a file or folder, there or not.

    Args:
        source: As given by `--input`.

    Raises:
        LiveStreamError: If it is an address that is not known, or a file to be played that is not there.
    """
    if source == "-":
        return LiveAddress(kind="pipe", url="", options=_stream_options(), public="standard input")
    path = pathlib.Path(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        mode = 0
    if stat.S_ISFIFO(mode):
        return LiveAddress(kind="pipe", url=os.fspath(path), options=_stream_options(), public=f"pipe {path.name}")
    if mode or (len(source) > 1 and source[1] == ":"):  # a file, or one of a Windows drive
        return None
    scheme = _SCHEME.match(source)
    if scheme is None:
        return None
    name, rest = scheme[1].lower(), source[scheme.end() :]
    if name == "webcam":
        return _webcam(rest or "0")
    if name == "play":
        return _played(rest)
    if name in STREAM_SCHEMES and rest.startswith("//"):
        return LiveAddress(kind="stream", url=source, options=_of_scheme(name), public=public_address(source))
    if rest.startswith("//"):
        raise LiveStreamError(f"{public_address(source)}: {name}:// is no known kind of live input; known: {_KNOWN}")
    return None


def public_address(url: str) -> str:
    """An address without user, password, query, and without a path that may hold them.

    Args:
        url: `scheme://user:password@host:port/path?query`.
    """
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    # A password may hold a slash or an @: whatever stands before the last @ is none of the host.
    if "@" in rest:
        authority, slash, path = rest.rpartition("@")[2].partition("/")
    authority = re.split(r"[?#]", authority)[0]
    path = re.split(r"[?#]", path)[0]
    if _SECRETIVE.search(urllib.parse.unquote(path)):
        path = "..."
    return f"{scheme}://{authority}{slash}{path}"


def _stream_options() -> dict[str, str]:
    return {"protocol_whitelist": _PROTOCOLS, "format_whitelist": _DEMUXERS}


def _of_scheme(scheme: str) -> dict[str, str]:
    options = _stream_options()
    if scheme.startswith("rtsp"):
        # Over UDP lost packets are lost from the recording too.
        options["rtsp_transport"] = "tcp"
    return options


def _webcam(name: str) -> LiveAddress:
    """A camera of this machine, by number or by what the system calls it."""
    public = f"webcam:{name}"
    if sys.platform == "linux":
        device = f"/dev/video{name}" if name.isdigit() else name
        if not device.startswith("/dev/"):
            raise LiveStreamError(f"{public}: give the number of a camera, as webcam:0, or its device")
        if not os.path.exists(device):
            found = [str(n) for n in range(_MOST_CAMERAS) if os.path.exists(f"/dev/video{n}")]
            there = f"there are webcam:{', webcam:'.join(found)}" if found else "there is no camera on this machine"
            raise LiveStreamError(f"{public}: there is no {device}; {there}")
        return LiveAddress(kind="webcam", url=device, format="v4l2", public=public)
    if sys.platform == "darwin":
        return LiveAddress(
            kind="webcam", url=f"{name}:none", format="avfoundation", options={"framerate": "30"}, public=public
        )
    if name.isdigit():
        raise LiveStreamError(
            f"{public}: cameras have names here; give webcam:NAME as the system's camera settings call it"
        )
    return LiveAddress(kind="webcam", url=f"video={name}", format="dshow", public=public)


def _played(name: str) -> LiveAddress:
    path = pathlib.Path(name)
    if not path.is_file():
        raise LiveStreamError(f"play:{name}: no such file to play")
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise LiveStreamError(f"play:{name}: is not called like a video ({' '.join(VIDEO_SUFFIXES)})")
    options = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,asf,flv,gif"}
    return LiveAddress(kind="play", url=str(path.absolute()), options=options, public=f"play:{path.name}")
