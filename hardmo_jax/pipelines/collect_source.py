"""One source of a manifest: from its address or path to a file in its category's folder, checked to be media.

A file goes under its name before its row is written; the note of its part, which says so, goes last. So a run that is
killed between any two of these finds the file again without fetching it.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
import urllib.parse
from collections.abc import Iterable
from typing import Any, Literal

from hardmo_jax.perception import photos, video
from hardmo_jax.perception.decoding_process import shared_process_decoder
from hardmo_jax.pipelines import collect_names, fetching, media_kinds, video_sites, web_addresses
from hardmo_jax.pipelines.collect_manifest import Source
from hardmo_jax.pipelines.collect_records import ASIDE, Collected, Status, public_source
from hardmo_jax.pipelines.fetching import ByteBudget, Part, PartNote
from hardmo_jax.pipelines.video_sites import SiteOptions
from hardmo_jax.pipelines.web_addresses import RefusedError
from hardmo_jax.pipelines.web_client import FailedError, WebClient
from hardmo_jax.whole_files import file_sha256

#: Folder of an output folder for what is not complete.
PARTS = ".parts"

_UNKNOWN_KIND = "begins like no photo or video that is known"

Rejected = Literal["aside", "delete"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where files go and come from."""

    output: pathlib.Path
    """The output folder."""
    sources: pathlib.Path
    """Folder that paths of the manifest are relative to."""
    rejected: Rejected
    """What becomes of files that are no media, copies, or without a licence now."""
    is_reference: bool
    """Whether files of this machine stay where they are."""
    max_pixels: int = photos.MAX_PIXELS
    """Of one picture."""


def obtain_source(source: Source, place: Place, client: WebClient, sites: SiteOptions, budget: ByteBudget) -> Collected:
    """Get the file of a source, or say why there is none.

    Args:
        source: With a licence.
        place: Where it goes.
        client: Asks the web.
        sites: What is done with pages.
        budget: Of the collection.
    """
    part = Part(folder=place.output / PARTS, name=collect_names.short_id(source.source))
    try:
        if not source.is_address and place.is_reference:
            return _referred(source, place, client)
        if not source.is_address and _suffix(_path_of(source, place)) is None:
            # Nothing that is no media is copied out of the folders of this machine.
            return row_of(source, "not_media", _UNKNOWN_KIND)
        note = _found_again(source, place, part)
        if note is None:
            note = _fetched_note(source, place, part, client, sites, budget)
        return _checked(source, place, part, note)
    except RefusedError as error:
        return row_of(source, "refused", str(error))
    except FailedError as error:
        return row_of(source, "failed", str(error))
    except OSError as error:
        return row_of(source, "failed", f"cannot be read or written: {error.strerror or error}")


def row_of(source: Source, status: Status, reason: str = "", **known: Any) -> Collected:
    """A row with what the manifest says, and what is known besides."""
    said = {
        name: getattr(source, name)
        for name in ("source", "category", "licence", "query", "title", "author", "start_seconds", "end_seconds")
    }
    return Collected(**{**said, **known, "status": status, "reason": " ".join(reason.split())})


def forget_part(source: Source, place: Place) -> None:
    """Remove what lies of a source among the parts; called once its row is written."""
    Part(folder=place.output / PARTS, name=collect_names.short_id(source.source)).forget()


def set_aside(row: Collected, place: Place) -> str | None:
    """Move the file of a row out of its category's folder, or delete it.

    Returns:
        Where it is now, relative to the output folder; None if it is gone.
    """
    if row.file is None or row.is_reference:
        return row.file
    path = place.output / row.file
    if place.rejected == "delete":
        path.unlink(missing_ok=True)
        return None
    target = place.output / ASIDE / row.category / path.name
    if path != target and path.is_file():
        _move(path, target, place)
    return target.relative_to(place.output).as_posix()


def sweep_parts(place: Place, sources: Iterable[str]) -> None:
    """Remove parts of sources that nobody speaks of any more."""
    names = {collect_names.short_id(source) for source in sources}
    folder = place.output / PARTS
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.stem not in names and path.is_file():
            path.unlink()


def put_back(row: Collected, place: Place) -> str | None:
    """Move the file of a row into its category's folder; where it is now, relative to the output folder."""
    if row.file is None or row.is_reference:
        return row.file
    path = place.output / row.file
    target = place.output / row.category / path.name
    if path != target and path.is_file():
        _move(path, target, place)
    return target.relative_to(place.output).as_posix()


def with_place(row: Collected, place: Place) -> Collected:
    """A row with its file where it lies, which is another place if a run was killed between moving and writing."""
    if row.file is None or row.is_reference or is_inside(place.output, row.file):
        return row
    name = pathlib.PurePosixPath(row.file).name
    for file in (f"{row.category}/{name}", f"{ASIDE}/{row.category}/{name}"):
        if is_inside(place.output, file):
            return dataclasses.replace(row, file=file)
    return row


def is_inside(folder: pathlib.Path, name: str) -> bool:
    """Whether a path below a folder is that of a file in it, whatever links there are."""
    path = folder / name
    return not path.is_symlink() and path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _found_again(source: Source, place: Place, part: Part) -> PartNote | None:
    """The note of a file that a killed run had fetched; the file lies at the part's path or under its name."""
    note = part.read_note(public_source(source.source))
    if note is None or not note.sha256:
        return None
    if part.path.is_file() and file_sha256(part.path) == note.sha256:
        return note
    if note.file and is_inside(place.output, note.file) and file_sha256(place.output / note.file) == note.sha256:
        return note
    return None


