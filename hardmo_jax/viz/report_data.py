"""What the report of a label store shows, as plain numbers and words.

Labels are told in columns of whole numbers, so that thousands of them make a small page: errors in hundredths of a
percent of the box, scores and probabilities in tenths of a percent, times in hundredths of a second.
"""

import dataclasses
import math
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hardmo_jax.labels.schema import FAILED_STATUSES, PART_REVIEWS, STATUSES, LabelRow
from hardmo_jax.skeleton.layouts import PARTS

#: Labels that the list and the timelines hold; all count in the numbers.
MOST_LISTED = 40_000
#: Probability from which a hand or foot is shown as wrong.
WRONG_FROM = 0.5
#: Bars of a histogram, and the share of errors that they show one by one.
_NUM_BARS, _SHOWN_SHARE = 30, 0.99
#: Letters of a label's name: enough to find it in the store.
_ID_LETTERS = 12
#: Words of a record that are shown; longer ones are cut off.
_MOST_LETTERS = 100_000
_MOST_DEPTH = 24
_LINE = "\n"

# A place in a file system from its root to the last separator: `/`, `~/`, `C:\`, `\\host\` or `file:/`. Folders may
# have spaces in their names, so that two paths in one sentence lose what stands between them.
_FOLDERS = re.compile(
    r"""(?:file:/+|(?<![A-Za-z])[A-Za-z]:[\\/]|(?<!\\)\\\\(?=\w)|(?<![\w~])~[\w.-]*[\\/]|(?<![\w/.:~])/(?=\S))"""
    r"""(?:[^'"=,;:<>|\n]*[\\/])?"""
)
# A home folder by itself, whose last name is a person's: as a word, or as all of a text; and what a path begins with
# that is relative to the root.
_ROOT, _HOMES = r"(?:file:/+|(?<![A-Za-z])[A-Za-z]:[\\/]|(?<![\w.~/\\])[\\/])", r"(?:home|Users)[\\/]+"
_HOME = re.compile(
    rf"""^{_ROOT}{_HOMES}[^\\/'"=,;:<>|\n]+[\\/]*$|{_ROOT}{_HOMES}[^\\/\s'"=,;:<>|()\[\]]+[\\/]*"""
    # A blank may be one inside of a name: the path goes on if a separator follows.
    r"""(?=$|['",;:<>|()\[\]]|\s(?![^\\/'"=,;:<>|\n]*[\\/]))"""
)
_BELOW_ROOT = re.compile(rf"^{_HOMES}[^\\/]+[\\/]")
_URL_USERS = re.compile(r"(?<=://)[^/\s@]+@")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportCloseUp:
    """A hand or foot as it was seen and labelled."""

    title: str
    """Whose it is."""
    what: str
    """What speaks against it, and what became of it."""
    panels: tuple[str, ...]
    """What is side by side in the picture."""
    label: int | None
    """Place among the labels of the report."""
    jpeg: bytes
    """The picture."""
    size: tuple[int, int]
    """Width and height, pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportContent:
    """What a report is made of. Words may come from strangers: the page shows them as text."""

    title: str
    rows: Sequence[LabelRow]
    """Newest version of each label."""
    repaired: Mapping[str, Sequence[tuple[float, float]]] = dataclasses.field(default_factory=dict)
    """Errors before and after of each part that was repaired, shares of the box."""
    num_versions: int | None = None
    """Labels with those that were replaced; None if nobody counted."""
    close_ups: Sequence[ReportCloseUp] = ()
    close_up_note: str = ""
    """Why there are no more close-ups."""
    run: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The record of the run that made the labels, as `run.json` has it."""
    warnings: Sequence[str] = ()
    written: str = ""
    """When and by which version the page was made."""


