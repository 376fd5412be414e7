"""A server on this machine that serves real clips, and misbehaves where its address says so."""

import contextlib
import dataclasses
import email.utils
import http.server
import pathlib
import threading
import time
import urllib.parse

import numpy as np

from hardmo_jax.pipelines.web_client import FetchOptions
from hardmo_jax.viz.overlay import VideoOverlayWriter

#: Quick and impolite, as nobody but the test is asked.
QUICK = FetchOptions(
    min_seconds_between_requests=0.0,
    timeout_seconds=0.6,
    least_bytes_per_second=2000.0,
    backoff_seconds=0.01,
    longest_wait_seconds=2.0,
    most_tries=3,
    most_megabytes_per_file=2.0,
    most_gigabytes=0.1,
    allow_local=True,
)


def write_clip(path: pathlib.Path, seed: int, *, side: int = 96, num_frames: int = 12, mirrored: bool = False):
    """A clip of a texture before which two squares move; no two seeds look alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 6, 3)).astype(np.uint8)
    background = np.kron(coarse, np.ones((side // 6, side // 6, 1), np.uint8))
    speed, phase = rng.uniform(2, 6, (2, 2)), rng.uniform(0, 6, (2, 2))
    with VideoOverlayWriter(path, 8, quality=12) as writer:
        for frame in range(num_frames):
            image = background + rng.integers(0, 8, background.shape).astype(np.uint8)
            for square in range(2):
                y, x = ((0.4 + 0.35 * np.sin(speed[square] * frame / 8 + phase[square])) * side).astype(int)
                image[y : y + side // 5, x : x + side // 5] = 255 * square
            writer.add(np.ascontiguousarray(image[:, ::-1] if mirrored else image))
    return path


@dataclasses.dataclass
class Server:
    """What the tests see of it."""

    base: str
    folder: pathlib.Path
    log: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)
    """Path and Range header of each request but those for robots.txt."""
    agents: set[str] = dataclasses.field(default_factory=set)
    robots: bytes | None = None
    etag: str = '"one"'
    robots_asked: int = 0
    moments: list[float] = dataclasses.field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    """The first part of an address is what goes wrong, the last one the file."""

    server_data: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        data = self.server_data
        data.agents.add(self.headers.get("User-Agent", ""))
        data.moments.append(time.monotonic())
        if self.path == "/robots.txt":
            data.robots_asked += 1
            return self._send(200 if data.robots is not None else 404, data.robots or b"", "text/plain")
        data.log.append((self.path, self.headers.get("Range")))
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        what, name = path.split("/")[1], path.rpartition("/")[2]
        file = data.folder / name
        content = file.read_bytes() if name and file.is_file() else None
        with contextlib.suppress(OSError):
            getattr(self, f"_{what}", self._plain)(content, name)
        self.close_connection = True
        return None

    def _times(self):
        return sum(path == self.path for path, _ in self.server_data.log)

    def _send(self, status, content, kind, announced=None, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if announced is None else announced))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def _plain(self, content, name):
        """With Range."""
        if content is None:
            return self._send(404, b"nothing", "text/plain")
        kind = "text/html" if name.endswith(".html") else "video/mp4"
        asked, same = self.headers.get("Range"), self.headers.get("If-Range", self.server_data.etag)
        if asked and same == self.server_data.etag:
            first = int(asked.removeprefix("bytes=").rstrip("-"))
            place = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return self._send(206, content[first:], kind, Content_Range=place, ETag=self.server_data.etag)
        return self._send(200, content, kind, ETag=self.server_data.etag)

    def _drop(self, content, name):
        """Breaks off in the middle, the first time."""
        if self._times() > 1:
            return self._plain(content, name)
        return self._send(200, content[: len(content) // 2], "video/mp4", len(content), ETag=self.server_data.etag)

    def _drop_norange(self, content, name):
        """The same, and knows nothing of Range."""
        sent = content if self._times() > 1 else content[: len(content) // 2]
        return self._send(200, sent, "video/mp4", len(content))

    def _busy(self, content, name):
        if self._times() > 1:
            return self._plain(content, name)
        return self._send(429, b"", "text/plain", Retry_After="1")

    def _away(self, content, name):
        later = email.utils.formatdate(time.time() + 3600, usegmt=True)
        return self._send(503, b"", "text/plain", Retry_After=later)

    def _broken(self, content, name):
        return self._send(500, b"", "text/plain")

    def _long(self, content, name):
        """Announces more than there is, always."""
        return self._send(200, content, "video/mp4", len(content) + 1000)

    def _short(self, content, name):
        """Announces less than there is."""
        return self._send(200, content, "video/mp4", len(content) // 3)

    def _huge(self, content, name):
        return self._send(200, content, "video/mp4", 10**12)

    def _endless(self, content, name):
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.end_headers()
        self.wfile.write(content)
        while True:
            self.wfile.write(bytes(1 << 16))

    def _trickle(self, content, name):
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for place in range(200):
            self.wfile.write(content[place : place + 1])
            time.sleep(0.02)

    def _silent(self, content, name):
        time.sleep(1.0)

    def _loop(self, content, name):
        return self._send(302, b"", "text/plain", Location=self.path)

    def _to(self, content, name):
        """Leads to the address in its query."""
        target = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["url"][0]
        return self._send(302, b"", "text/plain", Location=target)


@contextlib.contextmanager
def served(folder: pathlib.Path):
    """Serve a folder."""
    data = Server(base="", folder=folder)
    handler = type("OneHandler", (Handler,), {"server_data": data})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    data.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield data
    finally:
        server.shutdown()
        server.server_close()
