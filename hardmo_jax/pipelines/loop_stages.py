"""The stages of a loop: each calls one job of the package, and counts what it did for the record."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

from hardmo_jax.body import load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines import annotate, evaluate_published, loop_truth, refine, render_training, train_regressor
from hardmo_jax.pipelines.label_records import why_left_out
from hardmo_jax.pipelines.loop_options import LoopError, LoopOptions
from hardmo_jax.pipelines.loop_record import LoopStage
from hardmo_jax.pipelines.loop_store import begin_store, look_at_store, merge_into_store, take_out
from hardmo_jax.pipelines.set_scores import SetScore, part_scalars
from hardmo_jax.pipelines.training_sources import TrainingSourceOptions, held_out_files

Progress = Callable[[str, int, int | None], None]
_NOUNS = {"hand": "hands", "foot": "feet"}
#: Labels of a round as they were when people were annotated, and when they were refined: what is scored and trained on.
_ANNOTATED, _REFINED = "labels_annotated", "labels_refined"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopJobs:
    """The jobs that do the work; tests give others."""

    render: Callable[..., Any] = render_training.render_training
    annotate: Callable[..., Any] = annotate.annotate
    refine: Callable[..., Any] = refine.refine
    train: Callable[..., Any] = train_regressor.train_regressor
    score_labels: Callable[..., Any] = loop_truth.score_labels_on_truth
    score_network: Callable[..., Any] = evaluate_published.evaluate_published


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopWork:
    """What all stages of a loop work on."""

    options: LoopOptions
    folder: pathlib.Path
    """Of the loop."""
    source: pathlib.Path | None
    """Photos or video; None: people are rendered."""
    begins_from: str | None
    """Labels to begin from."""
    model_folder: pathlib.Path
    mocap: pathlib.Path
    cache: pathlib.Path
    """Where poses of motion capture are kept."""
    command: tuple[str, ...]
    body: BodyModel
    jobs: LoopJobs
    progress: Progress
    on_note: Callable[[str], None]

    @property
    def pictures(self) -> pathlib.Path:
        """What is annotated."""
        return self.source or self.folder / "rendered" / render_training.PHOTOS

    @property
    def store(self) -> pathlib.Path:
        """File of the labels."""
        return store_of_loop(self.folder)

    def of_round(self, number: int) -> pathlib.Path:
        """Folder of a round."""
        return self.folder / f"round_{number}"

    def network(self, number: int) -> pathlib.Path | None:
        """What the round trained; None before the first."""
        return self.of_round(number) / "train" / "network" if number else None


def store_of_loop(folder: pathlib.Path) -> pathlib.Path:
    """File of the labels of a loop's folder."""
    return folder / "store" / "labels.parquet"


def stages_of_loop(rounds: int, *, is_rendered: bool, begins: bool) -> list[LoopStage]:
    """All stages in order; behind the last round people are annotated once more.

    Args:
        rounds: How many.
        is_rendered: Whether people are rendered, so that the truth is known.
        begins: Whether there is a store to begin from.
    """
    stages = [(0, "render")] * is_rendered + [(0, "begin")] * begins
    annotated = ["annotate", "merge", *["score_annotated"] * is_rendered]
    trained = ["hand", "foot", *["score_refined"] * is_rendered, "train", *["score_network"] * is_rendered]
    for number in range(1, rounds + 1):
        stages += [(number, name) for name in (*annotated, *trained)]
    stages += [(rounds + 1, name) for name in annotated]
    return [LoopStage(number=number, name=name) for number, name in stages]