def _fetched_note(
    source: Source, place: Place, part: Part, client: WebClient, sites: SiteOptions, budget: ByteBudget
) -> PartNote:
    about = PartNote(source=public_source(source.source))
    if not source.is_address:
        most = client.options.most_megabytes_per_file * 1e6
        return fetching.copy_file(_path_of(source, place), part, most, budget, about=about)
    url = web_addresses.checked_address(source.source).geturl()
    may_be_local = client.may_go_local(url)
    with contextlib.suppress(fetching.PageError):
        return fetching.fetch_file(client, url, part, budget, about=about, may_be_local=may_be_local)
    found = video_sites.find_site_video(url, client, sites, may_be_local=may_be_local)
    about = dataclasses.replace(about, title=found.title, author=found.author, site_licence=found.licence)
    try:
        return fetching.fetch_file(
            client, found.url, part, budget, about=about, headers=found.headers, may_be_local=may_be_local
        )
    except fetching.PageError as error:
        raise FailedError("the site gives a page instead of the video; it may want visitors to log in") from error


def _checked(source: Source, place: Place, part: Part, note: PartNote) -> Collected:
    """Put a complete file under its name and look whether it is media."""
    if source.sha256 and note.sha256 != source.sha256:
        if note.file and is_inside(place.output, note.file):
            (place.output / note.file).unlink()
        part.forget()
        raise FailedError(f"is another file than the manifest says: its SHA-256 is {note.sha256}")
    if part.path.is_file():
        suffix = _suffix(part.path) or ".bin"
        name = collect_names.file_name(_title(source, note), source.source, suffix)
        note = dataclasses.replace(note, file=f"{source.category}/{name}")
        part.write_note(note)
        _move(part.path, place.output / note.file, place)
    known = {
        "file": note.file,
        "final_url": note.final_url,
        "title": source.title or note.title,
        "author": source.author or note.author,
        "site_licence": note.site_licence,
        "sha256": note.sha256,
        "fetched": note.fetched,
        "bytes": (place.output / note.file).stat().st_size,
    }
    return _with_facts(source, place, place.output / note.file, known)


def _referred(source: Source, place: Place, client: WebClient) -> Collected:
    """A file of this machine that stays where it is."""
    path = _path_of(source, place).resolve()
    size = fetching.local_size(path, client.options.most_megabytes_per_file * 1e6)
    digest = file_sha256(path)
    if source.sha256 and digest != source.sha256:
        raise FailedError(f"is another file than the manifest says: its SHA-256 is {digest}")
    known = {"file": str(path), "is_reference": True, "sha256": digest, "bytes": size}
    return _with_facts(source, place, path, known)


def _with_facts(source: Source, place: Place, path: pathlib.Path, known: dict[str, Any]) -> Collected:
    """The row of a file with its size and rate, or one that says that it is no media."""
    try:
        if _suffix(path) is None:
            raise video.MediaError(_UNKNOWN_KIND)
        media = video.open_media(path, max_pixels=place.max_pixels, decoder=shared_process_decoder())
        if media.kind not in ("image", "video"):
            raise video.MediaError(f"{path}: holds keypoints and no pictures")
        found = media.files[0]
    except (video.MediaError, OSError) as error:
        row = row_of(source, "not_media", _without_path(error, path), **known)
        return dataclasses.replace(row, file=set_aside(row, place))
    count, fps = media.frame_count, media.fps
    duration = count / fps if media.kind == "video" and count and fps and math.isfinite(fps) else None
    facts = {"width": found.width, "height": found.height, "fps": fps, "duration": duration}
    beyond = duration is not None and max(source.start_seconds or 0.0, source.end_seconds or 0.0) > duration + 0.5
    reason = f"the part that is meant ends after the video ({duration:.1f} s)" if beyond else ""
    return row_of(source, "kept", reason, **known, **facts)


def _suffix(path: pathlib.Path) -> str | None:
    """The suffix of what a file is by its first bytes; None if it is no media of a known kind.

    Raises:
        RefusedError: If it is no file.
        FailedError: If it is not there.
    """
    fetching.local_size(path, math.inf)
    with path.open("rb") as file:
        return media_kinds.suffix_of_bytes(file.read(media_kinds.NUM_BYTES))


def _without_path(error: Exception, path: pathlib.Path) -> str:
    return str(error).removeprefix(f"{path}: ")[:300]


def _path_of(source: Source, place: Place) -> pathlib.Path:
    if "\0" in source.source:
        raise RefusedError("the path holds a NUL")
    return place.sources / source.source


def _title(source: Source, note: PartNote) -> str:
    """What a file is called after: its title, else the last part of its address."""
    if source.title or note.title:
        return source.title or note.title
    path = urllib.parse.urlsplit(source.source).path if source.is_address else source.source
    return urllib.parse.unquote(path.replace("\\", "/").rstrip("/").rpartition("/")[2].rpartition(".")[0])


def _move(path: pathlib.Path, target: pathlib.Path, place: Place) -> None:
    """Move a file into a folder below the output folder that is no link."""
    output = place.output.resolve()
    if output not in target.parent.resolve().parents:
        raise RefusedError(f"{target} lies outside of the folders of {place.output}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.parent.is_symlink():
        raise RefusedError(f"{target.parent.name} is a link; files would leave the output folder")
    os.replace(path, target)
