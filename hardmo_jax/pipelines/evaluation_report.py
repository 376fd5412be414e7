"""Scores as tables, text and JSON: the poster's three tables first, then what they cannot show."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hardmo_jax.labels import provenance
from hardmo_jax.metrics.bootstrap import PairedDifference
from hardmo_jax.pipelines.set_scores import CURVE, SetScore

#: Metrics whose values are not lengths.
_DEGREES = ("orientation_degrees", "orientation_after_body_alignment_degrees", "joint_angle_degrees")
_PARTS = ("body", "hand", "foot")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Text in rows and columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def make_tables(results: Sequence[SetScore]) -> list[Table]:
    """Tables of results: all people, hands, feet, then what needs no alignment of rigid parts, clips and stress.

    Returns:
        Tables that have at least one row.
    """
    by_set: dict[str, list[SetScore]] = {}
    for result in results:
        by_set.setdefault(result.set_name.partition("/")[2], []).append(result)
    benchmark = results[0].set_name.partition("/")[0] if results else ""
    tables = [
        _poster_table(f"{benchmark}: all", {"": by_set.get("test", [])}),
        _poster_table(
            f"{benchmark}-Hand: P1 the hardest wrists, P2 the next",
            {"P1 ": by_set.get("hand_p1", []), "P2 ": by_set.get("hand_p2", [])},
        ),
        _poster_table(
            f"{benchmark}-Foot: P1 the hardest ankles (and toes, where the motion turns them), P2 the next",
            {"P1 ": by_set.get("foot_p1", []), "P2 ": by_set.get("foot_p2", [])},
        ),
        _style_table(by_set.get("test", [])),
        _limb_table(results),
        _other_sets_table(by_set),
        _count_table(results),
    ]
    return [table for table in tables if table.rows]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two methods on one set, person by person."""

    first: str
    second: str
    set_name: str
    differences: Mapping[str, PairedDifference]
    """Errors of the first minus those of the second, by metric."""


def comparison_table(comparison: Comparison) -> Table:
    """Paired differences with their intervals."""
    first, second, rows = comparison.first, comparison.second, []
    for name, difference in comparison.differences.items():
        scale, unit = (1.0, "deg") if _is_degrees(name) else (1000.0, "mm")
        if name.startswith("acceleration_error/"):
            scale, unit = 1.0, "m/s2"
        if name.startswith("joint_angle_degrees/"):
            continue  # 21 rows that the JSON has
        values = [scale * value for value in (difference.mean, difference.low, difference.high)]
        verdict = "no difference shown"
        if difference.is_significant:
            verdict = f"{first if difference.mean < 0 else second} is better"
        rows.append(
            (
                name,
                f"{values[0]:+.1f}",
                f"{values[1]:+.1f} to {values[2]:+.1f}",
                unit,
                f"{difference.num_samples} / {difference.num_groups}",
                verdict,
            )
        )
    return Table(
        title=f"{first} minus {second} on {comparison.set_name}: paired, bootstrap over seconds of these takes",
        columns=("error", "difference", "95 % interval", "unit", "samples / groups", ""),
        rows=tuple(rows),
    )


