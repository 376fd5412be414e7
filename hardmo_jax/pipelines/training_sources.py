"""What a network is trained on, opened: labels of this package, and those that others publish."""

import dataclasses
import glob
import hashlib
import math
import pathlib
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from hardmo_jax.array_types import Bool
from hardmo_jax.body import landmarks, load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.data.published.coco_people import CocoPeople
from hardmo_jax.data.published.hmr2_filters import Hmr2Filters
from hardmo_jax.data.published.hmr2_npz import Hmr2Npz
from hardmo_jax.data.published.hmr2_tars import Hmr2Tars
from hardmo_jax.data.published.spin_npz import SpinNpz
from hardmo_jax.data.published.three_dpw import ThreeDpw
from hardmo_jax.data.training_records import PixelReference, TrainingDataError, TrainingRecord, TrainingSource
from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.labels.store_places import labels_below
from hardmo_jax.pipelines.label_records import LabelRecordOptions, LabelRecords, photos_of_labels
from hardmo_jax.pipelines.label_rows import name_of_body
from hardmo_jax.skeleton import layouts, regressors

SourceKind = Literal["labels", "hmr2_tars", "hmr2_npz", "spin_npz", "coco", "three_dpw"]
SOURCE_KINDS: tuple[str, ...] = get_args(SourceKind)


