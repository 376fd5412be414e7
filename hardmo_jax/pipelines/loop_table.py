"""The table of a loop: a column a round, and one of the labels behind the last network."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hardmo_jax.pipelines.loop_record import LoopRecord, LoopStage
from hardmo_jax.whole_files import replacing

_PARTS = ("body", "hand", "foot")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopTable:
    """Cells as they are printed, and the numbers behind them."""

    columns: tuple[str, ...]
    """`round 1` and so on, and `after`: annotated once more from the last network."""
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """What, and a cell for each column; `-` where there is none."""
    numbers: tuple[dict[str, Any], ...]
    """What the stages of each column counted, by stage."""
    seconds: dict[str, float]
    """By stage, over all rounds."""


def table_of_loop(record: LoopRecord, rounds: int) -> LoopTable:
    """The table of what is finished.

    Args:
        record: Of the loop.
        rounds: That are asked for; behind them is the last annotation.
    """
    columns, numbers = [], []
    names = (
        "annotate", "merge", "score_annotated", "hand", "foot", "score_refined", "train", "score_network",
    )  # fmt: skip
    for number in range(1, rounds + 2):
        found = {name: record.done(LoopStage(number=number, name=name)) for name in names}
        known = {name: counted for name, counted in found.items() if counted is not None}
        if known:
            columns.append(f"round {number}" if number <= rounds else "after")
            numbers.append(known)
    rows = [(label, tuple(_cell(tell, own) for own in numbers)) for label, tell in _rows()]
    rows = [(label, cells) for label, cells in rows if set(cells) - {"-"}]
    return LoopTable(columns=tuple(columns), rows=tuple(rows), numbers=tuple(numbers), seconds=record.seconds())


def _cell(tell: Callable[[Mapping[str, Any]], str], numbers: Mapping[str, Any]) -> str:
    try:
        return tell(numbers)
    except (KeyError, TypeError):  # not finished, or nobody has one
        return "-"


def _rows() -> list[tuple[str, Callable[[Mapping[str, Any]], str]]]:
    """Names of rows, and how each is told."""

    def scalars(stage: str, prefix: str, form: str) -> Callable[[Mapping[str, Any]], str]:
        def tell(found: Mapping[str, Any]) -> str:
            given = found[stage]["scalars"]
            values = [given.get(f"{prefix}_{part}{_ENDINGS[form]}") for part in _PARTS]
            if values == [None] * len(_PARTS):
                return "-"
            return _three(values, form)

        return tell

    def errors(found: Mapping[str, Any]) -> str:
        last = found[next((name for name in ("foot", "hand") if name in found), "merge")]
        return _three([None if (one := last["errors"][part]) is None else 100 * one for part in _PARTS], ".2f")

    def mined(subset: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda found: f"{found[subset]['wrong']} / {found[subset]['refined']}"

    rows: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("labels", lambda found: str(found["merge"]["labels"])),
        ("people new / replaced by better", lambda found: f"{found['merge']['new']} / {found['merge']['replaced']}"),
        ("wrong hands mined / refined", mined("hand")),
        ("wrong feet mined / refined", mined("foot")),
        ("from keypoints, median % of box", errors),
        ("trained on / held out", lambda found: f"{found['train']['people']} / {found['train']['held_out']}"),
    ]
    groups = (
        ("held out, network", "train", "held_out_"), ("truth, annotated", "score_annotated", ""),
        ("truth, refined", "score_refined", ""), ("truth, network", "score_network", ""),
    )  # fmt: skip
    for label, stage, prefix in groups:
        rows += [
            (f"{label}: MPJPE", scalars(stage, f"{prefix}mpjpe", ".0f")),
            (f"{label}: PA-MPJPE", scalars(stage, f"{prefix}pa_mpjpe", ".1f")),
            (f"{label}: PCK@0.05", scalars(stage, f"{prefix}pck05", ".2f")),
        ]
    return rows


#: Of names of scalars, by how they are told.
_ENDINGS = {".0f": "_mm", ".1f": "_mm", ".2f": ""}


def _three(values: Sequence[float | None], form: str) -> str:
    """Numbers side by side; those of three digits without decimals."""
    return "/".join("-" if value is None else format(value, ".0f" if abs(value) >= 100 else form) for value in values)


#: What cells with three numbers are.
THREE_NUMBERS = (
    "three numbers: body/hand/foot; errors in mm, PCK as shares; held out: against labels, truth: of rendered people"
)


#: Errors of fewer people held out say little.
_FEW = 20


def footnotes_of_table(table: LoopTable) -> list[str]:
    """What is said below the table: what its cells are, whether they are of few people, and how long stages took."""
    held = [own["train"]["held_out"] for own in table.numbers if "train" in own]
    notes = [THREE_NUMBERS]
    if held and 0 < min(held) < _FEW:
        few = f"{min(held)} {'person' if min(held) == 1 else 'people'} only"
        notes.append(f"`held out` and `truth, network` are of {few}: of fewer than {_FEW} rounds cannot be compared")
    return [*notes, seconds_of_table(table)]


def text_of_table(table: LoopTable) -> str:
    """The table as plain text, with what it is about and the seconds below it."""
    head: Sequence[tuple[str, tuple[str, ...]]] = [("", table.columns), *table.rows]
    widths = [max(len(cells[at]) for _, cells in head) for at in range(len(table.columns))]
    first = max(len(label) for label, _ in head)
    lines = [
        f"{label:{first}}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for label, cells in head
    ]
    return "\n".join([*lines, "", *footnotes_of_table(table)]) + "\n"


def seconds_of_table(table: LoopTable) -> str:
    """How long each stage took, in one line."""
    told = "  ".join(f"{name} {value:.0f}" for name, value in table.seconds.items())
    return f"seconds: {told}  in all {sum(table.seconds.values()):.0f}"


def write_table(table: LoopTable, folder: pathlib.Path) -> None:
    """Write `table.txt` and `table.json`, each whole; what is there and the same stays."""
    content = {"columns": table.columns, "rounds": table.numbers, "seconds": table.seconds}
    texts = {
        "table.txt": text_of_table(table),
        "table.json": json.dumps(content, indent=2, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            with replacing(path) as scratch:
                scratch.write_text(text, encoding="utf-8")
