"""The report of a label store: one HTML file with its numbers, its worst hands and feet, and where it comes from."""

import collections
import dataclasses
import datetime
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8

import hardmo_jax
from hardmo_jax.body.array_files import BodyFileError
from hardmo_jax.body.model import BodyModel
from hardmo_jax.hardcase.mine import MinedPart
from hardmo_jax.labels import provenance, store
from hardmo_jax.labels.schema import LabelError, LabelRow
from hardmo_jax.labels.store_places import labels_below
from hardmo_jax.perception import photos
from hardmo_jax.pipelines.annotate_options import BodyOptions, load_body_option
from hardmo_jax.pipelines.body_of_labels import body_option_of_labels
from hardmo_jax.pipelines.label_rows import split_by_body
from hardmo_jax.pipelines.labelled_pictures import picture_root
from hardmo_jax.pipelines.refine_drawing import CloseUpOptions, CloseUps
from hardmo_jax.pipelines.refine_labels import RefinedPartOfLabel
from hardmo_jax.pipelines.shared_store import labels_file
from hardmo_jax.skeleton.layouts import PARTS, part_of
from hardmo_jax.viz.report_data import WRONG_FROM, ReportCloseUp, ReportContent
from hardmo_jax.viz.report_page import report_html
from hardmo_jax.whole_files import replacing

Progress = Callable[[str, int, int | None], None]
#: Name of the page beside the labels.
REPORT_NAME = "report.html"
#: Close-ups, half of them of parts that were repaired if there are so many; bytes and pixels of each.
MOST_CLOSE_UPS = 24
_MOST_BYTES, _CELL = 30_000, 220
_QUALITIES = (82, 70, 55, 40, 25)
#: Close-ups of one part of one person, and frames between them: neighbours look alike.
_MOST_OF_ONE, _FRAMES_APART = 3, 8
_MOST_RECORD_BYTES = 4 << 20


class ReportError(LabelError):
    """Labels of which no report can be made; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """What was written."""

    path: pathlib.Path
    num_bytes: int
    num_labels: int
    num_close_ups: int
    warnings: tuple[str, ...]


def write_report(
    labels: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    pictures: str | os.PathLike[str] | None = None,
    body: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> ReportSummary:
    """Write the report of stored labels, whole or not at all.

    Args:
        labels: File of labels, or folder with them, also in shards; that of a demo has them one folder below.
        output: File to write; None takes `report.html` beside the labels.
        pictures: Folder or video that was labelled; None takes what `run.json` beside the labels says.
        body: File of the body model of the labels; None takes what `run.json` says, else the open body.
        progress: Called as work goes on.

    Raises:
        FileNotFoundError: If there are no labels, or the given pictures are not there.
        hardmo_jax.labels.schema.LabelError: If the labels are damaged or of a newer version.
        ReportError: If there is no label in them, or the output is one of them.
    """
    path = _store_of(labels)
    folder = path if path.is_dir() else path.parent
    target = folder / REPORT_NAME if output is None else pathlib.Path(output)
    if target.is_dir():
        target = target / REPORT_NAME
    if target.suffix.lower() not in (".html", ".htm"):
        raise ReportError(f"{target}: a report is a page; give a name that ends in .html")
    found = store.read_labels(path)
    if not found.rows:
        raise ReportError(f"{path}: no label is in it, so that there is nothing to report; `tools.annotate` makes some")
    rows = store.latest_labels(found.rows)
    run, warnings = _run_record(folder)
    chosen = _worst_parts(rows, _before_repair(rows, found.rows))
    root = picture_root(folder / "labels.parquet", pictures) if run or pictures is not None else None
    close_ups, note = _draw(chosen, root, body_option_of_labels(rows, run, body), warnings, progress)
    if found.absent_columns:
        warnings.append(f"labels of an older schema: {len(found.absent_columns)} columns are not told")
    now = datetime.datetime.now(datetime.UTC)
    page = report_html(
        ReportContent(
            title=f"Labels of {_told_sources(rows)}",
            rows=rows,
            repaired=_repaired_errors(rows, found.rows),
            num_versions=len(found.rows),
            close_ups=close_ups,
            close_up_note=note,
            run=run,
            warnings=[*_warnings_of_run(run), *warnings],
            written=f"report of {now:%Y-%m-%d %H:%M} UTC by hardmo_jax {hardmo_jax.__version__}",
        )
    )
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return ReportSummary(
        path=target,
        num_bytes=target.stat().st_size,
        num_labels=len(rows),
        num_close_ups=len(close_ups),
        warnings=tuple(warnings),
    )


def _store_of(labels: str | os.PathLike[str]) -> pathlib.Path:
    """What is read: a file, or a folder of shards, which are nobody's to change here."""
    source = labels_below(labels)
    if source.is_dir() and any(source.glob("labels-*.parquet")):
        return source
    return labels_file(source)


