"""The tracks suite: whether people keep their numbers from file to track, and whether anybody is followed across a cut.

People of the open body walk past each other and behind a pillar; who they are is known. The clips are encoded as video
files and labelled by the packaged detector with `tools.annotate`; scored are the numbers of sightings, as the detector
and the tracker leave them, and those of labels, which are there too for frames of which a body is known from the frames
around. A person of whom less than half is to be seen is asked of nobody, and costs nothing if told. Cuts are those of
clips that are spliced from these and from real ones.
"""

import dataclasses
import itertools
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_VIDEOS = pathlib.Path(os.environ.get("HARDMO_DATA", _ROOT.parent / "shared" / "data")) / "media" / "videos"
_PEOPLE, _FRAMES = (1, 2, 3, 4, 5), 125
#: None of which anything was chosen on: those were 0 and 1.
_SEEDS = (10,)
#: Dancers bend backwards, kneel and do splits while they pass.
_DANCERS = (1, 3)
#: Width of the pillar, metres: whoever passes it is half hidden or more for about a second.
_PILLAR = 0.65
#: Somebody is to be seen from this share on.
_VISIBLE = 0.5
#: A sighting is of somebody whose box overlaps with its own by this much, as the measure has it.
_LEAST_OVERLAP = 0.5
_FPS = 25
#: Frames of a piece of a spliced clip, and the size of its pictures.
_PIECE, _WIDE, _HIGH = 14, 640, 360


