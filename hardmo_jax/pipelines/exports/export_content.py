"""What an export is made of: labels of one body, converted if asked for, and their motion; or a file of motion."""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body import load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.export.motion.scene_motion import SceneMotion
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.labels.store_places import labels_below
from hardmo_jax.pipelines.exports import convert_labels, label_motions, motion_files
from hardmo_jax.pipelines.exports.dataset_pixels import check_pictures
from hardmo_jax.pipelines.exports.export_motions import MOTION_FORMATS
from hardmo_jax.pipelines.exports.export_options import ExportOptions
from hardmo_jax.pipelines.exports.export_training import TRAINING_FORMATS
from hardmo_jax.pipelines.exports.frame_grid import usual_rate
from hardmo_jax.pipelines.label_rows import name_of_body
from hardmo_jax.pipelines.labelled_pictures import picture_root

_MOTION_SUFFIXES = (".npz", ".bvh")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversion:
    """How near another body came."""

    told: str
    errors_mm: list[float]
    """Of each label or frame."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportContent:
    """What is exported: labels, and their motion where a format of motion is asked for."""

    path: pathlib.Path
    """Of the labels."""
    labels: store.LabelSet
    """Those that are exported, newest versions; none of a file of motion."""
    scenes: Sequence[SceneMotion]
    notes: Sequence[str]
    pictures: pathlib.Path | None
    """Folder that the paths of pictures are relative to, where it is known."""
    conversion: Conversion | None = None
    """None where all is of the body that it was."""


#: Nobody walks so far, metres; beyond it float32 is too coarse for a finger.
_FARTHEST = 10_000.0


def labels_path(source: pathlib.Path) -> pathlib.Path:
    """The file of labels of a run's folder; anything else is what it is.

    Raises:
        ExportError: If the folder holds several runs, or files of motion.
        FileNotFoundError: If there is no such file of motion.
    """
    if source.suffix.lower() in _MOTION_SUFFIXES and not source.exists():
        raise FileNotFoundError(f"{source}: no such file of motion")
    labels = labels_below(source)
    if labels != source:
        return labels
    if source.is_dir() and not any(source.glob("*.parquet")):
        below = sorted(path.parent.name for path in source.glob("*/labels.parquet"))
        if below:
            raise ExportError(
                f"{source}: holds the labels of {len(below)} inputs, in a folder each; give one of them, such as "
                f"--labels={source / below[0]}"
            )
        motion = sorted(path.name for path in source.iterdir() if path.suffix.lower() in _MOTION_SUFFIXES)
        if motion:
            raise ExportError(
                f"{source}: holds files of motion; give one of them, such as --labels={source / motion[0]}"
            )
    return source


def read_content(path: pathlib.Path, chosen: Sequence[str], options: ExportOptions) -> ExportContent:
    """Read labels or a file of motion, and look for what the formats need.

    Args:
        path: Of labels, or an `.npz` or `.bvh` file of motion.
        chosen: Names of formats.
        options: Bodies, rates, pictures.

    Raises:
        FileNotFoundError: If there are no labels.
        hardmo_jax.labels.schema.LabelError: If labels are damaged.
        ExportError: If they cannot be written in one of the formats. What readers of bodies and of motion raise passes.
    """
    target = None if options.to_body is None else _body_called(options.to_body)
    vertex_map = None if options.vertex_map is None else pathlib.Path(options.vertex_map)
    if path.suffix.lower() in _MOTION_SUFFIXES and path.is_file():
        return _read_motion(path, chosen, options, target, vertex_map)
    found = store.read_labels(path)
    rows: Sequence[LabelRow] = store.latest_labels(found.rows)
    if not rows:
        raise ExportError(f"{path}: holds no label; nothing can be exported")
    has_motion = any(name in MOTION_FORMATS for name in chosen)
    body, notes, conversion = None, [], None
    if has_motion or target is not None or options.body is not None:
        body, own = _of_one_body(rows, options.body, path)
        if len(own) < len(rows):
            notes.append(f"{len(rows) - len(own)} labels of other bodies were left out")
        rows = own
    pictures = picture_root(path, options.pictures)
    _check_named_picture(rows, options.pictures)
    if options.motion.frames_per_second is not None and has_motion and all(row.fps is not None for row in rows):
        notes.append(f"--fps={options.motion.frames_per_second:g} changes nothing: all labels state their rate")
    if any(name in TRAINING_FORMATS for name in chosen) or (options.with_pixels and "hf" in chosen):
        if pictures is None:
            raise ExportError(f"{path}: nothing tells where the pictures of these labels are; give --pictures=FOLDER")
        check_pictures(rows, pictures)
    if target is not None and body is not None:
        rows, conversion, told = _converted(rows, body, target, vertex_map, path)
        body = target
        notes += told
    scenes: Sequence[SceneMotion] = ()
    if has_motion and body is not None:
        motions = label_motions.scenes_of_labels(rows, body, options.motion)
        scenes = motions.scenes
        notes += _notes(motions)
    labels = dataclasses.replace(found, rows=tuple(rows))
    return ExportContent(path=path, labels=labels, scenes=scenes, notes=notes, pictures=pictures, conversion=conversion)


def _converted(
    rows: Sequence[LabelRow], body: BodyModel, target: BodyModel, vertex_map: pathlib.Path | None, path: pathlib.Path
) -> tuple[list[LabelRow], Conversion, list[str]]:
    """Labels of another body, how near they come, and what is to be said of it."""
    usable = [row for row in rows if row.is_usable]
    if not usable:
        raise ExportError(f"{path}: none of {len(rows)} labels has a usable pose, so that none can be converted")
    found = convert_labels.convert_labels(usable, body, target, vertex_map=vertex_map)
    conversion = _conversion(name_of_body(body), name_of_body(target), found.matched_by, found.mean_error)
    made = [row for row in found.rows if row.is_usable]
    if not made:
        raise ExportError(
            f"{path}: none of {len(usable)} labels can be converted to {name_of_body(target)}: the bodies stay "
            "decimetres apart; look whether the file is that of a whole body, or give --vertex_map"
        )
    notes = [conversion.told]
    if len(usable) < len(rows):
        notes.append(f"{len(rows) - len(usable)} labels without a usable pose were left out")
    if len(made) < len(usable):
        notes.append(f"{len(usable) - len(made)} labels could not be converted and were left out")
    return made, conversion, notes


def _check_named_picture(rows: Sequence[LabelRow], given: str | None) -> None:
    """Refuse a video or photo, given as the pictures, that is called otherwise than in the labels."""
    if given is None or not pathlib.Path(given).is_file():
        return
    names = {pathlib.PurePosixPath(row.source_path.replace("\\", "/")).name for row in rows}
    if pathlib.Path(given).name not in names:
        raise ExportError(
            f"--pictures={given}: the labels are of {', '.join(sorted(names)[:3])}; give a file of that name, or the "
            "folder that it lies in"
        )


def _read_motion(
    path: pathlib.Path,
    chosen: Sequence[str],
    options: ExportOptions,
    target: BodyModel | None,
    vertex_map: pathlib.Path | None,
) -> ExportContent:
    others = [name for name in chosen if name not in MOTION_FORMATS]
    if others:
        raise ExportError(
            f"{path}: is a file of motion, of which nothing was seen in pictures, so that {others[0]} cannot be "
            f"written; it can be as {', '.join(MOTION_FORMATS)}"
        )
    body = None if options.body is None else _body_called(options.body)
    scene, notes = _scene_of_file(path, body, options.motion.frames_per_second)
    farthest = max(float(np.abs(track.params.transl).max()) for track in scene.tracks)
    if not farthest < _FARTHEST:
        raise ExportError(
            f"{path}: somebody is {farthest:.3g} m from the origin, and a motion is within {_FARTHEST:.0f} m of it; a "
            "number or the unit is wrong"
        )
    if body is None and path.suffix.lower() == ".npz" and not any(track.betas.any() for track in scene.tracks):
        notes += ("the shape is the open body's mean one; --body, the file of the motion's own model, keeps its shape",)
    nobody = store.LabelSet(rows=())
    if target is None:
        return ExportContent(path=path, labels=nobody, scenes=(scene,), notes=notes, pictures=None)
    converted, errors, matched_by = convert_labels.convert_scene(scene, target, vertex_map=vertex_map)
    conversion = _conversion(scene.body_name, name_of_body(target), matched_by, errors)
    return ExportContent(
        path=path,
        labels=nobody,
        scenes=(converted,),
        notes=(*notes, conversion.told),
        pictures=None,
        conversion=conversion,
    )


def _scene_of_file(
    path: pathlib.Path, body: BodyModel | None, frames_per_second: float | None
) -> tuple[SceneMotion, tuple[str, ...]]:
    """A file of motion, at the rate that it states or, as some state a wrong one, at that which the user does."""
    if frames_per_second is None:
        scene = motion_files.read_scene(path, body=body)
        stated = scene.frames_per_second
        return dataclasses.replace(scene, frames_per_second=None if stated is None else usual_rate(stated)), ()
    scene = motion_files.read_scene(path, body=body, frames_per_second=frames_per_second)
    seconds = (scene.num_frames - 1) / frames_per_second
    return scene, (f"{path.name}: at --fps={frames_per_second:g}, whatever it states: {seconds:.1f} s",)


def _body_called(name: str) -> BodyModel:
    return load.open_body() if name == "open_body" else load.load_body(name)


def _conversion(source: str, target: str, matched_by: str, errors: Float[np.ndarray, "N"]) -> Conversion:
    finite = 1000 * errors[np.isfinite(errors)]
    told = {"mesh": "all vertices", "map": "the vertex map", "landmarks": "joints and landmarks"}[matched_by]
    if not len(finite):
        raise ExportError(f"no label of {source} could be converted to {target}: their numbers are not finite")
    return Conversion(
        told=(
            f"converted from {source} to {target} by {told}: mean error {finite.mean():.1f} mm, worst frame "
            f"{finite.max():.1f} mm"
        ),
        errors_mm=[round(float(error), 3) for error in 1000 * errors],
    )


def _of_one_body(
    rows: Sequence[LabelRow], given: str | None, path: pathlib.Path
) -> tuple[BodyModel, Sequence[LabelRow]]:
    """The body of labels, and those that are of it."""
    counts = Counter((row.body_model, row.body_model_sha256) for row in rows)
    name, checksum = counts.most_common(1)[0][0]
    if given is None and len(counts) > 1:
        raise ExportError(
            f"{path}: labels of {len(counts)} body models in one store: {_listed(counts)}; say which are exported "
            "with --body, the file of one of them, or open_body"
        )
    if given is None and not name.startswith("open_body_"):
        raise ExportError(
            f"{path}: labels are of the body {name} ({checksum[:12]}); give its file as --body=FILE, of a name such as "
            "body_models/SMPL_NEUTRAL.pkl"
        )
    bodies = (
        [load.open_body(), load.open_body(view="smpl")] if given in (None, "open_body") else [load.load_body(given)]
    )
    for body in bodies:
        own = [row for row in rows if (row.body_model, row.body_model_sha256) == (name_of_body(body), body.checksum)]
        if own:
            return body, own
    raise ExportError(
        f"{path}: no label is of the body {given or 'open_body'} ({bodies[0].checksum[:12]}); there are "
        f"{_listed(counts)}"
    )


def _listed(counts: Counter[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({checksum[:12]}): {count}" for (name, checksum), count in counts.most_common())


def _notes(motions: label_motions.LabelMotions) -> list[str]:
    found = [
        (motions.num_failed, "labels without a usable pose were left out"),
        (motions.num_rejected, "rejected labels were left out"),
        (motions.num_interpolated, "frames of people without a label were interpolated between their neighbours"),
        (motions.num_shapes, "tracks had labels of several shapes; the mean shape is written"),
    ]
    notes = [f"{count} {text}" for count, text in found if count]
    laid = sum(scene.floor == "lowest_point" for scene in motions.scenes)
    mixed = sum(scene.floor == "mixed" for scene in motions.scenes)
    if laid or mixed:
        where = [f"{laid} of {len(motions.scenes)} pictures or videos"] if laid else []
        where += [f"some shots of {mixed}"] if mixed else []
        notes.append(
            f"no floor is known in {' and '.join(where)}: the camera is taken as level there, and the floor laid under "
            "the lowest point"
        )
    return notes
