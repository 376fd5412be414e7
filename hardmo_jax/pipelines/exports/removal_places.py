"""Folders out of which a source or a person is taken: what labels, drawings and records of theirs lie there."""

import dataclasses
import difflib
import json
import pathlib
import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Any, Literal

from hardmo_jax.export.dataset.dataset_files import DATA_FOLDER, dataset_shard_paths, rows_of_shard
from hardmo_jax.export.dataset.dataset_folder import DATASET_OUTPUTS, is_dataset
from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelRow

LABELS_FILE, RUN_FILE, TOMBSTONE_FILE = "labels.parquet", "run.json", "removed.json"
VIDEO_DRAWING, PHOTO_DRAWINGS = "overlay.mp4", "overlay"
CLOSE_UPS, SHEET, DRY_SHEET = "closeups", "sheet.png", "dry_run.png"
#: Of `tools.report`: holds close-ups, names and numbers of everybody.
REPORT = "report.html"
UNFINISHED = ".writing-"

_DRAWN = (VIDEO_DRAWING, PHOTO_DRAWINGS, CLOSE_UPS, SHEET, DRY_SHEET)
_KNOWN = (LABELS_FILE, RUN_FILE, REPORT, ".lock", *_DRAWN)
#: As `refine_drawing` calls close-ups.
_CLOSE_UP = re.compile(r"\d{4,}_(.*)_frame\d{6,}_person\d+_\w+\.png")
_LONGEST_STEM = 60
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_NAMED = 8


class RemovalError(ValueError):
    """Labels that cannot be removed; the message says what was found and what to do."""


@dataclasses.dataclass(frozen=True, order=True)
class SourceName:
    """A photo or video as labels name it."""

    path: str
    sha256: str

    @property
    def plain_path(self) -> str:
        """With `/`, wherever it was labelled."""
        return self.path.replace("\\", "/")

    @property
    def comparable_path(self) -> str:
        """The same with accents as one letter: some disks store them, and some keyboards type them, as two."""
        return as_composed(self.plain_path)