def run_stage(work: LoopWork, stage: LoopStage, before: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Do a stage; doing it again after it was cut off gives the same.

    Args:
        work: What on.
        stage: Which.
        before: What the store held before its first try (`counted_before`), of stages that change it.

    Returns:
        What it counted, fit for JSON, and what is to be said of it.

    Raises:
        LoopError: If it leaves nothing to go on with. Whatever the jobs raise passes.
    """
    return _STAGES[stage.name](work, stage.number, before)


def _render(work: LoopWork, number: int, before: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    options = dataclasses.replace(work.options.render, people=work.options.people)
    made = work.jobs.render(
        options, work.folder / "rendered", mocap=work.mocap, cache=work.cache, progress=work.progress
    )
    poses = "motion capture" if made.poses == "mocap" else "written tables"
    return {"people": options.people}, [f"{options.people} people are rendered, in poses of {poses}"]


def _begin(work: LoopWork, number: int, before: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    begun = begin_store(str(work.begins_from), work.store, work.pictures)
    notes = [f"the store begins with {begun.people} people ({begun.versions} versions) of {work.begins_from}"]
    if begun.elsewhere:
        notes.append(
            f"{begun.elsewhere} of these are of pictures that this loop does not look at: nobody is annotated there, "
            "or trained on"
        )
    return {"people": begun.people, "versions": begun.versions, "elsewhere": begun.elsewhere}, notes


def _annotate(work: LoopWork, number: int, before: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    network = work.network(number - 1)
    options = work.options.annotate_from(None if network is None else str(network))
    summary = work.jobs.annotate(
        work.pictures, work.of_round(number) / "annotate", options=options, model_folder=work.model_folder,
        command=work.command, progress=work.progress,
    )  # fmt: skip
    if not summary.num_people:
        raise LoopError(
            f"{work.pictures}: nobody was found in {summary.num_pictures} pictures, so there is nothing to refine or "
            f"to train on; {summary.advice or 'give pictures of people'}"
        )
    notes = [*summary.warnings]
    if summary.num_unusable:
        notes.append(f"{summary.num_unusable} pictures could not be used")
    return {
        "pictures": summary.num_pictures, "people": summary.num_people, "unusable": summary.num_unusable,
    }, notes  # fmt: skip


def _merge(work: LoopWork, number: int, before: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    candidates = store.read_labels(work.of_round(number) / "annotate" / "labels.parquet").rows
    left = merge_into_store(work.store, candidates, work.body)
    state = look_at_store(work.store, work.body)
    added = state.people - before["people"]
    notes = []
    if left:
        notes.append(f"{left} labels that a person made or reviewed, or of another body, stay as they are")
    return {
        "labels": state.people, "new": added, "replaced": state.versions - before["versions"] - added,
        "left": left, "errors": state.errors, "others": sum(state.others.values()),
    }, notes  # fmt: skip


def _refine(work: LoopWork, number: int, before: dict[str, Any], subset: str) -> tuple[dict[str, Any], list[str]]:
    options = work.options.hand if subset == "hand" else work.options.foot
    summary = work.jobs.refine(
        work.store.parent, work.of_round(number) / subset, options=options, pictures=work.pictures,
        leaves_other_bodies=True, command=work.command, progress=work.progress,
    )  # fmt: skip
    state, everything = look_at_store(work.store, work.body), summary.counts[0]
    # Counted from what is left, so that a stage that was cut off and is done again says the same.
    refined = state.refined[subset] - before["refined"][subset]
    wrong = everything.wrong - everything.refined + refined
    notes = [*summary.warnings]
    if not wrong:
        notes.append(f"no wrong {_NOUNS[subset]} among {summary.num_labels} labels: nothing to refine, skipped")
    else:
        notes.append(_told_of_parts(_NOUNS[subset], wrong, refined, everything))
    return {
        "labels": summary.num_labels, "wrong": wrong,
        # In the folder of the round: those of earlier rounds too, and of frames close together one.
        "mined": everything.mined,
        "refined": refined,
        "new_versions": state.versions - before["versions"], "errors": state.errors,
    }, notes  # fmt: skip


def _told_of_parts(noun: str, wrong: int, refined: int, counts: refine.RefineCounts) -> str:
    """What became of hands or feet, in one line."""
    words = {
        "no better": counts.no_better, "the frames around say otherwise": counts.outvoted,
    }  # fmt: skip
    why = ", ".join(f"{word}: {count}" for word, count in words.items() if count)
    told = f"{noun}: {wrong} wrong, {refined} repaired, {wrong - refined} open" + (f" ({why})" if why else "")
    if counts.doubtful:
        told += f"; {counts.doubtful} of those repaired are still doubtful"
    if counts.unrepairable:
        told += f"; of {counts.unrepairable} too little was seen to say"
    return told


def _train(work: LoopWork, number: int, before: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    goal = work.of_round(number) / _REFINED / "labels.parquet"
    rows = take_out(work.store, goal, work.body, work.pictures)
    reasons = [why_left_out(row, work.options.train.labels) for row in rows]
    count = reasons.count(None)
    if count < work.options.least_labels:
        told = ", ".join(sorted({reason for reason in reasons if reason is not None}))
        raise LoopError(
            f"round {number}: {count} of {len(rows)} labels can be trained on"
            + (f" (others are {told})" if told else "")
            + f", and fewer than {work.options.least_labels} teach nothing; give more pictures and another "
            f"--output_dir, or --config.least_labels={max(count, 1)} to go on all the same"
        )
    previous = work.network(number - 1)
    options = work.options.train_from(None if previous is None else str(previous), number)
    own = TrainingSourceOptions(path=str(goal.parent), images=str(work.pictures), name="store")
    options = dataclasses.replace(options, sources=(*options.sources, own))
    folder = work.of_round(number) / "train"
    done = work.jobs.train(options, folder, progress=work.progress, on_note=work.on_note)
    # One that was stopped behind its last step learns nothing any more, and tells nothing.
    scalars = {**_last_scalars(folder / "scalars.jsonl"), **done.scalars}
    kept = {name: value for name, value in scalars.items() if name == "loss" or name.startswith("held_out_")}
    return {
        "labels": count, "people": done.num_people, "held_out": done.num_validation,
        "scalars": {name: _finite(value) for name, value in kept.items()},
    }, list(done.notes)  # fmt: skip


def _last_scalars(path: pathlib.Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {name: value for line in lines for name, value in line.items() if name != "step" and value is not None}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _score_labels(work: LoopWork, number: int, before: dict[str, Any], when: str) -> tuple[dict[str, Any], list[str]]:
    goal = work.of_round(number) / when / "labels.parquet"
    rows = take_out(work.store, goal, work.body, work.pictures)
    return _of_score(work.jobs.score_labels(rows, work.body, _true_labels(work))), []


def _score_network(work: LoopWork, number: int, before: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Of people who were not trained on; of others nothing is told."""
    rows = store.read_labels(work.of_round(number) / _REFINED / "labels.parquet").rows
    held = held_out_files(rows, work.options.train.validation_share)
    goal = work.of_round(number) / "truth_held_out"
    unseen = [row for row in _true_labels(work) if row.source_sha256 in held]
    if not unseen:
        return {"people": 0}, [
            "nobody was held out of the training, so that the network is not compared with the truth"
        ]
    store.write_labels(goal / "labels.parquet", unseen)
    model = work.options.train.body_model
    scored = work.jobs.score_network(
        [f"labels:{goal}"], [str(work.network(number))],
        load.open_body(view="smpl") if model == "open_body" else load.load_body(model), images=str(work.pictures),
        protocol_name=loop_truth.PROTOCOL, frames=work.of_round(number) / "frames", progress=work.progress,
    )  # fmt: skip
    return _of_score(scored[0]), []


def _true_labels(work: LoopWork) -> list[LabelRow]:
    return list(store.read_labels(work.folder / "rendered" / render_training.LABELS).rows)


def _of_score(scored: SetScore) -> dict[str, Any]:
    scalars = {name: _finite(value) for name, value in part_scalars(scored).items()}
    return {"people": scored.num_samples, "missing": scored.num_missing, "scalars": scalars}


_STAGES: dict[str, Callable[[LoopWork, int, dict[str, Any]], tuple[dict[str, Any], list[str]]]] = {
    "render": _render,
    "begin": _begin,
    "annotate": _annotate,
    "merge": _merge,
    "score_annotated": lambda work, number, before: _score_labels(work, number, before, _ANNOTATED),
    "hand": lambda work, number, before: _refine(work, number, before, "hand"),
    "foot": lambda work, number, before: _refine(work, number, before, "foot"),
    "score_refined": lambda work, number, before: _score_labels(work, number, before, _REFINED),
    "train": _train,
    "score_network": _score_network,
}


#: Stages that are told what the store held before.
CHANGES_STORE = ("merge", "hand", "foot")


def counted_before(path: pathlib.Path, body: BodyModel) -> dict[str, Any]:
    """What the record keeps of a store before a stage that changes it.

    Args:
        path: Of the store.
        body: Of the loop.
    """
    state = look_at_store(path, body)
    return {"people": state.people, "versions": state.versions, "refined": state.refined}
