"""The one label store of a loop: begun from an earlier one, better labels merged in, what is trained on taken out."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Sequence, Set

from hardmo_jax.body.model import BodyModel
from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.annotate_summary import note_of, summarise
from hardmo_jax.pipelines.label_identities import with_known_people
from hardmo_jax.pipelines.label_rows import name_of_body, split_by_body
from hardmo_jax.pipelines.loop_options import LoopError
from hardmo_jax.pipelines.shared_store import held_store
from hardmo_jax.pipelines.training_sources import labels_trained_on
from hardmo_jax.skeleton import layouts
from hardmo_jax.whole_files import file_sha256


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreState:
    """What a store holds of the loop's body."""

    people: int
    """Labels, each counted once."""
    versions: int
    """And with all that they replaced."""
    refined: dict[str, int]
    """Parts that were repaired and not replaced since, by `hand` and `foot`."""
    errors: dict[str, float | None]
    """Median distance of `body`, `hand` and `foot` from their keypoints, box sides; as `tools.annotate` tells it."""
    others: dict[str, int]
    """Labels of other bodies by name and beginning of the checksum."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BegunStore:
    """What a loop begins from."""

    people: int
    """Labels, each counted once."""
    versions: int
    """And with all that they replaced."""
    elsewhere: int
    """People of pictures that the loop does not look at."""


def begin_store(source: str, path: pathlib.Path, pictures: pathlib.Path) -> BegunStore:
    """Copy the labels that a loop begins from.

    A picture that was labelled from another folder, above or below, has another relative path in the labels; it is
    known by its name and content, and its labels get the path that it has here, so that nobody is in the store twice.

    Args:
        source: Folder of `tools.annotate`, or a Parquet file; only read.
        path: Of the loop's store.
        pictures: Folder of photos or videos, or a video, that the loop annotates.

    Raises:
        FileNotFoundError: If there are none.
        hardmo_jax.labels.schema.LabelError: If they are damaged.
    """
    file = labels_trained_on(source)
    labels = store.read_labels(file if file.is_file() else source)
    here = _paths_here({(row.source_path, row.source_sha256) for row in labels.rows}, pictures)
    rows = []
    for row in labels.rows:
        place = here.get((row.source_path, row.source_sha256))
        rows.append(row if place in (None, row.source_path) else dataclasses.replace(row, source_path=place))
    store.write_labels(path, rows, extra=labels.extra)
    newest = store.latest_labels(labels.rows)
    elsewhere = sum((row.source_path, row.source_sha256) not in here for row in newest)
    return BegunStore(people=len(newest), versions=len(rows), elsewhere=elsewhere)


def _paths_here(files: Set[tuple[str, str]], pictures: pathlib.Path) -> dict[tuple[str, str], str]:
    """Relative paths, among the pictures of a loop, of labelled files by path and checksum; others are left out."""
    by_name: dict[str, list[pathlib.Path]] = collections.defaultdict(list)
    wanted = {pathlib.PurePosixPath(path.replace("\\", "/")).name for path, _ in files}
    for found in sorted(pictures.rglob("*")) if pictures.is_dir() else [pictures]:
        if found.name in wanted and found.is_file():
            by_name[found.name].append(found)
    root = pictures if pictures.is_dir() else pictures.parent
    checksum = functools.cache(file_sha256)
    same = {
        (path, sha256): [
            found.relative_to(root).as_posix()
            for found in by_name[pathlib.PurePosixPath(path.replace("\\", "/")).name]
            if checksum(found) == sha256
        ]
        for path, sha256 in sorted(files)
    }
    # Those that are where their labels have them first: of copies each is one picture.
    here = {file: file[0] for file, places in same.items() if file[0] in places}
    for file, places in same.items():
        free = [place for place in places if place not in here.values()]
        if file not in here and free:
            here[file] = free[0]
    return here


def look_at_store(path: pathlib.Path, body: BodyModel) -> StoreState:
    """What a store holds; one that is not there yet holds nothing."""
    rows = store.read_labels(path).rows if path.is_file() else ()
    own, others = split_by_body(rows, body)
    newest = store.latest_labels(own)
    medians = summarise([], [note_of(row) for row in newest]).median_error_by_part
    errors = {"body": medians["body"]}
    refined = {}
    for subset in ("hand", "foot"):
        parts = [f"{side}_{subset}" for side in layouts.SIDES]
        told = [error for part in parts if (error := medians[part]) is not None]
        errors[subset] = sum(told) / len(told) if told else None
        refined[subset] = sum(row.outcome_by_part[part] == "refined" for row in newest for part in parts)
    names = collections.Counter(
        f"{row.body_model} ({row.body_model_sha256[:12]})" for row in store.latest_labels(others)
    )
    return StoreState(people=len(newest), versions=len(own), refined=refined, errors=errors, others=dict(names))


def check_bodies(state: StoreState, body: BodyModel, *, source: str) -> list[str]:
    """What is said of labels of other bodies.

    Args:
        state: Of the store.
        body: Of the loop.
        source: Where the store is from, for messages.

    Raises:
        LoopError: If there are no others.
    """
    if not state.others:
        return []
    told = ", ".join(f"{count} of the body {name}" for name, count in state.others.items())
    if not state.people:
        raise LoopError(
            f"{source}: no label is of the body of this loop, {name_of_body(body)} ({body.checksum[:12]}), but {told}; "
            "give the file that they were made with as --config.annotate.body.model (of the open body its view as "
            "--config.annotate.body.view), or another --store"
        )
    return [
        f"{source}: {told}, and the loop's is {name_of_body(body)}: these labels stay as they are, are neither refined "
        "nor trained on, and their people get no others"
    ]


def merge_into_store(path: pathlib.Path, candidates: Sequence[LabelRow], body: BodyModel) -> int:
    """Offer new labels to a store: people who are not there are added, worse labels are replaced, and kept as history.

    What a person made or said anything of, rejected too, and labels of other bodies are left. Merging twice changes
    nothing.

    Args:
        path: Of the store; need not be there.
        candidates: Labels of this body.
        body: Of the loop.

    Returns:
        New labels that were not offered for what is there in their place.

    Raises:
        hardmo_jax.labels.schema.LabelError: If the store is damaged.
        LoopError: If somebody else wrote to it meanwhile without holding it.
        hardmo_jax.pipelines.shared_store.StoreBusyError: If somebody else writes to it and does not stop.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with held_store(path):
        return _merge_into_held(path, candidates, body)


