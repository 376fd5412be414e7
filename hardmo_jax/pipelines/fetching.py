"""Fetching one file: into a part that a killed run leaves behind and the next one goes on with.

Beside a part lies a note of where it comes from. A server that has the same file still (by ETag or date, and size) is
asked for the rest only; anything else begins anew.
"""

import dataclasses
import datetime
import json
import os
import pathlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO

from hardmo_jax.pipelines import media_kinds
from hardmo_jax.pipelines.web_addresses import RefusedError
from hardmo_jax.pipelines.web_client import Answer, BrokenError, FailedError, WebClient
from hardmo_jax.whole_files import file_sha256, replacing

_NOTE_BYTES = 1 << 16
#: Bytes after which a connection that breaks has done its share.
_FAR = 1 << 20
_NO_LONGER_THERE = (404, 410)


class PageError(ValueError):
    """An address that gives a page and no media."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartNote:
    """What is known of a part, and of a complete file that has no row yet."""

    source: str
    """As the list of what was collected has it."""
    file: str = ""
    """Where the complete file goes, relative to the output folder; empty as long as that is not known."""
    title: str = ""
    """As the page of a video site says."""
    author: str = ""
    """The same."""
    site_licence: str = ""
    """The same."""
    final_url: str = ""
    """Where redirects led, without its query, which may hold keys of a session."""
    etag: str = ""
    """Of the file by its server."""
    last_modified: str = ""
    """The same as a date."""
    total: int | None = None
    """Bytes of the whole file, if the server tells."""
    sha256: str = ""
    """Of the complete file; empty as long as it is not."""
    fetched: str = ""
    """When it was complete, ISO 8601."""


class ByteBudget:
    """Bytes that a collection may still take."""

    def __init__(self, most_bytes: float, report: Callable[[int], None] | None = None) -> None:
        self._left = most_bytes
        self._report = report or (lambda count: None)
        self._guard = threading.Lock()

    def take(self, count: int) -> None:
        """Count bytes that came.

        Raises:
            FailedError: If there is no room left.
        """
        with self._guard:
            self._left -= count
            if self._left < 0:
                raise FailedError("the limit of the whole collection is reached (most_gigabytes)")
        self._report(count)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Where a file is put together."""

    folder: pathlib.Path
    """Of all parts."""
    name: str
    """Of this one, without a suffix."""

    @property
    def path(self) -> pathlib.Path:
        """The bytes so far."""
        return self.folder / f"{self.name}.part"

    @property
    def note_path(self) -> pathlib.Path:
        """The note beside them."""
        return self.folder / f"{self.name}.json"

    def read_note(self, source: str) -> PartNote | None:
        """The note, if there is one that can be read and is of this source."""
        try:
            if self.note_path.stat().st_size > _NOTE_BYTES:
                return None
            note = PartNote(**json.loads(self.note_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return note if note.source == source else None

    def write_note(self, note: PartNote) -> None:
        """Put a note beside the part."""
        with replacing(self.note_path) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(note)), encoding="utf-8")

    def forget(self) -> None:
        """Remove part and note."""
        self.path.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)


def fetch_file(
    client: WebClient,
    url: str,
    part: Part,
    budget: ByteBudget,
    *,
    about: PartNote,
    headers: Mapping[str, str] | None = None,
    may_be_local: bool | None = None,
) -> PartNote:
    """Fetch an address into a part; goes on with what an earlier run left of it.

    Args:
        client: Asks the web.
        url: Address; that of the same file may differ from run to run.
        part: Where the file is put together.
        budget: Of the collection.
        about: What is known of the source.
        headers: Of the request, besides ours.
        may_be_local: See `WebClient.answer`.

    Returns:
        The note of the complete file, which lies at `part.path`.

    Raises:
        PageError: If the address gives a page.
        RefusedError: If it must not be fetched, or is too large.
        FailedError: If it cannot be had now.
    """
    part.folder.mkdir(parents=True, exist_ok=True)
    tries = client.options.most_tries
    while True:
        before = _size(part.path)
        try:
            return _fetched(client, url, part, budget, about, dict(headers or {}), may_be_local)
        except BrokenError as error:
            # What broke further on than the last time has not failed: a long file may break often.
            got_far = _size(part.path) >= before + _FAR
            tries = client.options.most_tries if got_far else tries - 1
            if tries <= 0:
                raise FailedError(f"{error}; run again to go on") from error
            time.sleep(min(client.options.backoff_seconds, client.options.longest_wait_seconds))