#: Filters that let everything pass.
_ALL = Hmr2Filters(
    least_confidence=0.0, least_keypoints=0, largest_beta=math.inf, is_pose_with_betas=False,
    are_missing_betas_zero=False, largest_reprojection_loss=math.inf,
)  # fmt: skip
#: Keypoints of somebody, at least, for their extent to be compared with the box; usual ratios are 0.5 to 1.
_LEAST_SEEN, _BOX_RATIO = 8, (0.05, 5.0)
#: People of a source who are looked at before it is believed that something of it is compared.
_LOOKED_AT = 64
_LAYOUT = layouts.get_layout("hmr2_44")
#: Annotated points and those of OpenPose at the same place, as slots.
_SAME_PLACE = tuple(
    (_LAYOUT.index(point), _LAYOUT.index(other))
    for point in _LAYOUT.points
    if (other := regressors.place_of(point)) != point and other in _LAYOUT.points
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSourceOptions:
    """One source of people."""

    kind: SourceKind = "labels"
    """`labels`: a folder of `tools.annotate` or `tools.refine`, or their Parquet file; the others are what their
    projects publish (docs/training.md)."""
    path: str = ""
    """File or folder; of tars a pattern such as `train/*.tar`."""
    images: str = ""
    """Folder below which pictures are named; of `labels` what was labelled. Tars hold their own."""
    name: str = ""
    """For messages and the mix; empty takes that of the file."""
    weight: float | None = None
    """Share of samples from here, beside those of the others; None counts people."""

    def __post_init__(self) -> None:
        if self.kind not in SOURCE_KINDS:
            raise ValueError(f"unknown `kind` {self.kind!r} of a source; known: {', '.join(SOURCE_KINDS)}")
        if self.weight is not None and not self.weight >= 0:
            raise ValueError(f"`weight` of a source must not be negative, got {self.weight}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenedSources:
    """Who is trained on, and who is looked at between."""

    training: list[TrainingSource]
    validation: list[TrainingSource]
    weights: dict[str, float]
    """Of the mix, by name."""
    references: list[PixelReference]
    """Frames of videos that are to be taken out."""
    notes: list[str]
    """What was left out."""


def open_sources(
    sources: Sequence[TrainingSourceOptions],
    body: BodyModel,
    *,
    labels: LabelRecordOptions,
    validation_share: float,
) -> OpenedSources:
    """Open all sources.

    Args:
        sources: At least one.
        body: Body of labels of this package, where it is not the open one.
        labels: Which labels are taken.
        validation_share: Share of the pictures and videos of labels that is kept for validation; whole files, so that
            nobody is in both.

    Raises:
        FileNotFoundError: If a file is missing.
        TrainingDataError: If a source is empty or damaged, or nothing is named.
        hardmo_jax.labels.schema.LabelError: If labels are damaged.
    """
    if not sources:
        raise TrainingDataError(
            "the mix is empty: name what is trained on, with --labels=FOLDER or `config.sources`; see docs/training.md"
        )
    opened = OpenedSources(training=[], validation=[], weights={}, references=[], notes=[])
    has = np.asarray(landmarks.point_model(body, _LAYOUT)[1])
    for chosen in sources:
        if chosen.kind == "labels":
            _open_labels(chosen, body, labels, validation_share, opened)
        else:
            source = ComparedPeople(open_published(chosen), has)
            source.check(chosen.images)
            opened.training.append(source)
        if chosen.weight is not None:
            opened.weights[opened.training[-1].name] = chosen.weight
    names = [source.name for source in opened.training]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrainingDataError(f"several sources are called {', '.join(twice)}; give each its own `name`")
    return opened


def body_of_labels(name: str, body: BodyModel) -> BodyModel:
    """Body of labels of a name: the one that networks are compared by, or the open body in any view.

    Raises:
        TrainingDataError: If it is another one, which needs its file.
    """
    if name == name_of_body(body):
        return body
    if name.startswith("open_body_"):
        return load.open_body(view=name.removeprefix("open_body_"))  # pyright: ignore[reportArgumentType]
    raise TrainingDataError(
        f"labels are of the body {name}, and `body_model` is {name_of_body(body)}: give the file they were made with "
        "(--config.body_model of tools.train, --body_model of tools.eval), or take labels of the open body"
    )


def labels_trained_on(path: str) -> pathlib.Path:
    """File of labels, or store of a job, of a folder; a file is itself."""
    found = labels_below(path)
    return found / "labels.parquet" if found == pathlib.Path(path) and found.is_dir() else found


def open_published(chosen: TrainingSourceOptions, *, is_truth: bool = False) -> TrainingSource:
    """Labels as others publish them.

    Args:
        chosen: Not of `labels`.
        is_truth: Whether they are scored on: what the loaders of training do not believe then counts.

    Raises:
        FileNotFoundError: If a file is missing.
        TrainingDataError: If it is damaged.
    """
    named: dict[str, Any] = {"name": chosen.name} if chosen.name else {}
    paths = sorted(glob.glob(chosen.path)) if glob.has_magic(chosen.path) else [chosen.path]
    if not paths or not all(pathlib.Path(path).exists() for path in paths):
        raise FileNotFoundError(f"{chosen.path or 'a source without a `path`'}: no such file of {chosen.kind}")
    if chosen.kind == "hmr2_tars":
        return Hmr2Tars(paths, filters=_ALL if is_truth else None, **named)
    if chosen.kind == "three_dpw":
        return ThreeDpw(paths, chosen.images, **named)
    if chosen.kind == "hmr2_npz" and is_truth:
        named["believes_joints_3d"] = True
    made = {"hmr2_npz": Hmr2Npz, "spin_npz": SpinNpz, "coco": CocoPeople}[chosen.kind]
    if len(paths) != 1:
        raise TrainingDataError(f"{chosen.path}: {len(paths)} files; give each of {chosen.kind} as a source of its own")
    return made(paths[0], chosen.images, **named)


def _open_labels(
    chosen: TrainingSourceOptions,
    body: BodyModel,
    options: LabelRecordOptions,
    validation_share: float,
    opened: OpenedSources,
) -> None:
    path, file = pathlib.Path(chosen.path), labels_trained_on(chosen.path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such labels; give the folder that `tools.annotate` wrote")
    if not chosen.images:
        raise TrainingDataError(
            f"{chosen.path}: labels hold no pixels; name the photos or the video that were labelled, with "
            "--images=FOLDER or `images` of the source"
        )
    images = pathlib.Path(chosen.images)
    if not images.exists():
        raise FileNotFoundError(f"{images}: no such photos; labels of {chosen.path} need what was labelled")
    rows = store.latest_labels(store.read_labels(file).rows)
    if not rows:
        raise TrainingDataError(f"{file}: there are no labels in it")
    own = body_of_labels(rows[0].body_model, body)
    if landmarks.point_model(body, _LAYOUT)[1].sum() > landmarks.point_model(own, _LAYOUT)[1].sum():
        opened.notes.append(
            f"{chosen.path}: labels of {rows[0].body_model} have no points in space that {name_of_body(body)} is "
            "compared from; their poses and what was seen in the picture count"
        )
    name = chosen.name or path.stem
    pixels_of = photos_of_labels(images if images.is_dir() else images.parent)
    chosen_files = held_out_files(rows, validation_share)
    held = [row for row in rows if row.source_sha256 in chosen_files]
    kept = [row for row in rows if row.source_sha256 not in chosen_files]
    source = LabelRecords(kept or rows, own, pixels_of, name=name, options=options)
    ComparedPeople(source, np.ones(len(_LAYOUT), bool)).check(chosen.images)
    opened.training.append(source)
    opened.references.extend(source.references())
    left_out = dict(source.left_out)
    if not held and validation_share:
        opened.notes.append(f"{name}: nobody is held out, as all labels are of one picture or video")
    if held and kept:
        try:
            validation = LabelRecords(held, own, pixels_of, name=f"{name} (held out)", options=options)
        except TrainingDataError:
            opened.notes.append(f"{name}: nobody of the pictures that were held out can be used")
        else:
            opened.validation.append(validation)
            opened.references.extend(validation.references())
    opened.notes.extend(f"{name}: {count} labels left out, {reason}" for reason, count in left_out.items())


def held_out_files(rows: Sequence[LabelRow], share: float) -> set[str]:
    """Pictures and videos for validation, the same in every run; at least one of several, and never all.

    Args:
        rows: Labels.
        share: Of the files.

    Returns:
        SHA-256 of their content.
    """

    def place(name: str) -> float:
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32

    files = sorted({row.source_sha256 for row in rows}, key=place)
    if not share or len(files) < 2:
        return set()
    held = [name for name in files if place(name) < share] or files[:1]
    return set(held[: len(files) - 1])


class ComparedPeople:
    """People of a source by the points that a body has.

    Annotators mark hips, knees or ankles at other places than OpenPose, so both are points of their own; a body without
    the regressors of the annotated ones is compared at OpenPose's, centimetres away, rather than at none.

    Args:
        source: Of the people.
        has_point: Which of `hmr2_44` the body has.
    """

    def __init__(self, source: TrainingSource, has_point: Bool[np.ndarray, "44"]) -> None:
        self.name = source.name
        self._source, self._has = source, has_point
        self._moves = [(old, new) for old, new in _SAME_PLACE if not has_point[old] and has_point[new]]

    def __len__(self) -> int:
        return len(self._source)

    def record(self, index: int) -> TrainingRecord:
        """One person."""
        record = self._source.record(index)
        person = record.person
        arrays = {
            name: np.array(getattr(person, name))
            for name in ("keypoints_2d", "confidence", "keypoints_3d", "confidence_3d")
        }
        for points, confidence in (("keypoints_2d", "confidence"), ("keypoints_3d", "confidence_3d")):
            for old, new in self._moves:
                if not arrays[confidence][new] and arrays[confidence][old]:
                    arrays[points][new], arrays[confidence][new] = arrays[points][old], arrays[confidence][old]
        return dataclasses.replace(record, person=dataclasses.replace(person, **arrays))

    def check(self, images: str = "", *, needs_pictures: bool = True) -> None:
        """Look whether anything of the first people is compared, their boxes are about them, and a picture is there.

        Args:
            images: Folder of the pictures, for the message.
            needs_pictures: Whether they are looked for.

        Raises:
            TrainingDataError: If not.
        """
        is_compared, ratios, missing, looked = False, [], [], 0
        for row in range(min(len(self), _LOOKED_AT)):
            try:
                record = self.record(row)
            except TrainingDataError:
                continue
            looked += 1
            seen = record.person.confidence > 0
            known = (seen | (record.person.confidence_3d > 0)) & self._has
            is_compared |= record.has_pose or bool(known.any())
            if seen.sum() >= _LEAST_SEEN:
                ratios.append(float(np.ptp(record.person.keypoints_2d[seen], axis=0).max() / record.size))
            if not pathlib.Path(record.pixels.path).is_file():
                missing.append(record.pixels.path)
        if looked and not is_compared:
            raise TrainingDataError(
                f"{self.name}: the first {looked} people have neither a pose nor a point that the body has, so that "
                "nothing could be learnt of them; give `body_model` SMPL's file with its regressors"
            )
        if ratios and not _BOX_RATIO[0] < float(np.median(ratios)) < _BOX_RATIO[1]:
            raise TrainingDataError(
                f"{self.name}: keypoints span {np.median(ratios):.3g} times the boxes of the same people: `scale` is "
                "in another unit, pixels in `hmr2_npz` and 200 pixels in `spin_npz`"
            )
        if needs_pictures and looked and len(missing) == looked:
            raise TrainingDataError(
                f"{self.name}: there is no picture of any of the first {looked} people, such as {missing[0]}; the "
                f"folder of pictures ({images or 'none was given'}) is told with --images, or `images` of a source"
            )


class SomeOf:
    """Some people of a source, evenly spaced; all of them where there are no more."""

    def __init__(self, source: TrainingSource, most: int) -> None:
        self.name = source.name
        self._source = source
        count = len(source)
        self._rows = np.linspace(0, max(count - 1, 0), min(most, count)).round().astype(int)

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, index: int) -> TrainingRecord:
        """One person."""
        return self._source.record(int(self._rows[index]))