def report_data(content: ReportContent) -> dict[str, Any]:
    """What the page reads, without its pictures: JSON types, and no place in a file system.

    Args:
        content: Of the report.
    """
    rows = content.rows
    listed = rows[:MOST_LISTED]
    frames = {(row.source_path, row.source_sha256, row.frame_index) for row in rows}
    people = {(row.source_path, row.source_sha256, row.track_id) for row in rows}
    counts = {status: sum(row.status == status for row in rows) for status in STATUSES}
    facts = [
        ("labels", str(len(rows))),
        ("people", str(len(people))),
        ("frames", str(len(frames))),
        ("photos and videos", str(len({(row.source_path, row.source_sha256) for row in rows}))),
        *((status, str(count)) for status, count in counts.items() if count),
        ("badly seen", str(sum(bool(row.quality_reasons) for row in rows))),
        ("looked at by a person", str(sum(row.was_looked_at for row in rows))),
        *((name, str(count)) for name, count in _said(rows).items() if count),
    ]
    if content.num_versions is not None:
        facts.append(("versions in the store", str(content.num_versions)))
    return {
        "title": without_folders(content.title),
        "subtitle": content.written,
        "facts": facts,
        "warnings": [without_folders(warning) for warning in content.warnings],
        "parts": list(PARTS),
        "part_summaries": [_part_summary(part, rows, content.repaired.get(part, ())) for part in PARTS],
        "histograms": [_histogram(part, rows) for part in PARTS],
        "labels": _columns(listed),
        "left_out": len(rows) - len(listed),
        "failed": list(FAILED_STATUSES),
        "status_order": list(STATUSES),
        "wrong_from": round(100 * WRONG_FROM),
        "close_up_note": without_folders(content.close_up_note),
        "origin": _origin(content),
        "run": _run_texts(content.run),
    }


def _said(rows: Sequence[LabelRow]) -> dict[str, int]:
    """What people said and did, in labels, hands and feet."""
    words = [row.review_by_part[part] for row in rows for part in PARTS]
    return {
        "accepted": sum(row.review == "accepted" for row in rows),
        "rejected": sum(row.review == "rejected" for row in rows),
        "corrected by hand": sum(row.origin == "human" for row in rows),
        **{f"hands and feet called {word}": words.count(word) for word in PART_REVIEWS},
    }


def without_folders(text: str) -> str:
    """Text of which no path tells in which folder of a machine it is: only last names are left.

    Args:
        text: Any.
    """
    text = _URL_USERS.sub("", text)
    return _FOLDERS.sub("", _HOME.sub("~", _BELOW_ROOT.sub("", text)))


def _errors(part: str, rows: Sequence[LabelRow]) -> np.ndarray:
    """Errors of a part of usable labels, % of the box."""
    found = [error for row in rows if row.is_usable and (error := row.error_by_part[part]) is not None]
    return 100 * np.asarray(found, np.float64)


def _part_summary(part: str, rows: Sequence[LabelRow], repaired: Sequence[tuple[float, float]]) -> dict[str, Any]:
    errors = _errors(part, rows)
    scores = [score for row in rows if row.is_usable and (score := row.score_by_part[part]) is not None]
    wrong = [probability for row in rows if (probability := row.probability_wrong(part)) is not None]
    before, after = np.median(np.asarray(repaired, np.float64), axis=0) if repaired else (None, None)
    return {
        "part": part,
        "count": len(errors),
        "median": round(float(np.median(errors)), 4) if len(errors) else None,
        "high": round(float(np.percentile(errors, 90)), 4) if len(errors) else None,
        "score": round(100 * float(np.median(scores)), 2) if scores else None,
        "wrong": sum(probability >= WRONG_FROM for probability in wrong) if wrong else None,
        "refined": len(repaired),
        "before": None if before is None else round(100 * float(before), 4),
        "after": None if after is None else round(100 * float(after), 4),
    }


def _histogram(part: str, rows: Sequence[LabelRow]) -> dict[str, Any]:
    errors = _errors(part, rows)
    if not len(errors):
        return {"part": part, "count": 0, "width": 1.0, "counts": []}
    width = max(float(np.quantile(errors, _SHOWN_SHARE)) / (_NUM_BARS - 1), 1e-3)
    places = np.minimum(errors / width, _NUM_BARS - 1).astype(int)
    counts = np.bincount(places, minlength=_NUM_BARS).tolist()
    return {"part": part, "count": len(errors), "width": round(width, 6), "counts": counts}


