"""Requests to the web that hosts can live with, and that can be led nowhere they should not go.

Every request of a collection goes through `WebClient`, those of yt-dlp as well: one at a time a host with a pause,
robots.txt and Retry-After honoured, redirects counted and each checked like a first address, all waits and sizes
bounded. Proxies, cookies and netrc files of the environment are not used.
"""

import contextlib
import dataclasses
import http.client
import importlib.metadata
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping

from hardmo_jax.pipelines import politeness, web_addresses
from hardmo_jax.pipelines.web_addresses import RefusedError

_REDIRECTS = (301, 302, 303, 307, 308)
_COME_BACK = (429, 500, 502, 503, 504)
_CHUNK = 1 << 16


class FailedError(ValueError):
    """Something that could not be fetched, and may be another time; the message says why."""


class BrokenError(FailedError):
    """A connection that could not be made or ended early; it is worth another try at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """How the web is asked."""

    contact: str = ""
    """Mail address or page of who collects; hosts see it."""
    min_seconds_between_requests: float = 5.0
    """Of one host, from the end of one to the beginning of the next."""
    timeout_seconds: float = 30.0
    """Without any byte, and for the head of an answer."""
    least_bytes_per_second: float = 1000.0
    """Slower bodies are given up, mean over `timeout_seconds`."""
    most_redirects: int = 5
    """In a row."""
    most_tries: int = 4
    """Of one address, where an answer says to come back or the connection breaks."""
    backoff_seconds: float = 4.0
    """Before the second try; twice as long before each further one."""
    longest_wait_seconds: float = 300.0
    """That a host may ask for; after a longer one it is left to another run."""
    most_megabytes_per_file: float = 4000.0
    """Larger files are refused."""
    most_gigabytes: float = 500.0
    """Of all files of a collection."""
    allow_local: bool = False
    """Whether addresses of this machine and of private networks may be asked; paths of files always may be read."""
    permitted_hosts: tuple[str, ...] = ()
    """Whose owners have allowed the collection: their robots.txt is not asked."""

    def __post_init__(self) -> None:
        if any(ord(letter) < 32 or ord(letter) > 126 for letter in self.contact):
            raise ValueError("contact must be plain ASCII, such as name@example.org")
        least = {"most_tries": 1, "most_redirects": 0, "min_seconds_between_requests": 0, "backoff_seconds": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        if min(self.timeout_seconds, self.most_megabytes_per_file, self.most_gigabytes) <= 0:
            raise ValueError("timeouts and sizes must be positive")


class Answer:
    """An answer whose head was read and whose body was not."""

    def __init__(self, url: str, response: http.client.HTTPResponse, options: FetchOptions) -> None:
        self.url = url
        """Where it came from, after all redirects."""
        self.status = response.status
        self.headers = response.headers
        self.length = response.length
        """Bytes of the body as the server announces them; None if it does not."""
        self._response = response
        self._options = options

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes.

        Raises:
            BrokenError: If it ends before it was announced to, or comes too slowly.
        """
        options = self._options
        start, count = time.monotonic(), 0
        while True:
            try:
                chunk = self._response.read1(_CHUNK)
            except TimeoutError as error:
                raise BrokenError(f"no byte came for {options.timeout_seconds:g} s") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise BrokenError(f"the connection broke ({_said(error)})") from error
            if not chunk:
                return
            yield chunk
            count += len(chunk)
            seconds = time.monotonic() - start
            if seconds >= options.timeout_seconds:
                if count < options.least_bytes_per_second * seconds:
                    raise BrokenError(f"too slow: {count / seconds:.0f} bytes a second")
                start, count = time.monotonic(), 0

    def content(self, most_bytes: int) -> bytes:
        """The whole body, or its beginning if it is longer."""
        content = b""
        for chunk in self.chunks():
            content += chunk
            if len(content) >= most_bytes:
                return content[:most_bytes]
        return content


