"""The Hardcase Annotation stage: the wrong hands or feet of a label store found, repaired, and put back.

Labels → scores → mining → refinement → new versions in the store, and a folder with what was mined: its labels,
close-ups before and after, and counts. A run that fails or is stopped leaves both as they were.
"""

import collections
import contextlib
import dataclasses
import datetime
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.hardcase.mine import NO_CATEGORY, SUBSETS, Subset, category_of
from hardmo_jax.labels import provenance, store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.perception.fuse import FusionOptions
from hardmo_jax.pipelines import annotate
from hardmo_jax.pipelines.annotate import BodyOptions
from hardmo_jax.pipelines.label_rows import check_body_of_labels, origin_columns, split_by_body
from hardmo_jax.pipelines.labelled_pictures import picture_root
from hardmo_jax.pipelines.output_folders import check_output_folder, replace_outputs, sweep_leftovers
from hardmo_jax.pipelines.refine_drawing import CloseUpOptions, CloseUps
from hardmo_jax.pipelines.refine_labels import (
    LabelRefineOptions,
    RefinedLabels,
    RefinedPartOfLabel,
    refine_labels,
)
from hardmo_jax.pipelines.second_source import with_second_source
from hardmo_jax.pipelines.shared_store import SharedLabels, held_store, labels_file, with_others_work
from hardmo_jax.viz import overlay

Progress = Callable[[str, int, int | None], None]
#: What a run leaves in its folder.
OWN_OUTPUTS = ("labels.parquet", "closeups", "sheet.png", "run.json")
#: And a dry run, which leaves the others alone.
_DRY_RUN = "dry_run.png"
_UNFINISHED = ".refine-"


class RefineError(ValueError):
    """Labels or folders that cannot be refined; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefineOptions(LabelRefineOptions):
    """Options of the whole job."""

    body: BodyOptions = BodyOptions()
    """Which body the labels are of."""
    close_ups: CloseUpOptions = CloseUpOptions()
    """What is drawn."""
    fusion: FusionOptions = FusionOptions()
    """When a second source of keypoints is believed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefineCounts:
    """What was found in some of the labels; errors are medians of those refined, shares of the box."""

    name: str
    """A side, a category, or `all`."""
    wrong: int
    """Parts that are wrong and were seen well enough."""
    mined: int
    """Those of them that make the subset."""
    refined: int
    no_better: int
    outvoted: int
    """Of videos: right by the frames around them, or solved far from those."""
    right: int
    """Parts of right bodies that are not thought wrong."""
    unrepairable: int
    """Parts of which too little was seen to say or repair anything."""
    doubtful: int
    """Refined ones that are still thought wrong: their scores say so, and their keypoints may be."""
    error_before: float | None
    error_after: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefineSummary:
    """What the job did, for the table at its end."""

    counts: tuple[RefineCounts, ...]
    """Of all labels, then by side, then by category."""
    num_labels: int
    num_scored: int
    """Labels that had no scores before."""
    num_refined: int
    """Labels that got a new version in this run."""
    num_matched: int | None
    """Labels whose people the second source saw; None without one."""
    num_fused: int
    """Labels whose hands or feet are those of the second source now."""
    bodies_wrong: int
    """Labels left out because of their body."""
    is_nothing_to_do: bool
    """The store and the folder were as they would be made."""
    warnings: tuple[str, ...]
    seconds_by_stage: dict[str, float]


def check_subset(name: str) -> Subset:
    """A name of a subset.

    Raises:
        RefineError: If there is none of that name; the valid ones are told.
    """
    for known in SUBSETS:
        if name == known:
            return known
    raise RefineError(f"unknown subset {name!r}; known: {', '.join(SUBSETS)}")


