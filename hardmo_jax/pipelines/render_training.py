"""Pictures of rendered people with labels that are true to the last digit: for training and tests without any licence.

Poses are those of motion capture, or written ones where there is none; hands come from their own prior, so that wrists
and fingers are in every pose. Each picture shows one person; its label is as `tools.annotate` writes it.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import jax
import numpy as np

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body import landmarks, load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import staging, synthetic
from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.data.pose_pool import PosePool
from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.perception import photos, video
from hardmo_jax.pipelines import label_rows, planted_labels, scenery, training_poses
from hardmo_jax.pipelines.sightings import LAYOUT
from hardmo_jax.rendering import raster, scenes
from hardmo_jax.rendering.scene import View
from hardmo_jax.skeleton import layouts
from hardmo_jax.training.loop import check_same_run
from hardmo_jax.whole_files import replacing

Progress = Callable[[str, int, int | None], None]
PoseSource = Literal["auto", "mocap", "written"]
KeypointSource = Literal["true", "detected"]
Clothes = Literal["varied", "suits"]

PHOTOS, LABELS, SHEET, _IDENTITY = "photos", "labels.parquet", "sheet.jpg", "rendered.json"
_AT_ONCE = 64
#: Pictures of the sheet, and in a row of it.
_SHOWN, _COLUMNS = 48, 8
#: Sides of the picture over those of the box of keypoints, least and most.
_MARGIN = (1.15, 1.6)


class RenderError(ValueError):
    """Nothing can be rendered; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RenderTrainingOptions:
    """What is rendered."""

    people: int = 2_000
    """As many pictures."""
    seed: int = 0
    side: int = 320
    """Of the square pictures, pixels."""
    poses: PoseSource = "auto"
    """`mocap`; `written`: between key poses; `auto`: motion capture where there is some."""
    takes: tuple[float, float] = (0.0, 1.0)
    """Which takes of motion capture: places in [0, 1) that their names have by chance, so that people of (0, 0.8) and
    of (0.8, 1) have no take in common."""
    sampled_feet: float = 0.0
    """Share of people of motion capture whose ankles and toes are those of written dance and martial poses; hands are
    sampled always."""
    keypoints: KeypointSource = "true"
    """What labels hold as seen: `true` points, or those of a made-up detector (`scene.noise`)."""
    clothes: Clothes = "varied"
    """`varied`: skins, clothes, backgrounds and lights by chance; `suits`: every part of the body has its own colour
    always, before grey, for networks that have minutes to learn in."""
    scene: staging.StagingOptions = staging.StagingOptions()
    """Shapes, cameras and the detector."""

    def __post_init__(self) -> None:
        if self.people < 1 or not 32 <= self.side <= 4096:
            raise ValueError(f"`people` must be at least 1 and `side` from 32 to 4096, got {self.people}, {self.side}")
        if self.poses not in get_args(PoseSource):
            raise ValueError(f"unknown `poses` {self.poses!r}; known: {', '.join(get_args(PoseSource))}")
        if self.keypoints not in get_args(KeypointSource):
            raise ValueError(f"unknown `keypoints` {self.keypoints!r}; known: {', '.join(get_args(KeypointSource))}")
        if self.clothes not in get_args(Clothes):
            raise ValueError(f"unknown `clothes` {self.clothes!r}; known: {', '.join(get_args(Clothes))}")
        if not 0 <= self.sampled_feet <= 1:
            raise ValueError(f"`sampled_feet` is a share and must be in [0, 1], got {self.sampled_feet}")
        if not 0 <= self.takes[0] < self.takes[1] <= 1:
            raise ValueError(f"`takes` must be two places in order within [0, 1], got {self.takes}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rendered:
    """What was made."""

    photos: pathlib.Path
    """Folder of pictures."""
    labels: pathlib.Path
    """File of their labels."""
    sheet: pathlib.Path
    """Some of the pictures."""
    poses: str
    """`mocap` or `written`."""


def render_training(
    options: RenderTrainingOptions,
    folder: pathlib.Path,
    *,
    mocap: pathlib.Path,
    cache: pathlib.Path,
    progress: Progress | None = None,
) -> Rendered:
    """Render people and write their labels; pictures that are there are not made again.

    Args:
        options: What.
        folder: For pictures and labels.
        mocap: Folder of motion capture; it may not exist.
        cache: Folder where poses are kept.
        progress: Told the stage, what is done, and of how much.

    Raises:
        RenderError: If motion capture is asked for and not there, or there is none of the takes.
        hardmo_jax.training.loop.TrainingError: If the folder holds other pictures.
    """
    report: Progress = progress or (lambda stage, done, total: None)
    body = load.open_body(view="smplh")
    has_mocap = mocap.is_dir() and options.poses != "written"
    if options.poses == "mocap" and not has_mocap:
        raise RenderError(f"{mocap} holds no motion capture; name its folder with --mocap, or take `poses` written")
    if not has_mocap and (options.takes != (0.0, 1.0) or options.sampled_feet):
        raise RenderError(
            "`takes` and `sampled_feet` are of motion capture, and poses are written ones"
            + (
                ""
                if options.poses == "written"
                else f", as {mocap} holds no motion capture; name its folder with --mocap"
            )
        )
    pool = training_poses.collect_poses(mocap, cache, progress=progress)[0] if has_mocap else None
    chosen = None if pool is None else _rows_of_takes(pool, options.takes)
    kind = "written" if pool is None else "mocap"
    (folder / PHOTOS).mkdir(parents=True, exist_ok=True)
    told = {**dataclasses.asdict(options), "poses": kind, "body": body.checksum}
    # Folders of before these options are of their defaults.
    usual = dataclasses.asdict(RenderTrainingOptions())
    for name in ("takes", "sampled_feet", "keypoints", "clothes"):
        if told[name] == usual[name]:
            del told[name]
    if options.sampled_feet:
        # Pictures with feet that were drawn in another way have other labels.
        told["feet"] = "the lower one can stand"
    check_same_run(folder / _IDENTITY, json.dumps(told, sort_keys=True))
    renderer, surface = raster.choose_renderer(), scenery.dressable_body(body)
    model, is_there = landmarks.point_model(body, layouts.get_layout(LAYOUT))
    rows: list[LabelRow] = []
    report("render", 0, options.people)
    for people, up in _people(options, body, pool, chosen):
        vertices = np.asarray(in_pieces(body, people.params).vertices, np.float64)
        points = np.asarray(in_pieces(model, people.params), np.float64)
        for number in range(len(people)):
            index = len(rows)
            rng = np.random.default_rng([options.seed, index])
            look, view = scenes.draw_look(rng), _view(people, number, options.side, rng)
            path = folder / PHOTOS / f"{index:06d}.jpg"
            if not path.is_file():
                if options.clothes == "suits":
                    picture = scenes.paint_suit(renderer, rng, surface, vertices[number], view)
                else:
                    picture = scenes.paint_person(renderer, look, surface, vertices[number], view, up=up[number])
                with replacing(path) as scratch:
                    scratch.write_bytes(photos.encode_jpeg(picture))
            pixels = view.focal_length * points[number, :, :2] / points[number, :, 2:] + view.principal_point
            seen = _detected(people, number, view) if options.keypoints == "detected" else _true(pixels, is_there, view)
            rows.append(_label(body, people, number, view, path, pixels[is_there], seen))
            report("render", len(rows), options.people)
    store.write_labels(folder / LABELS, label_rows.measured_again(rows, body))
    return Rendered(photos=folder / PHOTOS, labels=folder / LABELS, sheet=_sheet(folder, options.people), poses=kind)


def _people(
    options: RenderTrainingOptions, body: BodyModel, pool: PosePool | None, chosen: Int[np.ndarray, "M"] | None
) -> Iterator[tuple[HardSet, Float[np.ndarray, "N 3"]]]:
    """Staged people, some at a time, and which way is up before their cameras."""
    for first in range(0, options.people, _AT_ONCE):
        count, name = min(_AT_ONCE, options.people - first), f"rendered{first}"
        rng = staging.generator(options.seed, name)
        if pool is None or chosen is None:
            made = synthetic.sample_hard_poses(int(rng.integers(1 << 31)), count)
            motion = staging.Motion(
                full_pose=made.full_pose[:, None], pelvis=np.zeros((count, 1, 3)), styles=made.styles,
                takes=("written",) * count, groups=tuple(map(str, range(count))),
                frames=np.arange(first, first + count)[:, None], frames_per_second=30.0,
            )  # fmt: skip
        else:
            picked = rng.choice(chosen, count, replace=len(chosen) < count)
            motion = planted_labels.motion_of_pool(pool, picked, rng, sampled_feet=options.sampled_feet)
        yield staging.stage_upright(body, motion, options.scene, seed=options.seed, name=name)


def _rows_of_takes(pool: PosePool, takes: tuple[float, float]) -> Int[np.ndarray, "M"]:
    """Poses of the takes whose names lie between two places."""

    def place(take: int) -> float:
        name = f"{pool.styles[take]}/{pool.takes[take]}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32

    is_chosen = np.array([takes[0] <= place(take) < takes[1] for take in range(len(pool.takes))])
    found = np.flatnonzero(is_chosen[pool.take_of])
    if not len(found):
        raise RenderError(f"no take of the motion capture lies between {takes[0]:g} and {takes[1]:g}; widen `takes`")
    return found


def _view(people: HardSet, number: int, side: int, rng: np.random.Generator) -> View:
    """A square about a person, not quite in its middle, by the person's camera."""
    points = np.asarray(people.true_keypoints_2d[number], np.float64)
    low, high = points.min(0), points.max(0)
    size = float((high - low).max() * rng.uniform(*_MARGIN))
    middle = (low + high) / 2 + rng.uniform(-0.05, 0.05, 2) * size
    scale = side / size
    return View(
        focal_length=np.asarray(people.camera.focal_length[number]) * scale,
        principal_point=(np.asarray(people.camera.principal_point[number]) - middle + size / 2 + 0.5) * scale - 0.5,
        width=side,
        height=side,
    )


def _true(
    pixels: Float[np.ndarray, "K 2"], is_there: Bool[np.ndarray, "K"], view: View
) -> tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K"]]:
    """Keypoints of a label that are true; those that the body does not have are not there."""
    is_seen = is_there & np.all((pixels >= 0) & (pixels <= view.width - 1), axis=-1)
    return np.where(is_seen[:, None], pixels, 0.0), is_seen.astype(np.float32)


def _detected(people: HardSet, number: int, view: View) -> tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K"]]:
    """Keypoints of a label as a detector had them, in the view."""
    camera, theirs = people.camera, layouts.get_layout(people.layout).points
    places = np.array([theirs.index(point) if point in theirs else -1 for point in layouts.get_layout(LAYOUT).points])
    seen = np.asarray(people.keypoints_2d[number], np.float64)[places]
    rays = (seen - np.asarray(camera.principal_point[number])) / np.asarray(camera.focal_length[number])
    pixels = view.focal_length * rays + view.principal_point
    is_seen = (places >= 0) & np.all((pixels >= 0) & (pixels <= view.width - 1), axis=-1)
    confidence = np.where(is_seen, np.clip(np.asarray(people.confidence[number])[places], 0, 1), 0.0)
    return np.where(confidence[:, None] > 0, pixels, 0.0), confidence.astype(np.float32)


def _label(
    body: BodyModel,
    people: HardSet,
    number: int,
    view: View,
    path: pathlib.Path,
    corners: Float[np.ndarray, "M 2"],
    seen: tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K"]],
) -> LabelRow:
    """The label of a person whose true points are at `corners`, with the keypoints that were seen."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[number], people.params)
    return LabelRow(
        source_path=path.name,
        source_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        frame_index=0,
        image_width=view.width,
        image_height=view.height,
        bbox=np.concatenate([corners.min(0), corners.max(0)]),
        track_id=0,
        category=people.styles[number],
        keypoint_source="rendered",
        keypoints_2d=seen[0],
        keypoint_confidence=seen[1],
        body_model=label_rows.name_of_body(body),
        body_model_sha256=body.checksum,
        **label_rows.pose_columns(params),
        focal_length=view.focal_length.astype(np.float32),
        principal_point=view.principal_point.astype(np.float32),
        camera_source="given",
        status="CONVERGED",
        error_by_part={},
    )


def _sheet(folder: pathlib.Path, count: int) -> pathlib.Path:
    """Some pictures side by side."""
    rows = np.linspace(0, count - 1, min(count, _SHOWN)).round().astype(int)
    pictures = [
        photos.decode_photo(path.read_bytes(), path, video.MAX_PIXELS)
        for path in (folder / PHOTOS / f"{row:06d}.jpg" for row in rows)
    ]
    path = folder / SHEET
    with replacing(path) as scratch:
        scratch.write_bytes(photos.encode_jpeg(scenes.contact_sheet(pictures, _COLUMNS), quality=88))
    return path
