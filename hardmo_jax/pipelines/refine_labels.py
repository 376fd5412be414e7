"""Wrong hands or feet of stored labels found and repaired: from versions of labels to versions of labels, no files.

What is mined is decided on the version of each label from before its repair, so that the same labels are the same
subset however often this runs, and what was decided stays decided.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.hardcase import mine, temporal
from hardmo_jax.hardcase.mine import Mined, MinedPart, MineOptions, Subset
from hardmo_jax.hardcase.refine import GateOptions, gate, refine_part
from hardmo_jax.hardcase.temporal import VoteOptions
from hardmo_jax.labels import part_repairs, store
from hardmo_jax.labels.part_repairs import with_pose_of_part
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.networks.part_scorer import PartScorer, packaged_part_scorer
from hardmo_jax.pipelines.label_rows import measured_again, params_of_labels, pose_columns
from hardmo_jax.pipelines.score_labels import (
    score_labels,
    scores_of_labels,
    with_inconsistency,
    with_part,
    without_scores,
)
from hardmo_jax.recovery.part_evidence import SEEN, part_evidence
from hardmo_jax.skeleton import layouts

Progress = Callable[[str, int, int | None], None]
#: Outcomes that were solved for, and are not asked for again unless it is said.
_DECIDED = ("no_better", "strays")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelRefineOptions:
    """How parts are found and repaired."""

    subset: Subset = "hand"
    """`hand` or `foot`."""
    mine: MineOptions = MineOptions()
    """What is thought wrong."""
    gate: GateOptions = GateOptions()
    """When it is replaced."""
    vote: VoteOptions = VoteOptions()
    """What frames of a video must agree on."""
    again: bool = False
    """Solve parts once more that were no better before, as after a change of the gate."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefinedPartOfLabel:
    """One mined part."""

    found: MinedPart
    """What was found; `row` is its place in `RefinedLabels.examined`."""
    outcome: str
    """One of `labels.schema.PART_OUTCOMES`."""
    before: LabelRow
    """The label from before the repair."""
    after: LabelRow
    """Its newest version, which is the same label where nothing was replaced."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefinedLabels:
    """Labels after a run, and what was found in them."""

    rows: tuple[LabelRow, ...]
    """All versions, new ones behind those that they replace."""
    examined: tuple[LabelRow, ...]
    """The version of each label that was looked at."""
    mined: Mined
    """What was found among these."""
    parts: tuple[RefinedPartOfLabel, ...]
    """All wrong parts and what became of them, the surest first."""
    num_scored: int
    """Labels that had no scores yet."""
    num_refined: int
    """Labels that got a new version in this run."""
    is_changed: bool
    """Whether any label is another than before."""
    min_probability: float
    """From which a part was taken for wrong."""


def refine_labels(
    rows: Sequence[LabelRow],
    body: BodyModel,
    options: LabelRefineOptions,
    *,
    scorer: PartScorer | None = None,
    origin: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> RefinedLabels:
    """Find the wrong hands or feet of labels, and replace those that are better solved anew.

    Args:
        rows: Labels of one body, any number of versions.
        body: Theirs.
        options: What is wrong, what is better.
        scorer: None takes that of the package.
        origin: Columns of new versions that say what made them, such as `code_version`.
        progress: Told the stage, what is done, and of how much.

    Returns:
        The labels. What a person made or reviewed, and failed fits, are the same objects, but for parts that a person
        called wrong in labels that they did not reject: such a part is solved anew whatever its scores, and keeps that
        mark until a better pose takes its place; all else of a person's label stays bit for bit, and it stays theirs.
    """
    scorer = scorer or packaged_part_scorer()
    parts = tuple(f"{side}_{options.subset}" for side in layouts.SIDES)
    newest = {row.label_id: row for row in store.latest_labels(rows)}
    was_newest = dict(newest)
    open_ids = [name for name, row in newest.items() if not row.has_a_persons_word]
    scored = score_labels([newest[name] for name in open_ids], body, scorer=scorer, progress=progress)
    num_scored = sum(new is not newest[name] for name, new in zip(open_ids, scored, strict=True))
    newest |= dict(zip(open_ids, scored, strict=True))

    examined = _examined(rows, newest, parts)
    mined = mine.mine(examined, options.subset, options.mine)
    outcomes = _outcomes_without_solving(examined, newest, mined, options)
    to_solve = [found for found in mined.wrong if (examined[found.row].label_id, found.part) not in outcomes]
    made = _solved(examined, newest, to_solve, outcomes, body, options, scorer, origin or {}, progress)

    current = [newest[row.label_id] if row is was_newest[row.label_id] else row for row in rows]
    merged = store.merge_labels(current, made.together, keep_history=True)
    # One part that became a little worse must not cost the other its repair.
    is_taken = {row.label_id for row in merged if row.label_version > newest[row.label_id].label_version}
    alone = [row for row in made.alone if row.label_id not in is_taken]
    merged = store.merge_labels(merged, alone, keep_history=True)
    newest = {row.label_id: row for row in store.latest_labels(merged)}
    final = _with_outcomes(newest, outcomes)
    kept = {(row.label_id, row.label_version): row for row in final}
    merged = [kept.get((row.label_id, row.label_version), row) for row in merged]
    return RefinedLabels(
        rows=tuple(merged),
        examined=tuple(examined),
        mined=mined,
        parts=tuple(
            RefinedPartOfLabel(
                found=found,
                outcome=after.outcome_by_part[found.part] or "right",
                before=examined[found.row],
                after=after,
            )
            for found in mined.wrong
            for after in [kept[_key_of_newest(newest, examined[found.row])]]
        ),
        num_scored=num_scored,
        num_refined=len(merged) - len(rows),
        is_changed=len(merged) != len(rows) or any(map(_differs, rows, merged)),
        min_probability=options.mine.min_probability,
    )


def _differs(first: LabelRow, second: LabelRow) -> bool:
    return first is not second and not first.same_as(second)


def _key_of_newest(newest: dict[str, LabelRow], row: LabelRow) -> tuple[str, int]:
    return row.label_id, newest[row.label_id].label_version


def _examined(rows: Sequence[LabelRow], newest: dict[str, LabelRow], parts: tuple[str, ...]) -> list[LabelRow]:
    """The newest version of each label in which none of the parts had been replaced."""
    found: dict[str, LabelRow] = {}
    for row in rows:
        own = newest[row.label_id]
        row = own if row.label_version == own.label_version else row
        if any(row.outcome_by_part[part] == "refined" for part in parts):
            continue
        if row.label_id not in found or row.label_version > found[row.label_id].label_version:
            found[row.label_id] = row
    for name, own in newest.items():
        # Repaired, called wrong since, and without the version from before.
        if name not in found and any(own.review_by_part[part] == "wrong" for part in parts):
            found[name] = own
    # A person's word on the newest version stands for all versions.
    found = {name: row for name, row in found.items() if not newest[name].has_a_persons_word}
    found |= _called_wrong(rows, newest, parts)
    return [_with_marks_of(newest[name], row) for name, row in found.items()]


def _called_wrong(rows: Sequence[LabelRow], newest: dict[str, LabelRow], parts: tuple[str, ...]) -> dict[str, LabelRow]:
    """Of people's labels the first version of which a part was called wrong that still is, or was repaired since."""
    found: dict[str, LabelRow] = {}
    for row in sorted(rows, key=lambda row: row.label_version):
        own = newest[row.label_id]
        if row.label_id in found or own.review == "rejected" or not own.belongs_to_a_person:
            continue
        row = own if row.label_version == own.label_version else row
        wrong = [part for part in parts if row.review_by_part[part] == "wrong" and row.belongs_to_a_person]
        if any(row is own or own.outcome_by_part[part] == "refined" for part in wrong):
            found[row.label_id] = row
    return found


