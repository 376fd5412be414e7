"""How often hosts are asked, and what their robots.txt and their answers ask for in return."""

import contextlib
import datetime
import email.utils
import re
import threading
import time
import urllib.parse
import urllib.robotparser
from collections.abc import Callable, Iterator

#: Name that rules of robots.txt may speak of.
ROBOT_NAME = "hardmo_jax"

#: Of a robots.txt that is read (RFC 9309 asks for half a megabyte).
ROBOTS_BYTES = 512 * 1024


class HostTurns:
    """One request at a time a host, and a pause between two."""

    def __init__(self, min_seconds: float, longest_wait: float) -> None:
        self._min_seconds = min_seconds
        self._longest_wait = longest_wait
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._not_before: dict[str, float] = {}

    @contextlib.contextmanager
    def turn(self, host: str, pause_seconds: float | None = None) -> Iterator[None]:
        """Wait until a host may be asked, and keep others from it inside the block.

        Args:
            host: Its name.
            pause_seconds: That its robots.txt asks for; a longer one than the longest wait is cut to that.
        """
        pause = max(self._min_seconds, min(pause_seconds or 0.0, self._longest_wait))
        with self._guard:
            lock = self._locks.setdefault(host, threading.Lock())
        with lock:
            time.sleep(max(0.0, self._not_before.get(host, 0.0) - time.monotonic()))
            try:
                yield
            finally:
                self._not_before[host] = max(self._not_before.get(host, 0.0), time.monotonic() + pause)

    def hold_back(self, host: str, seconds: float) -> None:
        """Do not ask a host for some time."""
        self._not_before[host] = max(self._not_before.get(host, 0.0), time.monotonic() + seconds)


class RobotRules:
    """What robots.txt files allow; each is asked for once."""

    def __init__(self, fetch: Callable[[str], tuple[int, bytes]]) -> None:
        """Set up.

        Args:
            fetch: Gives status and content of an address; 0 where there was no answer.
        """
        self._fetch = fetch
        self._guard = threading.Lock()
        self._known: dict[str, urllib.robotparser.RobotFileParser] = {}

    def pause_seconds(self, parts: urllib.parse.SplitResult) -> float | None:
        """The pause between requests that a host asks for; None if it asks for none."""
        pause = self._rules(parts).crawl_delay(ROBOT_NAME)
        return None if pause is None else float(pause)

    def allow(self, parts: urllib.parse.SplitResult) -> bool:
        """Whether an address may be fetched."""
        return self._rules(parts).can_fetch(ROBOT_NAME, parts.geturl())

    def _rules(self, parts: urllib.parse.SplitResult) -> urllib.robotparser.RobotFileParser:
        origin = f"{parts.scheme}://{parts.netloc}"
        with self._guard:
            known = self._known.get(origin)
        if known is None:
            known = _parsed(*self._fetch(f"{origin}/robots.txt"))
            with self._guard:
                known = self._known.setdefault(origin, known)
        return known


def _parsed(status: int, content: bytes) -> urllib.robotparser.RobotFileParser:
    """Rules as RFC 9309 has them: no file allows all, no answer allows nothing; a locked one is taken for a no."""
    lines = []
    if status in (401, 403) or status == 0 or status >= 500:
        lines = ["User-agent: *", "Disallow: /"]
    elif status == 200:
        lines = content.decode("utf-8", "replace").lstrip("\ufeff").splitlines()
    rules = urllib.robotparser.RobotFileParser()
    rules.parse(lines)
    return rules


def asked_wait(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks to wait; None if there is none that makes sense."""
    if header is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}\s*", header):
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