def plan() -> list[dict[str, Any]]:
    """A cell for every number of people, with and without the pillar, and one for cuts."""
    cells: list[dict[str, Any]] = [
        {"measure": "identity", "motion": motion, "people": count, "pillar": pillar, "all_cores": True}
        for motion, pillar, counts in (("walk", False, _PEOPLE), ("walk", True, _PEOPLE), ("dance", False, _DANCERS))
        for count in counts
    ]
    return [*cells, {"measure": "cuts", "all_cores": True}]


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Measure one cell."""
    del models
    with tempfile.TemporaryDirectory() as folder:
        if cell["measure"] == "cuts":
            return _cuts(pathlib.Path(folder))
        pillar = _PILLAR if cell["pillar"] else 0.0
        return _identity(cell["people"], cell["motion"], pillar, pathlib.Path(folder))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Followed:
    """What became of the people of one clip."""

    matches: list[list[tuple[int, int]]]
    """By frame, pairs of a person who is to be seen and the number that they were given."""
    num_true: int
    """Sightings that were to be made."""
    num_told: int
    """Sightings that were made, less those of people who are hidden."""
    num_switches: int
    """How often the number of somebody is another one than at their last sighting."""
    longest_hidden: int
    """Frames, between two in which they are to be seen."""


def follow_crossing(
    num_people: int,
    seed: int,
    num_frames: int,
    folder: pathlib.Path,
    *,
    motion: Literal["walk", "dance"] = "walk",
    pillar: float = 0.0,
    shrink: int = 1,
    with_labels: bool = False,
) -> dict[str, Followed]:
    """Render people who cross, write them as a video, look at it, and compare who is told with who is there.

    Args:
        num_people: How many.
        seed: Of their looks, ways and motion.
        num_frames: Of 25 a second.
        folder: Gets the video.
        motion: How they move while they pass.
        pillar: Its width, metres; 0 for none.
        shrink: Pictures are smaller by this factor.
        with_labels: Label the clip too, which takes longer.

    Returns:
        `sightings`, and `labels` where they are wanted.
    """
    import cv2

    from hardmo_jax.body import load
    from hardmo_jax.pipelines import rendered_people

    body = load.open_body(view="smplh")
    frames = list(
        rendered_people.crossing_people(body, seed, num_people, num_frames, motion=motion, pillar_width=pillar)
    )
    size = tuple(side // shrink // 2 * 2 for side in frames[0].frame.image.shape[1::-1])
    images = [cv2.resize(one.frame.image, size, interpolation=cv2.INTER_AREA) for one in frames]
    path = write_video(folder / f"crossing_{num_people}_{seed}.mp4", images)
    told = {"sightings": [frame.people for frame in _looked_at(path)]}
    if with_labels:
        told["labels"] = _labelled(path, folder / f"labels_{num_people}_{seed}", num_frames)
    is_visible = np.stack([one.visible_share >= _VISIBLE for one in frames])
    true_points = [[one.keypoints_2d / shrink for one in frame.people] for frame in frames]
    return {name: _followed(true_points, is_visible, own) for name, own in told.items()}


def _followed(
    true_points: Sequence[Sequence[np.ndarray]], is_visible: np.ndarray, told: Sequence[Sequence[Any]]
) -> Followed:
    matches, num_told = [], 0
    for points, visible, people in zip(true_points, is_visible, told, strict=True):
        pairs = _pairs(points, people)
        hidden = [pair for pair in pairs if not visible[pair[0]]]
        matches.append([(person, people[place].track_id) for person, place in pairs if visible[person]])
        num_told += len(people) - len(hidden)
    return Followed(
        matches=matches,
        num_true=int(is_visible.sum()),
        num_told=num_told,
        num_switches=_switches(matches),
        longest_hidden=max(_longest_gap(column) for column in is_visible.T),
    )


def _identity(
    num_people: int, motion: Literal["walk", "dance"], pillar: float, folder: pathlib.Path
) -> list[dict[str, object]]:
    clips = [
        follow_crossing(num_people, seed, _FRAMES, folder, motion=motion, pillar=pillar, with_labels=True)
        for seed in _SEEDS
    ]
    told = {"measure": "identity", "motion": motion, "people": num_people, "behind_a_pillar": pillar > 0}
    return [{**told, "of": of, **_scored([clip[of] for clip in clips])} for of in clips[0]]


def _scored(clips: Sequence[Followed]) -> dict[str, object]:
    from hardmo_jax.metrics.identity import identity_score

    scores = [identity_score(clip.matches, clip.num_true, clip.num_told) for clip in clips]
    true, told, right = (sum(getattr(one, name) for one in scores) for name in ("num_true", "num_told", "num_right"))
    matched = sum(len(frame) for clip in clips for frame in clip.matches)
    return {
        "clips": len(clips), "frames": _FRAMES,
        "idf1": 2 * right / (true + told), "least_idf1": min(one.idf1 for one in scores),
        "idf1_if_numbers_were_kept": 2 * matched / (true + told),
        "switches": sum(clip.num_switches for clip in clips), "sightings": true,
        "missed": true - matched, "false": told - matched,
        "longest_hidden_seconds": max(clip.longest_hidden for clip in clips) / _FPS,
    }  # fmt: skip


def _labelled(path: pathlib.Path, output: pathlib.Path, num_frames: int) -> list[list[Any]]:
    """Labels by frame; where nobody was seen, the points of the body that was filled in are those of the sighting."""
    from hardmo_jax.body import landmarks, load
    from hardmo_jax.body.pieces import project_in_pieces
    from hardmo_jax.labels import store
    from hardmo_jax.pipelines.label_rows import observations_of_labels, params_of_labels
    from hardmo_jax.skeleton import layouts
    from tools.benchmarks.video import run_annotate

    changes = ("--config.output.overlay=False", "--config.output.part_scores=False", "--config.perception.hands=False")
    run_annotate(path, output, *changes)
    rows = [row for row in store.read_labels(output / "labels.parquet").rows if row.is_usable]
    body = load.open_body(view="smplh")
    model, is_supported = landmarks.point_model(body, layouts.get_layout(rows[0].keypoint_layout))
    _, pixels = project_in_pieces(model, observations_of_labels(rows).camera, params_of_labels(rows, body))
    frames: list[list[Any]] = [[] for _ in range(num_frames)]
    for row, points in zip(rows, pixels, strict=True):
        is_seen = bool((row.keypoint_confidence > 0).any())
        confidence = row.keypoint_confidence if is_seen else is_supported.astype(np.float32)
        told = _Told(
            keypoints_2d=row.keypoints_2d if is_seen else np.nan_to_num(points),
            confidence=confidence,
            track_id=row.track_id,
        )
        frames[row.frame_index].append(told)
    return frames


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Told:
    """Where a label says that somebody is."""

    keypoints_2d: np.ndarray
    confidence: np.ndarray
    track_id: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Seen:
    """A frame, and the people of it whose tracks last."""

    starts_shot: bool
    people: list[Any]


def _looked_at(path: pathlib.Path) -> list[_Seen]:
    """What annotate sees of a video before it fits anything; fingers are left out."""
    from hardmo_jax.perception import load_source, model_files, shots, track, video
    from hardmo_jax.perception.source_options import PerceptionOptions

    options = PerceptionOptions(detector="blazepose", hands=False)
    source = load_source.load_source(model_files.default_model_folder(), options)
    starts: list[bool] = []

    def noted() -> Iterator[video.Frame]:
        for frame in shots.with_shots(video.open_media(path).frames()):
            starts.append(frame.starts_shot)
            yield frame

    frames = list(source.people_of(noted(), is_video=True))
    confidences: dict[int, list[np.ndarray]] = {}
    for person in itertools.chain.from_iterable(frames):
        confidences.setdefault(person.track_id or 0, []).append(person.confidence)
    kept = track.lasting_tracks(confidences, len(frames))
    return [
        _Seen(starts_shot=start, people=[one for one in people if one.track_id in kept])
        for start, people in zip(starts, frames, strict=True)
    ]


def _pairs(people: Sequence[np.ndarray], told: Sequence[Any]) -> list[tuple[int, int]]:
    """Who is whom, by the overlap of boxes round the points that the sighting trusts."""
    from scipy import optimize

    from hardmo_jax.perception import anchors

    overlaps = np.zeros((len(people), len(told)))
    for place, sighting in enumerate(told):
        trusted = sighting.confidence >= 0.3
        if not trusted.any():
            continue
        own, *others = (
            np.concatenate([points[trusted].min(0), points[trusted].max(0)])
            for points in (sighting.keypoints_2d, *people)
        )
        overlaps[:, place] = anchors.box_iou(own, np.stack(others))
    rows, columns = optimize.linear_sum_assignment(-overlaps)
    return [
        (int(row), int(column))
        for row, column in zip(rows, columns, strict=True)
        if overlaps[row, column] >= _LEAST_OVERLAP
    ]


def _switches(matches: Sequence[Sequence[tuple[int, int]]]) -> int:
    last: dict[int, int] = {}
    switches = 0
    for person, number in itertools.chain.from_iterable(matches):
        switches += last.get(person, number) != number
        last[person] = number
    return switches


def _longest_gap(is_visible: np.ndarray) -> int:
    """Longest run of frames out of sight that begins and ends within the clip."""
    seen = np.flatnonzero(is_visible)
    return int(np.diff(seen).max(initial=1)) - 1


# ---- cuts ------------------------------------------------------------------------------------------------------


def _cuts(folder: pathlib.Path) -> list[dict[str, object]]:
    """Cuts found, cuts that are none, and tracks that go across a cut, by what is spliced."""
    rows: list[dict[str, object]] = []
    for name, pieces in spliced_clips().items():
        path = write_video(folder / f"{len(rows)}.mp4", [image for piece in pieces for image in piece])
        begun = time.perf_counter()
        frames = _looked_at(path)
        seconds = time.perf_counter() - begun
        true = np.cumsum([len(piece) for piece in pieces])[:-1].tolist()
        found = [number for number, frame in enumerate(frames) if frame.starts_shot]
        shots: dict[int, set[int]] = {}
        for number, frame in enumerate(frames):
            for person in frame.people:
                shots.setdefault(int(person.track_id), set()).add(int(np.searchsorted(true, number, side="right")))
        rows.append(
            {
                "measure": "cuts", "of": name, "frames": len(frames), "cuts": len(true),
                "found_percent": 100 * len(set(true) & set(found)) / len(true) if true else 100.0,
                "false": len(set(found) - set(true)), "tracks": len(shots),
                "tracks_across_a_cut": sum(len(own) > 1 for own in shots.values()),
                "frames_a_second": len(frames) / seconds,
            }
        )  # fmt: skip
    return rows


def spliced_clips() -> dict[str, list[list[UInt8[np.ndarray, "H W 3"]]]]:
    """Pieces of which clips are put together, by what they are of; the last ones hold no cut at all."""
    from hardmo_jax.body import load
    from hardmo_jax.perception import video
    from hardmo_jax.pipelines import demo_clip, rendered_people

    body = load.open_body(view="smplh")
    count = 4 * _PIECE
    rendered = [
        [_fitted(one.frame.image) for one in rendered_people.crossing_people(body, 100 + seed, 2, count)]
        for seed in range(4)
    ]
    demo = [_fitted(frame.image) for frame in video.open_media(demo_clip.ASSETS / demo_clip.CLIP).frames()]
    # The demo has a cut of its own.
    real = [demo[: demo_clip.CUT], demo[demo_clip.CUT :]]
    if _VIDEOS.is_dir():
        # At a few frames a second, for the last of them, every step is a jump: that is no video of motion.
        names = ("mmhuman3d_single_person_demo.mp4", "mmhuman3d_multi_person_demo.mp4")
        real += [[_fitted(frame.image) for frame in video.open_media(_VIDEOS / name).frames()] for name in names]
    heads = [clip[:_PIECE] for clip in rendered]
    mixed = [piece for pair in zip([clip[:_PIECE] for clip in real], heads, strict=False) for piece in pair]
    return {
        "rendered and real ones": mixed,
        "other people in the same room": heads,
        "the same people two seconds later": [rendered[0][:_PIECE], rendered[0][-_PIECE:]],
        "there and back": [rendered[1][:_PIECE], rendered[2][:_PIECE], rendered[1][_PIECE : 2 * _PIECE]],
        "the same shot nearer": [rendered[3][:_PIECE], [_nearer(image) for image in rendered[3][_PIECE : 2 * _PIECE]]],
        "short shots": [clip[at : at + 6] for at in (0, 6, 12) for clip in (real[0], rendered[0], rendered[1])],
        **{f"no cut {number}": [clip] for number, clip in enumerate((*rendered[:2], *real))},
    }


def _fitted(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """In a picture of the size of all clips, with bars beside it."""
    import cv2

    scale = min(_WIDE / image.shape[1], _HIGH / image.shape[0])
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    whole = np.zeros((_HIGH, _WIDE, 3), np.uint8)
    x, y = (_WIDE - size[0]) // 2, (_HIGH - size[1]) // 2
    whole[y : y + size[1], x : x + size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return whole


def _nearer(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The middle of a picture, half as large again."""
    import cv2

    return cv2.resize(image[_HIGH // 6 : -_HIGH // 6, _WIDE // 6 : -_WIDE // 6], (_WIDE, _HIGH))


def write_video(path: pathlib.Path, images: Sequence[UInt8[np.ndarray, "H W 3"]]) -> pathlib.Path:
    """Write pictures as H.264 of usual quality."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "20", "preset": "veryfast"}
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path