def _with_marks_of(newest: LabelRow, row: LabelRow) -> LabelRow:
    """An earlier version with what a person said of the newest, but of parts that were repaired in between.

    There a person who says that the repair is right has said nothing of what was before; one who says that it is wrong
    has.
    """
    if row.label_version == newest.label_version:
        return row
    marks = {
        part: row.review_by_part[part] if word != "wrong" and newest.outcome_by_part[part] == "refined" else word
        for part, word in newest.review_by_part.items()
    }
    return row if row.review_by_part == marks else dataclasses.replace(row, review_by_part=marks)


def _outcomes_without_solving(
    examined: Sequence[LabelRow], newest: dict[str, LabelRow], mined: Mined, options: LabelRefineOptions
) -> dict[tuple[str, str], str]:
    """What is known of parts by their scores, by the frames around them, or from earlier runs."""
    outcomes: dict[tuple[str, str], str] = {}
    for word, group in (("right", mined.right), ("unrepairable", mined.unrepairable)):
        outcomes |= {(examined[found.row].label_id, found.part): word for found in group}
    for part in {found.part for found in mined.wrong}:
        is_wrong = temporal.is_voted_wrong(
            examined, part, min_probability=options.mine.min_probability, options=options.vote
        )
        for found in mined.wrong:
            if found.part != part:
                continue
            name = examined[found.row].label_id
            decided = newest[name].outcome_by_part[part]
            is_called_wrong = newest[name].review_by_part[part] == "wrong"
            if (decided == "refined" and not is_called_wrong) or (decided in _DECIDED and not options.again):
                outcomes[name, part] = decided
            elif not is_wrong[found.row]:
                outcomes[name, part] = "outvoted"
    return outcomes


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Made:
    """New versions to be offered to the store."""

    together: list[LabelRow]
    """With all repaired parts of a label."""
    alone: list[LabelRow]
    """With one of them each, of labels of which several are repaired."""