def _columns(rows: Sequence[LabelRow]) -> dict[str, Any]:
    """Labels in columns; words are told once, and by number in each label."""
    columns: dict[str, Any] = {
        "frame": [row.frame_index for row in rows],
        "track": [row.track_id for row in rows],
        "time": [_whole(row.time_seconds, 100.0) for row in rows],
        "version": [row.label_version for row in rows],
        "ids": [row.label_id[:_ID_LETTERS] for row in rows],
    }
    # Sources of one name in several folders stay apart.
    keys = list(dict.fromkeys((row.source_path, row.source_sha256) for row in rows))
    number_of = {key: number for number, key in enumerate(keys)}
    columns["sources"] = [without_folders(path) for path, _ in keys]
    columns["source"] = [number_of[row.source_path, row.source_sha256] for row in rows]
    words: dict[str, tuple[str, Callable[[LabelRow], str]]] = {
        "statuses": ("status", lambda row: row.status),
        "reviews": ("review", lambda row: row.review),
        "origins": ("origin", lambda row: row.origin),
        "categories": ("category", lambda row: without_folders(row.category or "")),
        "qualities": ("quality", lambda row: ", ".join(row.quality_reasons or ())),
        "placements": ("placed", lambda row: ", ".join(row.placed_points or ())),
    }
    for many, (one, read) in words.items():
        columns[many], columns[one] = _numbered([read(row) for row in rows])
    for name, factor in (("error", 1e4), ("score", 1e3), ("wrong", 1e3)):
        columns[name] = {
            part: [_whole(getattr(row, f"{name}_by_part")[part], factor) for row in rows] for part in PARTS
        }
    for many, name in (("reasons", "reason"), ("outcomes", "outcome"), ("part_reviews", "review")):
        told = {part: [getattr(row, f"{name}_by_part")[part] or "" for row in rows] for part in PARTS}
        columns[many], numbers = _numbered([word for part in PARTS for word in told[part]])
        size = len(rows)
        columns[f"{name}_by_part"] = {
            part: numbers[place * size : (place + 1) * size] for place, part in enumerate(PARTS)
        }
    return columns


def _whole(value: float | None, factor: float) -> int | None:
    return None if value is None or not math.isfinite(value) else round(value * factor)


def _numbered(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """Each word once, and which one stands where."""
    number_of = {word: number for number, word in enumerate(dict.fromkeys(words))}
    return list(number_of), [number_of[word] for word in words]


def _origin(content: ReportContent) -> list[tuple[str, str]]:
    """What made the labels, in a few lines."""
    rows, run = content.rows, content.run
    lines = [
        ("body", _several(f"{row.body_model} ({row.body_model_sha256[:12]})" for row in rows)),
        ("keypoints", _several(row.keypoint_source for row in rows)),
        ("cameras", _several(row.camera_source for row in rows)),
        ("licences", _several(row.licence or "not told" for row in rows)),
        ("code", _several(row.code_version or "not told" for row in rows)),
        ("config", _several((row.config_sha256 or "not told")[:12] for row in rows)),
        ("made", f"{min(row.created_utc for row in rows):%Y-%m-%d %H:%M} to "
                 f"{max(row.created_utc for row in rows):%Y-%m-%d %H:%M} UTC" if rows else "-"),
    ]  # fmt: skip
    command = run.get("command")
    if isinstance(command, list) and command:
        lines.append(("command", " ".join(_without_folders_of_word(word) for word in map(str, command))))
    for name, told in (("commit", run.get("git_commit")), ("started", run.get("start_utc"))):
        if isinstance(told, str):
            lines.append((name, told))
    return [(name, without_folders(told)[:_MOST_LETTERS]) for name, told in lines]


def _several(words: Any) -> str:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    told = ", ".join(word if len(ranked) == 1 else f"{word}: {count}" for word, count in ranked[:8])
    return told + (f" and {len(ranked) - 8} others" if len(ranked) > 8 else "")


def _without_folders_of_word(word: str) -> str:
    """A word of a command line: a whole value may be a path, whatever letters are in it."""
    name, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    if re.match(r"[\\/~]|[A-Za-z]:[\\/]|file:", value):
        value = pathlib.PureWindowsPath(value).name
    return name + equals + value


def _run_texts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The record of the run, a text for each of its chapters."""
    return [(without_folders(str(name)), _told(value, 0)[:_MOST_LETTERS]) for name, value in run.items()]


def _told(value: Any, depth: int) -> str:
    """A record as indented lines."""
    if depth > _MOST_DEPTH:
        return "…"
    indent = "  " * depth
    if isinstance(value, Mapping) and value:
        lines = []
        for name, one in value.items():
            told = _told(one, depth + 1)
            lines.append(f"{indent}{without_folders(str(name))}:{'' if told.startswith(_LINE) else ' '}{told}")
        return ("\n" if depth else "") + "\n".join(lines)
    if isinstance(value, list | tuple) and value:
        if all(one is None or isinstance(one, int | float | str) for one in value):
            return ", ".join(_without_folders_of_word(without_folders(str(one))) for one in value)
        return "\n" + "\n".join(_told(one, depth + 1) for one in value)
    return _without_folders_of_word(without_folders(str(value))) if isinstance(value, str) else str(value)