def _merge_into_held(path: pathlib.Path, candidates: Sequence[LabelRow], body: BodyModel) -> int:
    """The same of a store that nobody else writes to, unless they do not ask."""
    sha256_as_read = file_sha256(path) if path.is_file() else ""
    labels = store.read_labels(path) if path.is_file() else store.LabelSet(rows=())
    own, others = split_by_body(labels.rows, body)
    newest, left = store.latest_labels(own), store.latest_labels(others)
    known = with_known_people(candidates, [*newest, *left])
    # Also where a person spoke of one part only: the word would be gone with the version that it is of.
    closed = {row.label_id for row in left} | {row.label_id for row in newest if row.was_looked_at}
    offered = [row for row in known if row.label_id not in closed]
    merged = store.merge_labels(own, offered, keep_history=True)
    if len(merged) != len(own) or not path.is_file():
        if (file_sha256(path) if path.is_file() else "") != sha256_as_read:
            raise LoopError(
                f"{path}: somebody else wrote to it during this stage, so that this one did not; run it again"
            )
        store.write_labels(path, [*merged, *others], extra=labels.extra)
    return len(known) - len(offered)


def take_out(path: pathlib.Path, goal: pathlib.Path, body: BodyModel, pictures: pathlib.Path) -> list[LabelRow]:
    """Newest labels of a body and of pictures that are there, as a file that no later stage changes.

    A file that is there stays.

    Args:
        path: Of the store.
        goal: File to write.
        body: Of the loop.
        pictures: Folder of photos or videos, or a video, that the loop annotates.

    Returns:
        The labels.
    """
    if not goal.is_file():
        own = store.latest_labels(split_by_body(store.read_labels(path).rows, body)[0])
        root = pictures if pictures.is_dir() else pictures.parent
        is_there = {name: (root / name).is_file() for name in {row.source_path for row in own}}
        store.write_labels(goal, [row for row in own if is_there[row.source_path]])
    return list(store.read_labels(goal).rows)