def _solved(
    examined: Sequence[LabelRow],
    newest: dict[str, LabelRow],
    to_solve: Sequence[MinedPart],
    outcomes: dict[tuple[str, str], str],
    body: BodyModel,
    options: LabelRefineOptions,
    scorer: PartScorer,
    origin: dict[str, Any],
    progress: Progress | None,
) -> _Made:
    """Labels with the parts that pass the gate; what became of the others goes into `outcomes`."""
    gate_options = dataclasses.replace(options.gate, min_probability=options.mine.min_probability)
    made: dict[str, LabelRow] = {}
    repaired: dict[str, list[str]] = {}
    for part in sorted({found.part for found in to_solve}):
        names = [examined[found.row].label_id for found in to_solve if found.part == part]
        rows = [made.get(name, newest[name]) for name in names]
        pieces = list(scores_of_labels(rows, range(len(rows)), body, parts=(part,), scorer=scorer, progress=progress))
        # By the probability that the label holds, or the word of a person: on it the part was mined.
        stored = np.array([row.probability_wrong(part) or 0.0 for row in rows])
        passes, turned = np.zeros(len(rows), bool), np.zeros((len(rows), 3))
        for places, _, scores in pieces:
            words = gate(dataclasses.replace(scores, wrong=stored[places]), gate_options)
            passes[places] = [word == "refined" for word in words]
            turned[places] = scores.refit[:, :3]
        strays = np.zeros(len(rows), bool)
        at_all = np.flatnonzero(passes)
        strays[at_all] = _strays([rows[place] for place in at_all], turned[at_all], newest, part, options.vote)
        for places, _, scores in pieces:
            some = [rows[place] for place in places]
            trusted = dataclasses.replace(scores, wrong=np.where(strays[places], 0.0, stored[places]))
            found = refine_part(body, params_of_labels(some, body), trusted, gate_options)
            for at, row in enumerate(some):
                word = "strays" if strays[places[at]] else found.outcome[at]
                outcomes[row.label_id, part] = word
                if word == "refined":
                    columns = pose_columns(_one(found.params, at))
                    repair = dataclasses.replace(row, **columns)
                    # What a person made stays to the last bit.
                    repair = with_pose_of_part(row, repair, part) if row.has_a_persons_word else repair
                    made[row.label_id] = _repaired(dataclasses.replace(repair, **origin), part)
                    repaired.setdefault(row.label_id, []).append(part)
    alone = [
        _repaired(dataclasses.replace(with_pose_of_part(newest[name], made[name], part), **origin), part)
        for name, parts in repaired.items()
        if len(parts) > 1
        for part in parts
    ]
    offered = []
    for group in (list(made.values()), alone):
        judged = _judged_again(group, body, scorer, progress)
        offered.append([_as_a_machines(newest[row.label_id], row) for row in judged])
    return _Made(together=offered[0], alone=offered[1])