@dataclasses.dataclass(frozen=True)
class KnownLabel:
    """As much of a label as tells whose it is."""

    source: SourceName
    track_id: int
    label_id: str
    has_picture: bool = False
    """Whether its row holds the picture."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemovalPlace:
    """A folder with labels, or with drawings of them."""

    folder: pathlib.Path
    kind: Literal["run", "dataset", "file"]
    """A run of `tools.annotate` or `tools.refine`, or shards of labels; an exported data set; a file by itself."""
    label_files: tuple[pathlib.Path, ...]

    def labels(self) -> Iterator[tuple[pathlib.Path, list[KnownLabel]]]:
        """Labels of each file.

        Raises:
            hardmo_jax.labels.schema.LabelError: If a file is damaged or holds no labels.
        """
        for path in self.label_files:
            if self.kind == "dataset":
                shard = rows_of_shard(path)
                pairs = zip(shard.rows, shard.have_pictures, strict=True)
                yield path, [known_label(row, has_picture=has_picture) for row, has_picture in pairs]
            else:
                yield path, [known_label(row) for row in store.read_labels(path).rows]

    def recorded_sources(self) -> set[SourceName]:
        """Sources that the record of a run names: those in which nobody was found have drawings, too."""
        results = json_of(self.folder / RUN_FILE).get("results") if self.kind == "run" else None
        sources = results.get("sources") if isinstance(results, dict) else None
        if not isinstance(sources, dict):
            return set()
        return {SourceName(str(path), str(sha256)) for path, sha256 in sources.items()}

    def drawings(self, sources: Collection[SourceName], *, is_touched: bool) -> list[pathlib.Path]:
        """Pictures that show, or may show, anybody of some sources.

        Names of drawings do not tell sources of one name apart: all of that name are meant.

        Args:
            sources: Photos and videos.
            is_touched: Whether the folder is of one of them.
        """
        if self.kind != "run":
            return []
        stems = {pathlib.PurePosixPath(source.comparable_path).stem for source in sources}
        photo_stems = {stem.casefold() for stem in stems}
        numbered = [re.compile(re.escape(stem) + r"_\w+_\d+", re.IGNORECASE) for stem in stems]
        # Of letters that are not of ASCII one underscore each is left: how they were stored counts.
        forms = [unicodedata.normalize(form, stem) for stem in stems for form in ("NFC", "NFD")]
        forms += [pathlib.PurePosixPath(source.plain_path).stem for source in sources]
        close_up_stems = set(map(_close_up_stem, forms))
        found: list[pathlib.Path] = []
        for path in sorted(_files(self.folder / PHOTO_DRAWINGS)):
            stem = as_composed(path.stem)
            if stem.casefold() in photo_stems or any(name.fullmatch(stem) for name in numbered):
                found.append(path)
        for path in sorted(_files(self.folder / CLOSE_UPS)):
            name = _CLOSE_UP.fullmatch(path.name)
            if name is not None and name[1] in close_up_stems:
                found.append(path)
                is_touched = True
        if is_touched:
            found += [self.folder / VIDEO_DRAWING, self.folder / SHEET, self.folder / REPORT]
        # Nothing beside it tells whom it shows.
        found.append(self.folder / DRY_SHEET)
        return [path for path in found if path.is_file()]

    def leftovers(self) -> list[pathlib.Path]:
        """Files that a job which was killed left unfinished."""
        if self.kind == "file":
            return []
        folders = [self.folder, *(self.folder / name for name in (PHOTO_DRAWINGS, CLOSE_UPS, DATA_FOLDER))]
        # What holds a label file while it is written is called so too, and is not to be taken from under a writer.
        return sorted(
            path
            for folder in folders
            for path in _files(folder)
            if path.name.startswith(UNFINISHED) and path.suffix != ".lock"
        )


def strange_files(given: pathlib.Path, places: Collection[RemovalPlace]) -> list[str]:
    """Files in a folder and below it that are of none of its places, so that nothing is known of whom they show.

    Args:
        given: Folder; a file by itself has none.
        places: Its places.
    """
    if not given.is_dir():
        return []
    known: set[pathlib.Path] = set()
    folders: set[pathlib.Path] = set()
    for place in places:
        names = {*_KNOWN, *(DATASET_OUTPUTS if place.kind == "dataset" else ())}
        known |= {*place.label_files, *(place.folder / name for name in names)}
        folders |= {place.folder / name for name in (PHOTO_DRAWINGS, CLOSE_UPS)}
    jobs = {path.parent for path in given.rglob("job.json")}
    files = (path for path in sorted(given.rglob("*")) if path.is_symlink() or not path.is_dir())
    return [
        path.relative_to(given).as_posix()
        for path in files
        if path not in known and path.parent not in folders and path.name != TOMBSTONE_FILE
        if not path.name.startswith((UNFINISHED, ".lock"))
        if not any(_is_of_job(path.relative_to(job)) for job in jobs if path.is_relative_to(job))
    ]


def _is_of_job(path: pathlib.Path) -> bool:
    """Whether a file below the folder of a job of many inputs is a record of it."""
    return (
        path.as_posix() in ("job.json", "labels/manifest.json")
        or path.parts[0] in ("manifest", "parts")
        or (path.suffix == ".jsonl" and path.name.startswith("progress"))
    )


def as_composed(text: str) -> str:
    """Text whose accents are one letter with theirs, by which names are compared."""
    return unicodedata.normalize("NFC", text)


def _close_up_stem(stem: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in stem)[:_LONGEST_STEM]


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    return [path for path in folder.iterdir() if path.is_file() or path.is_symlink()]


def known_label(row: LabelRow, *, has_picture: bool = False) -> KnownLabel:
    """Whose a label is."""
    return KnownLabel(SourceName(row.source_path, row.source_sha256), row.track_id, row.label_id, has_picture)


def removal_places(given: pathlib.Path) -> list[RemovalPlace]:
    """The places that a path names: a label file, or all runs and exported data sets in a folder and below it.

    Raises:
        FileNotFoundError: If nothing is there.
        RemovalError: If it is none of these, or labels, drawings or their record are a link to somewhere else.
    """
    if not given.exists():
        raise FileNotFoundError(f"{given}: no such file or folder")
    if given.is_file():
        if given.name == LABELS_FILE:
            return [_place_of(given.parent, "run", [given])]
        if given.suffix != ".parquet" or is_dataset(given.parent.parent):
            raise RemovalError(f"{given}: is no label file; give the folder of a run or of an exported data set")
        return [_place_of(given.parent, "file", [given])]
    places = list(_places_below(given))
    if not places:
        raise RemovalError(
            f"{given}: no folder of ours: it holds neither {LABELS_FILE} of tools.annotate or tools.refine nor a data "
            "set of tools.export --format=hf; what other programs and formats have of a person is for you to delete"
        )
    return places


def _places_below(folder: pathlib.Path) -> Iterator[RemovalPlace]:
    """Places below a folder, deepest first, and the folder itself."""
    place = _folder_place(folder)
    for path in sorted(folder.iterdir()):
        is_of_place = place is not None and path.name in (*_DRAWN, DATA_FOLDER)
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".") and not is_of_place:
            yield from _places_below(path)
    if place is not None:
        yield place


def _folder_place(folder: pathlib.Path) -> RemovalPlace | None:
    if is_dataset(folder):
        return _place_of(folder, "dataset", dataset_shard_paths(folder))
    files = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    if files or any((folder / name).exists() for name in _DRAWN):
        return _place_of(folder, "run", files)
    return None


def _place_of(
    folder: pathlib.Path, kind: Literal["run", "dataset", "file"], label_files: list[pathlib.Path]
) -> RemovalPlace:
    for path in label_files:
        if path.is_symlink():
            raise RemovalError(f"{path}: is a link, behind which the labels would stay; give {path.resolve()}")
    if kind != "file":
        _check_no_links(folder, kind)
    return RemovalPlace(folder=folder, kind=kind, label_files=tuple(label_files))


def _check_no_links(folder: pathlib.Path, kind: Literal["run", "dataset"]) -> None:
    """See that nothing of a place lies elsewhere.

    Raises:
        RemovalError: If a drawing, a folder of drawings or the record is a link.
    """
    own = [folder / RUN_FILE, folder / REPORT]
    if kind == "run":
        own += [folder / name for name in _DRAWN]
        own += [path for name in (PHOTO_DRAWINGS, CLOSE_UPS) for path in sorted(_files(folder / name))]
    for path in own:
        if path.is_symlink():
            raise RemovalError(
                f"{path}: is a link, behind which pictures or names would stay; put what is at {path.resolve()} in "
                "its place, or delete both"
            )


# Names -------------------------------------------------------------------------------------------------


def sources_named(wanted: str, known: Collection[SourceName]) -> set[SourceName]:
    """Sources of a name or checksum, with all other places in which the same file was labelled.

    Args:
        wanted: Path as labels name it, one that ends in it, the end of one, or a SHA-256.
        known: All there are.

    Raises:
        RemovalError: If there is none, with those that are called alike, or several.
    """
    text = wanted.strip().replace("\\", "/").removeprefix("./")
    if _SHA256.fullmatch(text.lower()):
        found = {one for one in known if one.sha256 == text.lower()}
    else:
        found = {one for one in known if one.plain_path == text}
        text = as_composed(text)
        found = found or {one for one in known if one.comparable_path == text}
        found = found or {one for one in known if text and one.comparable_path.endswith(f"/{text}")}
        found = found or {one for one in known if text.endswith(f"/{one.comparable_path}")}
        contents = {one.sha256 for one in found}
        if len({one.plain_path for one in found}) > 1 and len(contents) > 1:
            named = ", ".join(sorted(one.plain_path for one in found)[:_MOST_NAMED])
            raise RemovalError(f"several sources are called {wanted!r}: {named}; give the whole path or the SHA-256")
    if not found:
        raise RemovalError(_no_source(wanted, known))
    shas = {one.sha256 for one in found}
    return {one for one in known if one.sha256 in shas}


def _no_source(wanted: str, known: Collection[SourceName]) -> str:
    paths = sorted({one.plain_path for one in known})
    name = pathlib.PurePosixPath(as_composed(wanted).replace("\\", "/")).name.casefold()
    by_name = {pathlib.PurePosixPath(as_composed(path)).name.casefold(): path for path in paths}
    alike = difflib.get_close_matches(name, by_name, n=_MOST_NAMED, cutoff=0.5)
    alike += [one for one in by_name if len(name) > 2 and name in one and one not in alike]
    near = [by_name[one] for one in alike[:_MOST_NAMED]]
    if near:
        return f"no label is of a source {wanted!r}; did you mean {', '.join(near)}?"
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return f"no label is of a source {wanted!r}; there are {', '.join(paths[:_MOST_NAMED])}{more}"


# Records -------------------------------------------------------------------------------------------------


def json_of(path: pathlib.Path) -> dict[str, Any]:
    """What a record says; without content where there is none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