def refine(
    source: str | os.PathLike[str],
    output_folder: str | os.PathLike[str],
    *,
    options: RefineOptions,
    pictures: str | os.PathLike[str] | None = None,
    second_source: str | os.PathLike[str] | None = None,
    leaves_other_bodies: bool = False,
    dry_run: bool = False,
    command: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> RefineSummary:
    """Find the wrong hands or feet of stored labels, and replace those that are better solved anew.

    Args:
        source: Folder with a `labels.parquet`, as `tools.annotate` leaves it, or such a file. New versions are written
            to it, old ones stay in it.
        output_folder: Gets `labels.parquet` (what was mined, all versions), `closeups/`, `sheet.png` and `run.json`.
        options: What is wrong, what is better, what is drawn.
        pictures: Folder that the paths of pictures in the labels are relative to; None takes what `run.json` beside the
            labels says.
        second_source: Labels of the same pictures by another detector, a folder or a file: what it saw of the hands or
            feet takes the place of what the labels have of them.
        leaves_other_bodies: Leave labels of other bodies in the store as they are, rather than refuse all of it.
        dry_run: Write nothing but a sheet, `dry_run.png`.
        command: Command line, for `run.json`.
        progress: Called as work goes on.

    Returns:
        Counts, errors and times.

    Raises:
        FileNotFoundError: If there are no labels.
        hardmo_jax.labels.schema.LabelError: If they are damaged or of a newer version.
        hardmo_jax.pipelines.label_rows.LabelBodyError: If they are of another body, and are not to be left.
        RefineError: If the output folder holds anything else than an earlier run.
        hardmo_jax.pipelines.shared_store.ShardedStoreError: If labels are in shards.
        hardmo_jax.pipelines.shared_store.StoreBusyError: If somebody else writes to the labels and does not stop.
        hardmo_jax.pipelines.second_source.SecondSourceError: If the second source is of other pictures.
    """
    report = progress or (lambda stage, done, total: None)
    path, output = labels_file(source), pathlib.Path(output_folder)
    check_output_folder(
        output, path, (_DRY_RUN, *OWN_OUTPUTS), job="refine", source_lies=f"the labels {path} lie", error=RefineError
    )
    made_of = _labels_of_run(path.parent)
    if made_of is not None:
        raise RefineError(
            f"{path.parent}: is the subset of {made_of}, without the frames around it that vote; "
            f"give --input={pathlib.Path(made_of).parent}"
        )
    sweep_leftovers(output.parent, _UNFINISHED)
    record = provenance.RunRecord(config=dataclasses.asdict(options), command=command)
    sha256_as_read = provenance.file_sha256(path) if path.is_file() else ""
    labels = store.read_labels(path)
    body = annotate.load_body_option(options.body)
    own, others = split_by_body(labels.rows, body) if leaves_other_bodies else (list(labels.rows), [])
    check_body_of_labels(own, body, source=str(path))
    warnings = []
    if labels.absent_columns:
        warnings.append(
            f"{path}: labels of an older schema, migrated: {len(labels.absent_columns)} columns from "
            f"{labels.absent_columns[0]} to {labels.absent_columns[-1]} were added, and scores filled in"
        )
    replaced = _labels_of_run(output)
    if replaced is not None and pathlib.Path(replaced).resolve() != path.resolve() and not dry_run:
        warnings.append(f"{output} held the subset of {replaced}, which is replaced by that of {path}")
    origin = origin_columns(options)
    config_sha256 = origin["config_sha256"]
    created = datetime.datetime.now(datetime.UTC)
    origin_of_rows = {**origin, "created_utc": created}
    rows, num_fused, num_matched = own, 0, None
    if second_source is not None:
        second = store.read_labels(labels_file(second_source))
        fused = with_second_source(rows, second.rows, options.subset, body, options.fusion, origin=origin_of_rows)
        rows, num_fused, num_matched = fused.rows, fused.num_changed, fused.num_matched
        record.add("second_source", {"labels": os.fspath(second_source), "matched": fused.num_matched})
    with record.stage("refine"):
        found = refine_labels(rows, body, options, origin=origin_of_rows, progress=report)
    num_refined = found.num_refined
    is_same = not found.is_changed and not num_fused and not labels.absent_columns
    done = is_same and _is_made(output, path, config_sha256)
    drawn = CloseUps(body=body, options=options.close_ups, root=picture_root(path, pictures))
    if dry_run:
        output.mkdir(parents=True, exist_ok=True)
        with record.stage("draw"):
            sheet = drawn.sheet(_chosen(found), report)
        overlay.write_png(output / _DRY_RUN, sheet)
    elif not done:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=output.parent) as scratch:
            folder = pathlib.Path(scratch)
            with record.stage("draw"):
                sheet = drawn.sheet(_chosen(found), report, folder=folder / "closeups")
            overlay.write_png(folder / "sheet.png", sheet)
            # The store first: from it the folder can be made again, should the run be stopped in between.
            with contextlib.nullcontext() if is_same else held_store(path):
                kept = _put_into_store(path, sha256_as_read, labels, [*found.rows, *others], is_same=is_same)
                mined_ids = {part.after.label_id for part in _chosen(found)}
                subset = [row for row in kept.rows if row.label_id in mined_ids]
                store.write_labels(folder / "labels.parquet", subset, extra=labels.extra)
                # Of a store that others changed meanwhile the next run makes the folder anew.
                made_of = "" if kept.num_others else provenance.file_sha256(path)
            _write_record(record, folder, found, labels, body, path, made_of, config_sha256)
            replace_outputs(folder, output, OWN_OUTPUTS)
        if kept.num_others:
            num_refined = len(_new_versions(rows, found.rows) & _new_versions(rows, kept.rows))
            warnings.append(
                f"{kept.num_others} labels were changed, added or removed by somebody else during this run, and are as "
                "they were left; the table and the pictures may show them otherwise: run it again"
            )
    return RefineSummary(
        counts=_counts(found),
        num_labels=len(found.examined),
        num_scored=found.num_scored,
        num_refined=num_refined,
        num_matched=num_matched,
        num_fused=num_fused,
        bodies_wrong=found.mined.bodies_wrong,
        is_nothing_to_do=done and not dry_run,
        warnings=(*warnings, *drawn.warnings),
        seconds_by_stage=dict(record.seconds),
    )