def _fetched(
    client: WebClient,
    url: str,
    part: Part,
    budget: ByteBudget,
    about: PartNote,
    headers: dict[str, str],
    may_be_local: bool | None,
) -> PartNote:
    """One request, for the rest of a part if there is one."""
    note, have = part.read_note(about.source), _size(part.path)
    if note is not None and note.total == have > 0:
        return _completed(part, note)
    if note is None or note.sha256 or not have or not _can_go_on(note):
        note, have = None, 0
    if note is not None:
        headers["Range"] = f"bytes={have}-"
        # A weak tag must not stand here (RFC 9110, 13.1.5); it is compared with the answer's.
        if not note.etag.startswith("W/"):
            headers["If-Range"] = note.etag or note.last_modified
    with client.answer(url, headers, may_be_local=may_be_local) as answer:
        _check_status(answer.status)
        goes_on = note is not None and answer.status == 206 and _is_rest(answer, note, have)
        if answer.status != 200 and not goes_on:
            part.forget()
            raise BrokenError("the rest of the file is not what its beginning belongs to")
        have = have if goes_on else 0
        now = _note_of(about, answer, have)
        _check_size(now.total, client)
        if not goes_on:
            part.forget()
            part.write_note(now)
        try:
            with part.path.open("ab") as file:
                _write_body(answer, file, have, client, budget)
        except (PageError, RefusedError):
            part.forget()
            raise
    count = _size(part.path)
    if now.total is not None and count < now.total:
        raise BrokenError(f"{count} bytes came of {now.total} that the server announced")
    if not count:
        raise FailedError("the answer is empty")
    return _completed(part, now)


def copy_file(path: pathlib.Path, part: Part, most_bytes: float, budget: ByteBudget, *, about: PartNote) -> PartNote:
    """Copy a file of this machine into a part.

    Raises:
        RefusedError: If it is no file or too large.
        FailedError: If it cannot be read.
    """
    size = local_size(path, most_bytes)
    part.folder.mkdir(parents=True, exist_ok=True)
    budget.take(size)
    try:
        with path.open("rb") as origin, part.path.open("wb") as file:
            shutil.copyfileobj(origin, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FailedError(f"cannot be copied ({error.strerror})") from error
    return _completed(part, dataclasses.replace(about, total=size))


def local_size(path: pathlib.Path, most_bytes: float) -> int:
    """Bytes of a file of this machine.

    Raises:
        RefusedError: If it is no file or too large.
        FailedError: If it is not there.
    """
    if not path.is_file():
        if path.exists():
            raise RefusedError("is a folder, device or pipe, and no file")
        raise FailedError("no such file")
    size = path.stat().st_size
    if size > most_bytes:
        raise RefusedError(f"{size / 1e6:.0f} MB are more than most_megabytes_per_file")
    return size


def _completed(part: Part, note: PartNote) -> PartNote:
    """The note of a part that is complete, written beside it."""
    fetched = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    done = dataclasses.replace(note, sha256=file_sha256(part.path), fetched=fetched)
    part.write_note(done)
    return done


def _write_body(answer: Answer, file: IO[bytes], have: int, client: WebClient, budget: ByteBudget) -> None:
    """Append a body; of a new file the first bytes say whether it is media at all."""
    most = client.options.most_megabytes_per_file * 1e6
    beginning, is_known = b"", have > 0
    for chunk in answer.chunks():
        if not is_known:
            beginning += chunk
            if len(beginning) >= media_kinds.NUM_BYTES or len(beginning) == answer.length:
                _check_kind(answer, beginning)
                is_known = True
        have += len(chunk)
        if have > most:
            raise RefusedError(f"more than {client.options.most_megabytes_per_file:g} MB (most_megabytes_per_file)")
        budget.take(len(chunk))
        file.write(chunk)
    if not is_known:
        _check_kind(answer, beginning)
    file.flush()
    os.fsync(file.fileno())


def _check_kind(answer: Answer, beginning: bytes) -> None:
    if media_kinds.is_page(answer.headers.get("Content-Type", ""), beginning):
        raise PageError(f"{answer.url} is a page")


def _check_status(status: int) -> None:
    if status in _NO_LONGER_THERE:
        raise FailedError(f"status {status}: not there")
    if status in (401, 402, 403, 407, 451):
        raise FailedError(f"status {status}: its host does not give it to everybody")
    if status not in (200, 206, 416):
        raise FailedError(f"status {status}")


def _check_size(total: int | None, client: WebClient) -> None:
    if total is not None and total > client.options.most_megabytes_per_file * 1e6:
        raise RefusedError(f"{total / 1e6:.0f} MB are more than most_megabytes_per_file")


def _can_go_on(note: PartNote) -> bool:
    """Whether a server can be asked if it still has the same file."""
    return bool(note.etag or note.last_modified)


def _is_rest(answer: Answer, note: PartNote, have: int) -> bool:
    """Whether an answer is the rest of the file that a note is of."""
    found = re.fullmatch(r"\s*bytes\s+(\d+)-(\d+)/(\d+)\s*", answer.headers.get("Content-Range", ""))
    if not found or int(found[1]) != have or (note.total is not None and int(found[3]) != note.total):
        return False
    etag, last_modified = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
    return (etag or note.etag) == note.etag and (last_modified or note.last_modified) == note.last_modified


def _note_of(about: PartNote, answer: Answer, have: int) -> PartNote:
    return dataclasses.replace(
        about,
        final_url=answer.url.partition("?")[0],
        etag=answer.headers.get("ETag", ""),
        last_modified=answer.headers.get("Last-Modified", ""),
        total=None if answer.length is None else answer.length + have,
    )


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.is_file() else 0
