"""Copies among collected files: of equal content, and of equal pictures."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from hardmo_jax.perception import duplicates, video
from hardmo_jax.perception.duplicates import DuplicateOptions, Fingerprint
from hardmo_jax.pipelines import collect_source
from hardmo_jax.pipelines.collect_records import Collected
from hardmo_jax.pipelines.collect_source import Place

#: Folder of fingerprints in an output folder.
FINGERPRINTS = ".fingerprints"


def marked_copies(
    rows: Sequence[Collected],
    place: Place,
    options: DuplicateOptions | None,
    *,
    report: Callable[[int, int], None],
) -> list[Collected]:
    """Tell copies from what they are copies of, and put the files of both where they belong.

    Args:
        rows: Of all sources; of copies the earliest stays.
        place: Where files lie.
        options: What counts as a copy; None for equal content only.
        report: Told of how many files the pictures are known.
    """
    found = list(rows)
    prints: dict[int, Fingerprint] = {}
    originals: dict[str, int] = {}
    equal: dict[int, int] = {}
    candidates = [number for number, row in enumerate(found) if row.status in ("kept", "duplicate")]
    for done, number in enumerate(candidates):
        report(done, len(candidates))
        row = found[number]
        if row.sha256 in originals:
            equal[number] = originals[row.sha256]
            continue
        if options is not None:
            printed = _fingerprint(row, place, options)
            if isinstance(printed, str):
                row = dataclasses.replace(row, status="not_media", reason=printed, duplicate_of=None)
                found[number] = dataclasses.replace(row, file=collect_source.set_aside(row, place))
                continue
            if printed is not None:
                prints[number] = printed
                seconds = row.duration or printed.seconds
                found[number] = dataclasses.replace(row, perceptual_hash=printed.hash, duration=seconds)
        originals[row.sha256] = number
    report(len(candidates), len(candidates))
    alike = _alike(list(prints), list(prints.values()), options) if options is not None else {}
    for number in candidates:
        if found[number].status not in ("kept", "duplicate"):
            continue
        # Copies of copies are copies of the first.
        original, reason = number, ""
        if number in equal:
            original, reason = equal[number], "equal content"
        if original in alike:
            original, reason = alike[original][0], reason or alike[original][1]
        found[number] = _settled(found[number], found[original] if original != number else None, reason, place)
    known = {row.sha256 for row in found if row.status != "refused"}
    folder = place.output / FINGERPRINTS
    for path in folder.iterdir() if folder.is_dir() else ():
        # Small pictures of what was taken out go with it.
        if path.suffix == ".npz" and path.stem not in known:
            path.unlink()
    return found


def _settled(row: Collected, original: Collected | None, reason: str, place: Place) -> Collected:
    """A row with its status, its file where that belongs."""
    if original is None and row.file is None:
        return dataclasses.replace(
            row, status="failed", duplicate_of=None, reason="was deleted as a copy of a file that is gone; run again"
        )
    if original is None:
        reason = row.reason if row.status == "kept" else ""
        row = dataclasses.replace(row, status="kept", duplicate_of=None, reason=reason)
        return dataclasses.replace(row, file=collect_source.put_back(row, place))
    row = dataclasses.replace(
        row,
        status="duplicate",
        duplicate_of=original.source,
        reason=f"{reason} as {original.source[:200]}",
        perceptual_hash=row.perceptual_hash or original.perceptual_hash,
    )
    return dataclasses.replace(row, file=collect_source.set_aside(row, place))


def _alike(numbers: list[int], prints: list[Fingerprint], options: DuplicateOptions) -> dict[int, tuple[int, str]]:
    """Number of a copy -> number of the earliest that stays, and what they share."""
    found: dict[int, tuple[int, str]] = {}
    for first, second, likeness in duplicates.find_copies(prints, options):
        # A copy of a copy is not compared with the first again: chains of near pictures must not grow.
        if numbers[first] not in found and numbers[second] not in found:
            mirrored = "mirrored, " if likeness.is_mirrored else ""
            shown = likeness.likeness if likeness.agreement is None else likeness.agreement
            found[numbers[second]] = (numbers[first], f"same pictures ({mirrored}correlation {shown:.2f})")
    return found


def _fingerprint(row: Collected, place: Place, options: DuplicateOptions) -> Fingerprint | str | None:
    """The fingerprint of a file, kept from an earlier run or made; why there is none; None if there is no file."""
    kept = place.output / FINGERPRINTS / f"{row.sha256}.npz"
    known = duplicates.read_fingerprint(kept, options)
    if known is not None or row.file is None:
        return known
    path = pathlib.Path(row.file) if row.is_reference else place.output / row.file
    if not path.is_file():
        return None
    try:
        made = duplicates.fingerprint(path, options)
    except video.MediaError as error:
        return str(error).removeprefix(f"{path}: ")[:300]
    duplicates.write_fingerprint(kept, made)
    return made