def _put_into_store(
    path: pathlib.Path, sha256_as_read: str, as_read: store.LabelSet, made: list[LabelRow], *, is_same: bool
) -> SharedLabels:
    """Write labels to the store that this run read, which may be another one by now; what is in it then."""
    if provenance.file_sha256(path) == sha256_as_read:
        kept, extra = SharedLabels(rows=tuple(made), num_others=0), as_read.extra
    else:
        now = store.read_labels(path)
        kept, extra = with_others_work(made, as_read.rows, now.rows), now.extra
    if not is_same:
        store.write_labels(path, kept.rows, extra=extra)
    return kept


def _new_versions(before: Sequence[LabelRow], after: Sequence[LabelRow]) -> set[int]:
    """Versions that were not there, by identity."""
    known = {(row.label_id, row.label_version) for row in before}
    return {id(row) for row in after if (row.label_id, row.label_version) not in known}


def _labels_of_run(folder: pathlib.Path) -> str | None:
    """The labels that the run of a folder was made of; None if none was made there."""
    results = provenance.read_run(folder / "run.json").get("results")
    if not isinstance(results, dict) or not {"scored", "labels"} <= results.keys():
        return None
    return str(results["labels"])


def _is_made(output: pathlib.Path, labels: pathlib.Path, config_sha256: str) -> bool:
    """Whether a folder is what this run would make of these labels."""
    if not all((output / name).exists() for name in OWN_OUTPUTS):
        return False
    results = provenance.read_run(output / "run.json").get("results")
    if not isinstance(results, dict):
        return False
    made = results.get("labels_sha256"), results.get("config_sha256")
    return made == (provenance.file_sha256(labels), config_sha256)


def _chosen(found: RefinedLabels) -> list[RefinedPartOfLabel]:
    """The parts that make the subset, the surest first."""
    chosen = set(found.mined.chosen)
    return [part for part in found.parts if part.found in chosen]


def _counts(found: RefinedLabels) -> tuple[RefineCounts, ...]:
    """Of all, by side, by category."""
    # A category may be called `left`.
    groups: dict[tuple[str, str], list[RefinedPartOfLabel]] = {("all", "all"): []}
    unrepairable, right = collections.Counter[tuple[str, str]](), collections.Counter[tuple[str, str]]()
    sides = sorted({part.found.part for part in found.parts} | {one.part for one in found.mined.unrepairable})
    for name in map(_side, sides):
        groups["side", name] = []
    categories = {category_of(row) for row in found.examined}
    for name in sorted(categories) if categories != {NO_CATEGORY} else ():
        groups["category", name] = []

    def keys(part: str, row: LabelRow) -> tuple[tuple[str, str], ...]:
        return ("all", "all"), ("side", _side(part)), ("category", category_of(row))

    for part in found.parts:
        for key in keys(part.found.part, part.before):
            if key in groups:
                groups[key].append(part)
    for one in found.mined.unrepairable:
        unrepairable.update(keys(one.part, found.examined[one.row]))
    for one in found.mined.right:
        right.update(keys(one.part, found.examined[one.row]))
    chosen = set(found.mined.chosen)
    limit = found.min_probability
    return tuple(_counted(key[1], parts, chosen, right[key], unrepairable[key], limit) for key, parts in groups.items())


def _side(part: str) -> str:
    return part.split("_")[0]


def _counted(
    name: str, parts: list[RefinedPartOfLabel], chosen: set[Any], right: int, unrepairable: int, limit: float
) -> RefineCounts:
    words = collections.Counter(part.outcome for part in parts)
    errors = [
        (before, after)
        for part in parts
        if part.outcome == "refined"
        for before, after in [(part.before.error_by_part[part.found.part], part.after.error_by_part[part.found.part])]
        if before is not None and after is not None
    ]
    medians = np.median(errors, axis=0).tolist() if errors else (None, None)
    return RefineCounts(
        name=name,
        wrong=len(parts),
        mined=sum(part.found in chosen for part in parts),
        refined=words["refined"],
        no_better=words["no_better"] + words["right"],
        outvoted=words["outvoted"] + words["strays"],
        right=right,
        unrepairable=unrepairable,
        doubtful=sum(
            part.outcome == "refined" and (part.after.wrong_by_part[part.found.part] or 0) >= limit for part in parts
        ),
        error_before=medians[0],
        error_after=medians[1],
    )


def _write_record(
    record: provenance.RunRecord,
    folder: pathlib.Path,
    found: RefinedLabels,
    labels: store.LabelSet,
    body: BodyModel,
    path: pathlib.Path,
    made_of: str,
    config_sha256: str,
) -> None:
    record.add("labels", os.fspath(path))
    record.add("labels_sha256", made_of)
    record.add("config_sha256", config_sha256)
    record.add("migrated_columns", list(labels.absent_columns))
    record.add("body_model", {"name": body.name, "sha256": body.checksum})
    record.add("learnt", {file.name: provenance.file_sha256(file) for file in annotate.learnt_files()})
    record.add("counts", [dataclasses.asdict(count) for count in _counts(found)])
    record.add("scored", found.num_scored)
    record.add("refined_labels", found.num_refined)
    record.write(folder / "run.json")