def to_markdown(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """Tables and notes as a page."""
    parts = []
    for table in tables:
        head = "| " + " | ".join(table.columns) + " |"
        rule = "|" + "|".join("---" if column == 0 else "---:" for column in range(len(table.columns))) + "|"
        rows = ["| " + " | ".join(row) + " |" for row in table.rows]
        parts.append("\n".join([f"### {table.title}", "", head, rule, *rows]))
    parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def results_mapping(
    results: Sequence[SetScore], comparisons: Sequence[Comparison], benchmark: Mapping[str, str]
) -> dict[str, Any]:
    """Everything that was measured, without what changes from run to run; NaN is null."""
    return {
        "benchmark_checksums": dict(benchmark),
        "pck_curve_thresholds": list(CURVE),
        "results": [
            {
                "method": result.method, "set": result.set_name, "protocol": result.protocol.describe(),
                "samples": result.num_samples, "missing": result.num_missing, "nonfinite": result.num_nonfinite,
                "status": result.status_counts,
                "metrics": {name: _number(value) for name, value in result.means.items()},
                "pck_thresholds": list(result.protocol.pck_thresholds),
                "pck_auc": {name: _number(value) for name, value in result.auc.items()},
                "pck": {name: [_number(value) for value in values] for name, values in result.pck.items()},
                "pck_curve": {name: [_number(value) for value in values] for name, values in result.curves.items()},
                "joint_errors": {name: _number(value) for name, value in result.joint_errors.items()},
                "left_out": {
                    name: {"left_out": lost, "of": total} for name, (lost, total) in result.left_out.items()
                },
            }
            for result in results
        ],
        "comparisons": [dataclasses.asdict(comparison) for comparison in comparisons],
    }  # fmt: skip


def write_reports(
    folder: pathlib.Path, tables: Sequence[Table], notes: Sequence[str], values: Mapping[str, Any], *, title: str
) -> tuple[pathlib.Path, pathlib.Path]:
    """Write `evaluation.json` and `evaluation.md`, whole or not at all; equal results are equal files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / "evaluation.json", folder / "evaluation.md")
    texts = (
        json.dumps(values, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n",
        f"# {title}\n\n{to_markdown(tables, notes)}",
    )
    for path, text in zip(paths, texts, strict=True):
        with provenance.replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths


def _poster_table(title: str, groups: Mapping[str, Sequence[SetScore]]) -> Table:
    """Columns of the poster: error, aligned error and PCK of body, hand and foot; one row a method and split."""
    some = next((result for members in groups.values() for result in members), None)
    if some is None:
        return Table(title=title, columns=(), rows=())
    labels = {
        part: next((points.label for points in some.protocol.point_sets if points.name == part), None)
        for part in _PARTS
    }
    parts = [label for label in labels.values() if label]
    parts = parts or [points.label for points in some.protocol.point_sets]
    # Some protocols take PCK over other points than errors.
    names = {label.rpartition("_")[0]: label for label in some.pck}
    hit = [names[part] for part in _PARTS if part in names] or list(some.pck)
    columns = ["method", f"MPJPE {' / '.join(parts)}, mm", f"PA-MPJPE {' / '.join(parts)}, mm"]
    columns += [f"PCK@{threshold:g} {' / '.join(hit)}" for threshold in some.protocol.pck_thresholds if hit]
    columns += ["PVE, mm", "turned round, %", "people"]
    rows = []
    for prefix, members in groups.items():
        for result in members:
            row = [prefix + result.method]
            for metric in ("mpjpe", "pa_mpjpe"):
                row.append(" / ".join(_millimetres(result.means.get(f"{metric}/{label}")) for label in parts))
            for index in range(len(some.protocol.pck_thresholds) if hit else 0):
                values = [result.pck.get(label) for label in hit]
                row.append(" / ".join("-" if value is None else f"{value[index]:.3f}" for value in values))
            row.append(_millimetres(_only(result.means, "vertex_error/")))
            turned = result.means.get("turned_round_share/pelvis")
            row.append("-" if turned is None or not math.isfinite(turned) else f"{100 * turned:.1f}")
            scored = result.num_samples - result.num_missing - result.num_nonfinite
            row.append(str(scored) if scored == result.num_samples else f"{scored} of {result.num_samples}")
            rows.append(tuple(row))
    return Table(title=title, columns=tuple(columns), rows=tuple(rows))


def _style_table(results: Sequence[SetScore]) -> Table:
    """Errors of the body by kind of motion; empty where there is one kind only."""
    styles = sorted({style for result in results for style in result.styles})
    rows = []
    for result in results:
        row = [result.method]
        for style in styles:
            is_style = np.array([own == style for own in result.styles])
            for metric in ("mpjpe", "pa_mpjpe"):
                errors = result.errors.get(f"{metric}/{result.protocol.point_set(result.protocol.body_set).label}")
                values = np.zeros(0) if errors is None else errors[is_style & np.isfinite(errors)]
                row.append(_millimetres(float(values.mean()) if values.size else None))
        rows.append(tuple(row))
    return Table(
        title="By kind of motion: MPJPE and PA-MPJPE of the body, mm",
        columns=("method", *(f"{style}{metric}" for style in styles for metric in ("", ", PA"))),
        rows=tuple(rows) if len(styles) > 1 else (),
    )


def _limb_table(results: Sequence[SetScore]) -> Table:
    """Errors of hands and feet that the alignment of rigid parts would hide; left / right."""
    rows = []
    for result in results:
        row = [f"{result.set_name.partition('/')[2]} {result.method}"]
        row += [_sides(result, "relative_error", part, "") for part in ("hand", "foot")]
        row += [_sides(result, "orientation_degrees", base, "deg") for base in ("wrist", "ankle")]
        row.append(_sides(result, "arm_pa", "arm", ""))
        if any(text != "-" for text in row[1:]):
            rows.append(tuple(row))
    return Table(
        title="Hands and feet, left / right",
        columns=(
            "set, method", "hand from wrist after body alignment, mm", "foot from ankle after body alignment, mm",
            "hand orientation, deg", "foot orientation, deg", "PA of elbow, wrist and 5 tips, mm",
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _sides(result: SetScore, metric: str, part: str, unit: str) -> str:
    """Left and right value of a metric whose points are called after the side and the part."""
    texts = []
    for side in ("left", "right"):
        values = [
            value
            for name, value in result.means.items()
            if name.startswith(f"{metric}/{side}_{part}") and (unit == "" or name == f"{metric}/{side}_{part}")
        ]
        texts.append("-" if not values else f"{values[0]:.1f}" if unit else _millimetres(values[0]))
    return "-" if texts == ["-", "-"] else " / ".join(texts)


def _other_sets_table(by_set: Mapping[str, Sequence[SetScore]]) -> Table:
    rows = []
    for name, members in by_set.items():
        if not name.startswith(("stress_", "video")):
            continue
        for result in members:
            body = result.protocol.point_set(result.protocol.body_set).label
            frames, whole = (
                result.left_out.get(f"{metric}/{body}") for metric in ("acceleration_error", "peak_speed_share")
            )
            rows.append(
                (
                    f"{name} {result.method}",
                    _millimetres(result.means.get(f"mpjpe/{body}")),
                    _millimetres(result.means.get(f"pa_mpjpe/{body}")),
                    _decimal(result.means.get(f"acceleration_error/{body}"), 1),
                    _decimal(result.means.get(f"acceleration_share/{body}"), 2),
                    _decimal(result.means.get(f"peak_speed_share/{body}"), 2),
                    _millimetres(result.means.get("foot_slide/contact_4")),
                    _decimal(result.means.get("shape_spread/betas"), 2),
                    " / ".join("-" if lost is None else f"{lost[0]} of {lost[1]}" for lost in (frames, whole)),
                )
            )
    return Table(
        title="Clips, and detectors that fail",
        columns=(
            "set, method", "MPJPE body, mm", "PA-MPJPE body, mm", "acceleration error, m/s2", "acceleration / truth",
            "fastest points, peak speed / truth", "slide of standing feet, mm a frame", "shape within a track, sd",
            "no number, left out: frames / clips",
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _decimal(value: float | None, places: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{places}f}"


def _count_table(results: Sequence[SetScore]) -> Table:
    rows = [
        (
            f"{result.set_name.partition('/')[2]} {result.method}",
            str(result.num_samples),
            str(result.num_missing),
            str(result.num_nonfinite),
            ", ".join(f"{count} {name.lower()}" for name, count in result.status_counts.items()) or "-",
        )
        for result in results
    ]
    return Table(
        title="What was scored", columns=("set, method", "samples", "missing", "not a number", "fits"), rows=tuple(rows)
    )


def _only(means: Mapping[str, float], start: str) -> float | None:
    """Value of the one metric whose name starts so."""
    return next((value for name, value in means.items() if name.startswith(start)), None)


def _is_degrees(name: str) -> bool:
    return name.partition("/")[0] in _DEGREES


def _millimetres(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{1000 * value:.1f}"


def _number(value: float) -> float | None:
    """A number that JSON has, rounded far below what is printed: the last bits differ between machines."""
    return float(f"{value:.9g}") if math.isfinite(value) else None