def _told_sources(rows: Sequence[LabelRow]) -> str:
    names = list(dict.fromkeys(pathlib.PureWindowsPath(row.source_path).name for row in rows))
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} others"


def _run_record(folder: pathlib.Path) -> tuple[dict, list[str]]:
    """The record of the run beside the labels, and what is wrong with it."""
    path = folder / "run.json"
    if not path.is_file():
        return {}, ["no run.json lies beside the labels: nothing tells how they were made"]
    record = provenance.read_run(path, max_bytes=_MOST_RECORD_BYTES)
    if not record:
        return {}, ["the run.json beside the labels is damaged, or not one of a run: nothing tells how they were made"]
    return record, []


def _warnings_of_run(run: dict) -> list[str]:
    results = run.get("results")
    told = results.get("warnings") if isinstance(results, dict) else None
    return [str(warning)[:500] for warning in told[:20]] if isinstance(told, list) else []


# Which hands and feet ------------------------------------------------------------------------------------


def _is_mended(row: LabelRow, part: str) -> bool:
    """Whether a part is as a repair run made it, or a person."""
    return row.outcome_by_part[part] == "refined" or any(part_of(name) == part for name in row.placed_points or ())


def _before_repair(latest: Sequence[LabelRow], every: Sequence[LabelRow]) -> dict[tuple[str, str], LabelRow]:
    """Of each part that was repaired, the newest version in which it was not, by label and part."""
    versions: dict[str, list[LabelRow]] = collections.defaultdict(list)
    for row in every:
        versions[row.label_id].append(row)
    before = {}
    for row in latest:
        if not row.is_usable:
            continue
        older = sorted(versions[row.label_id], key=lambda one: -one.label_version)
        for part in PARTS:
            if part == "body" or not _is_mended(row, part):
                continue
            former = next((one for one in older if one.is_usable and not _is_mended(one, part)), None)
            if former is not None:
                before[row.label_id, part] = former
    return before


def _repaired_errors(latest: Sequence[LabelRow], every: Sequence[LabelRow]) -> dict[str, list[tuple[float, float]]]:
    before = _before_repair(latest, every)
    errors: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)
    for row in latest:
        for part in PARTS:
            former, after = before.get((row.label_id, part)), row.error_by_part[part]
            if former is not None and after is not None and (error := former.error_by_part[part]) is not None:
                errors[part].append((error, after))
    return dict(errors)


def _worst_parts(
    rows: Sequence[LabelRow], before: dict[tuple[str, str], LabelRow]
) -> tuple[list[RefinedPartOfLabel], list[RefinedPartOfLabel]]:
    """Repaired hands and feet that were worst, and others that are, each worst first."""
    repaired, left = [], []
    for place, row in enumerate(rows):
        for part in PARTS:
            error = row.error_by_part[part]
            if part == "body" or not row.is_usable or error is None:
                continue
            former = before.get((row.label_id, part))
            if former is None and (row.review == "accepted" or row.review_by_part[part] == "right"):
                continue
            probability = (former or row).probability_wrong(part) or 0.0
            found = RefinedPartOfLabel(
                found=MinedPart(row=place, part=part, probability=probability),
                outcome=row.outcome_by_part[part] or ("by hand" if former is not None else ""),
                before=former or row,
                after=row,
            )
            (left if former is None else repaired).append(found)

    def worst(one: RefinedPartOfLabel) -> tuple[float, float]:
        return one.found.probability, one.before.error_by_part[one.found.part] or 0.0

    def gain(one: RefinedPartOfLabel) -> tuple[bool, float]:
        errors = [row.error_by_part[one.found.part] or 0.0 for row in (one.before, one.after)]
        return one.found.probability >= WRONG_FROM, errors[0] - errors[1]

    repaired, left = _apart(sorted(repaired, key=gain, reverse=True)), _apart(sorted(left, key=worst, reverse=True))
    half = MOST_CLOSE_UPS // 2
    num_left = min(len(left), max(half, MOST_CLOSE_UPS - len(repaired)))
    return repaired[: MOST_CLOSE_UPS - num_left], left[:num_left]