class WebClient:
    """Asks the web; may be used by several threads."""

    def __init__(self, options: FetchOptions) -> None:
        self.options = options
        self.turns = politeness.HostTurns(options.min_seconds_between_requests, options.longest_wait_seconds)
        self._robots: dict[bool, politeness.RobotRules] = {
            may_be_local: politeness.RobotRules(lambda url, local=may_be_local: self._robots_file(url, local))
            for may_be_local in (False, True)
        }
        version = importlib.metadata.version("hardmo_jax")
        contact = f"; contact: {options.contact}" if options.contact else ""
        self.user_agent = f"{politeness.ROBOT_NAME}/{version} (collects licensed videos for research{contact})"

    def may_go_local(self, url: str) -> bool:
        """Whether what begins at an address may lead to this machine or a private network."""
        parts = web_addresses.checked_address(url)
        return self.options.allow_local and web_addresses.is_local(parts.hostname or "", parts.port or 0)

    @contextlib.contextmanager
    def answer(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        may_be_local: bool | None = None,
    ) -> Iterator[Answer]:
        """Ask for an address; the body is read inside the block, and its host is left alone until the end of it.

        Args:
            url: Address.
            headers: Added to ours.
            method: Of the request.
            body: Sent with it.
            may_be_local: Whether private addresses may be reached; None asks `may_go_local`.

        Raises:
            RefusedError: If the address, or one it leads to, must not be fetched.
            FailedError: If there is no answer, or the host says to come back later than the longest wait.
        """
        if may_be_local is None:
            may_be_local = self.may_go_local(url)
        with contextlib.ExitStack() as open_answer:
            for last in range(self.options.most_tries - 1, -1, -1):
                backoff = self.options.backoff_seconds * 2 ** (self.options.most_tries - 1 - last)
                try:
                    answer = self._followed(open_answer, url, headers or {}, method, body, may_be_local)
                except BrokenError:
                    if not last:
                        raise
                    time.sleep(min(backoff, self.options.longest_wait_seconds))
                    continue
                if answer.status not in _COME_BACK:
                    yield answer
                    return
                open_answer.close()
                self._wait_as_asked(answer, backoff, is_last=not last)

    def _wait_as_asked(self, answer: Answer, backoff: float, *, is_last: bool) -> None:
        """Let a host alone for as long as it asks for, or as long as the number of tries says."""
        asked = politeness.asked_wait(answer.headers.get("Retry-After"))
        longest = self.options.longest_wait_seconds
        if asked is not None and asked > longest:
            raise FailedError(f"status {answer.status}: the host asks to come back in {asked:.0f} s; run again then")
        if is_last:
            raise FailedError(f"status {answer.status} after {self.options.most_tries} tries; run again later")
        host = urllib.parse.urlsplit(answer.url).hostname or ""
        self.turns.hold_back(host, min(max(backoff, asked or 0.0), longest))

    def _followed(
        self,
        open_answer: contextlib.ExitStack,
        url: str,
        headers: Mapping[str, str],
        method: str,
        body: bytes | None,
        may_be_local: bool,
        *,
        ask_robots: bool = True,
    ) -> Answer:
        """One try, through all redirects."""
        for _ in range(self.options.most_redirects + 1):
            parts = web_addresses.checked_address(url)
            pause = self._checked_by_robots(parts, may_be_local) if ask_robots else None
            open_answer.enter_context(self.turns.turn(parts.hostname or "", pause))
            answer = self._asked(open_answer, parts, headers, method, body, may_be_local)
            if answer.status not in _REDIRECTS or "Location" not in answer.headers:
                return answer
            open_answer.close()
            url = _joined(parts.geturl(), answer.headers["Location"].strip())
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = "GET", None
        raise RefusedError(f"more than {self.options.most_redirects} redirects in a row")

    def _asked(
        self,
        open_answer: contextlib.ExitStack,
        parts: urllib.parse.SplitResult,
        headers: Mapping[str, str],
        method: str,
        body: bytes | None,
        may_be_local: bool,
    ) -> Answer:
        """One request; the connection is closed with the stack."""
        timeout = self.options.timeout_seconds
        connection = web_addresses.open_connection(parts, timeout_seconds=timeout, may_be_local=may_be_local)
        open_answer.callback(connection.close)
        sent = {"User-Agent": self.user_agent, "Accept": "*/*", **headers}
        sent |= {"Accept-Encoding": "identity", "Connection": "close"}
        # Each byte of a head renews the timeout of the socket; this bounds the whole head.
        watch = threading.Timer(2 * timeout, lambda: _cut(connection))
        watch.start()
        try:
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(f"{parts.netloc} does not answer ({_said(error)})") from error
        finally:
            watch.cancel()
        open_answer.callback(response.close)
        return Answer(parts.geturl(), response, self.options)

    def _checked_by_robots(self, parts: urllib.parse.SplitResult, may_be_local: bool) -> float | None:
        """The pause that a host asks for.

        Raises:
            RefusedError: If its robots.txt does not allow the address.
        """
        if parts.hostname in self.options.permitted_hosts:
            return None
        robots = self._robots[may_be_local]
        if not robots.allow(parts):
            raise RefusedError(
                f"robots.txt of {parts.netloc} does not allow it; where its owner has, name the host in permitted_hosts"
            )
        return robots.pause_seconds(parts)

    def _robots_file(self, url: str, may_be_local: bool) -> tuple[int, bytes]:
        """Status and content of a robots.txt; status 0 where there is no answer."""
        with contextlib.ExitStack() as open_answer:
            try:
                answer = self._followed(open_answer, url, {}, "GET", None, may_be_local, ask_robots=False)
                return answer.status, answer.content(politeness.ROBOTS_BYTES)
            except FailedError:
                return 0, b""


def _joined(url: str, target: str) -> str:
    """Where a redirect leads."""
    try:
        return urllib.parse.urljoin(url, target)
    except ValueError as error:
        raise RefusedError(f"is led to {target[:200]!a}, which is no address") from error


def _cut(connection: http.client.HTTPConnection) -> None:
    """Wake up whoever reads from a connection."""
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(2)


def _said(error: BaseException) -> str:
    """What an error says in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