def _as_a_machines(existing: LabelRow, made: LabelRow) -> LabelRow:
    """A repair as the store is offered it: a machine's, which says of a person's label what it said of other parts."""
    if not existing.belongs_to_a_person:
        return made
    repaired = part_repairs.repaired_parts(existing, made)
    # The frames around it are not asked: only those of machines are compared.
    for part in repaired:
        made = with_part(made, part, {"inconsistency_by_part": None})
    others = [part for part in layouts.PARTS if part not in repaired]
    return dataclasses.replace(part_repairs.with_measures_of(made, existing, others), origin="machine")


def _strays(
    rows: Sequence[LabelRow],
    turned: Float[np.ndarray, "N 3"],
    newest: dict[str, LabelRow],
    part: str,
    options: VoteOptions,
) -> Bool[np.ndarray, "N"]:
    """Which rows would get a part far from those of the frames around them, of which some were repaired before."""
    own = {row.label_id for row in rows}
    before = [row for row in newest.values() if row.outcome_by_part[part] == "refined" and row.label_id not in own]
    rotations = [temporal.rotation_of(row, part) for row in before]
    together = np.concatenate([turned, np.reshape(rotations, (-1, 3))])
    return temporal.is_stray([*rows, *before], together, options)[: len(rows)]


def _repaired(row: LabelRow, part: str) -> LabelRow:
    """A label whose part is yet to be scored, and rests on what was seen of it."""
    layout = layouts.get_layout(row.keypoint_layout)
    found = part_evidence(layout, row.keypoint_confidence[None], frames_per_second=None, longest_gap_seconds=0.0)
    # What a person said was of the former pose.
    values: dict[str, Any] = {"outcome_by_part": "refined", "review_by_part": None}
    if found.status[part][0] == SEEN:
        values |= {"evidence_by_part": SEEN, "spread_by_part": float(found.spread[part][0])}
    return with_part(without_scores(row, part), part, values)


def _judged_again(
    rows: Sequence[LabelRow], body: BodyModel, scorer: PartScorer, progress: Progress | None
) -> list[LabelRow]:
    """Changed labels with points, errors and scores of their own."""
    by_layout: dict[str, list[LabelRow]] = {}
    for row in rows:
        by_layout.setdefault(row.keypoint_layout, []).append(row)
    measured = [row for group in by_layout.values() for row in measured_again(group, body)]
    return score_labels(measured, body, scorer=scorer, progress=progress) if measured else []


def _one(params: Any, at: int) -> Any:
    """Parameters of one person."""
    values = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    return type(params)(**{name: None if value is None else np.asarray(value)[at] for name, value in values.items()})


def _with_outcomes(newest: dict[str, LabelRow], outcomes: dict[tuple[str, str], str]) -> list[LabelRow]:
    """Newest versions with what became of their parts, and how far these are from the frames around them."""
    found = dict(newest)
    for (name, part), word in outcomes.items():
        row = found[name]
        was = row.outcome_by_part[part]
        if was == "refined" and row.review_by_part[part] != "wrong":
            continue
        # What passed the gate and is not in the store was no better as a whole label.
        word = "no_better" if word == "refined" else word
        if was != word:
            found[name] = with_part(row, part, {"outcome_by_part": word})
    open_ids = [name for name, row in found.items() if not row.has_a_persons_word]
    found |= dict(zip(open_ids, with_inconsistency([found[name] for name in open_ids]), strict=True))
    return list(found.values())