def _apart(ranked: Sequence[RefinedPartOfLabel]) -> list[RefinedPartOfLabel]:
    """The first ones, without those that show what another one shows."""
    taken: dict[tuple[str, str, int, str], list[int]] = collections.defaultdict(list)
    kept = []
    for one in ranked:
        row = one.after
        frames = taken[row.source_path, row.source_sha256, row.track_id, one.found.part]
        if len(frames) < _MOST_OF_ONE and all(abs(row.frame_index - frame) >= _FRAMES_APART for frame in frames):
            frames.append(row.frame_index)
            kept.append(one)
        if len(kept) == MOST_CLOSE_UPS:
            break
    return kept


# Close-ups -----------------------------------------------------------------------------------------------


def _draw(
    chosen: tuple[list[RefinedPartOfLabel], list[RefinedPartOfLabel]],
    root: pathlib.Path | None,
    option: BodyOptions,
    warnings: list[str],
    progress: Progress | None,
) -> tuple[list[ReportCloseUp], str]:
    """Close-ups of the parts whose pictures are there, and a sentence about them."""
    parts = [*chosen[0], *chosen[1]]
    if not parts:
        return [], "No hand or foot was seen."
    if root is None:
        warnings.append("no close-ups: nothing says where the pictures are; give their folder (--pictures)")
        return [], "There are no close-ups: nothing says where the pictures are. The list below has the numbers."
    try:
        body: BodyModel = load_body_option(option)
    except (OSError, BodyFileError) as error:
        warnings.append(f"no close-ups, for the body of the labels is not there: {error}; give its file (--body)")
        return [], "There are no close-ups: the body of the labels was not there. The list below has the numbers."
    own = {id(row) for row in split_by_body([row for one in parts for row in (one.before, one.after)], body)[0]}
    drawable = [one for one in parts if id(one.before) in own and id(one.after) in own]
    drawing = CloseUps(body=body, options=CloseUpOptions(most=MOST_CLOSE_UPS), root=root)
    made: dict[int, ReportCloseUp] = {}
    each = drawing.each(drawable, progress or _silent, is_titled=False, only_pictured=True, cell=_CELL)
    for place, picture in each if drawable else ():
        made[place] = _close_up(drawable[place], picture)
    warnings += [warning.replace("close-ups on paper", "close-ups left out") for warning in drawing.warnings]
    close_ups = [made[place] for place in sorted(made)]
    note = f"{len(close_ups)} of {len(parts)} chosen: the repaired ones that were worst, then those that are not right."
    if len(close_ups) < len(parts):
        note += " The others have no picture here, or are of another body."
    return close_ups, note


def _silent(stage: str, done: int, total: int | None) -> None:
    del stage, done, total


def _close_up(part: RefinedPartOfLabel, picture: UInt8[np.ndarray, "H W 3"]) -> ReportCloseUp:
    name, row, is_repaired = part.found.part, part.after, part.before is not part.after
    if not is_repaired:
        # The same label twice would only ask what the difference is.
        picture = picture[:, : 2 * _CELL]
    time = f"frame {row.frame_index}" if row.time_seconds is None else f"{row.time_seconds:.2f} s"
    source = pathlib.PureWindowsPath(row.source_path).name
    told = []
    if (wrong := part.before.wrong_by_part[name]) is not None:
        after = row.wrong_by_part[name]
        told.append(
            f"wrong {100 * wrong:.0f} %" + (f" → {100 * after:.0f} %" if is_repaired and after is not None else "")
        )
    errors = [one.error_by_part[name] for one in ((part.before, row) if is_repaired else (row,))]
    told.append("error " + " → ".join("–" if error is None else f"{100 * error:.1f} %" for error in errors))
    if (word := row.review_by_part[name]) is not None:
        told.append(f"a person says {word}")
    if (reason := part.before.reason_by_part[name]) not in (None, "none"):
        told.append(str(reason).replace("_", " "))
    if part.outcome:
        told.append(f"repair: {part.outcome.replace('_', ' ')}")
    return ReportCloseUp(
        title=f"{source} {time}, person {row.track_id}, {name.replace('_', ' ')}",
        what=", ".join(told),
        panels=("seen", "before", "after") if is_repaired else ("seen", "label"),
        label=part.found.row,
        jpeg=_small_jpeg(picture),
        size=(picture.shape[1], picture.shape[0]),
    )


def _small_jpeg(picture: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """As good as fits into the bytes."""
    data = b""
    for quality in _QUALITIES:
        data = photos.encode_jpeg(picture, quality=quality)
        if len(data) <= _MOST_BYTES:
            break
    return data
