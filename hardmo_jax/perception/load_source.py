"""From options to who finds people: detectors, keypoint models, files of keypoints, and their fusion."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Literal

from hardmo_jax.perception import calibration, keypoints_hand, model_files, yolo_weights
from hardmo_jax.perception import track as tracking
from hardmo_jax.perception.detect_onnx import OnnxPersonDetector
from hardmo_jax.perception.estimate import Estimator
from hardmo_jax.perception.estimate_top_down import TopDownEstimator
from hardmo_jax.perception.fused_source import FusedSource, OtherPeople, PartKind, PartSource, SamePeople
from hardmo_jax.perception.keypoints_from_files import FilePeople, layout_choice
from hardmo_jax.perception.keypoints_onnx import OnnxKeypointModel
from hardmo_jax.perception.people import PeopleSource, PixelSource
from hardmo_jax.perception.person_boxes import BoxDetector, PersonBox
from hardmo_jax.perception.source_options import PartSourceOptions, PerceptionOptions, SourceOptions

#: Frames a second that trackers of ultralytics count with; they only turn seconds into frames.
_FRAMES_PER_SECOND = 30.0
Known = Literal["blazepose", "yolo", "onnx", "files"]


class SourceError(ValueError):
    """Options that name no source that can be put together; the message says which would."""


def load_source(
    folder: str | os.PathLike[str], options: PerceptionOptions | None = None, *, bodies: PeopleSource | None = None
) -> PeopleSource:
    """Load the source of people and keypoints that options ask for.

    Args:
        folder: Folder of the packaged model files; `model_files.default_model_folder()` is where
            `python -m tools.fetch_models` puts them.
        options: Who looks, and how thoroughly.
        bodies: Takes the place of the source that the options name for bodies.

    Raises:
        FileNotFoundError: If a model file, weights or a file of keypoints is missing.
        ImportError: If a package that the source needs is not installed.
        hardmo_jax.perception.onnx_model.OnnxModelError: If an ONNX file is no model of its kind.
        hardmo_jax.torch_file.TorchFileError: If weights are none, or not safe to read.
        hardmo_jax.perception.keypoint_files.KeypointFileError: If a file of keypoints is none.
        SourceError: If detector and keypoints do not go together.
    """
    options = options or PerceptionOptions()
    bodies = bodies or _one_source(folder, options, options)
    wanted: dict[PartKind, PartSourceOptions] = {"foot": options.feet_from, "hand": options.hands_from}
    parts: dict[PartKind, PartSource] = {
        kind: _part_source(folder, part, options) for kind, part in wanted.items() if part.is_asked
    }
    if not parts:
        return bodies
    known = {} if options.calibration is None else calibration.read_calibrations(options.calibration)
    for kind, part in parts.items() if known else ():
        lacking = [one for one in (bodies.source, part.source) if kind not in calibration.known_of(known, one)]
        # Files are named by what they hold, which shows when they are read.
        if lacking and not any(one.startswith("file:") for one in lacking):
            raise SourceError(
                f"{options.calibration}: says nothing of {'feet' if kind == 'foot' else 'hands'} by "
                f"{' and '.join(dict.fromkeys(lacking))}; it knows "
                f"{'; '.join(f'{name} ({chr(44).join(kinds)})' for name, kinds in known.items())}; measure with "
                "`python -m tools.calibrate` on pictures in which more of them are known"
            )
    return FusedSource(bodies, parts, options=options.fusion, calibrations=known)


def own_files(
    options: PerceptionOptions, folder: str | os.PathLike[str], *, with_bodies: bool = True
) -> tuple[pathlib.Path, ...]:
    """Files of the user's that the sources of options rest on.

    Args:
        options: Of all sources.
        folder: Of the model files, where weights may lie.
        with_bodies: Whether the source of bodies is one of them, and not given otherwise.
    """
    found: dict[pathlib.Path, None] = {}
    for asked in (*([options] if with_bodies else []), options.feet_from, options.hands_from):
        if asked.keypoints_file is not None:
            found[pathlib.Path(asked.keypoints_file)] = None
        finds_people = asked.detector != "same" or asked.detector_file is not None
        if finds_people and detector_of(asked, folder) == "yolo":
            found[yolo_weights.find_weights(_name_of_weights(asked, folder), folder)] = None
        elif asked.detector_file is not None:
            found[pathlib.Path(asked.detector_file)] = None
    if options.calibration is not None:
        found[pathlib.Path(options.calibration)] = None
    return tuple(path for path in found if path.is_file())


def load_estimator(folder: str | os.PathLike[str], options: PerceptionOptions | None = None) -> PixelSource:
    """Load a source that looks at pixels alone, to call with pictures; see `load_source`.

    Raises:
        SourceError: If the options ask for files of keypoints or for parts of other sources, and as `load_source`.
    """
    found = load_source(folder, options)
    if not isinstance(found, PixelSource):
        raise SourceError("one picture alone is looked at by a detector; files and fusion want `load_source`")
    return found


def detector_of(
    options: SourceOptions, folder: str | os.PathLike[str]
) -> Literal["blazepose", "yolo", "onnx", "files"]:
    """Who `auto` is."""
    if options.detector not in ("auto", "same"):
        return options.detector  # pyright: ignore[reportReturnType]
    if options.suffix_of_detector is not None:
        return options.suffix_of_detector
    return "blazepose" if yolo_weights.installed_weights(folder) is None else "yolo"


def _one_source(folder: str | os.PathLike[str], asked: SourceOptions, options: PerceptionOptions) -> PeopleSource:
    """A source that finds people by itself.

    Args:
        folder: Of the model files.
        asked: Which source.
        options: How thoroughly it looks.
    """
    make_tracker = _tracker_maker(options)
    detector = detector_of(asked, folder)
    if detector == "files":
        return FilePeople(
            asked.keypoints_file or "",
            layout=layout_choice(asked.keypoints_layout),
            first_frame=asked.keypoints_first_frame,
            make_tracker=make_tracker,
        )
    boxes = _boxes(folder, detector, asked, options)
    wants = asked.keypoints
    if wants == "auto":
        wants = "blazepose" if asked.keypoints_file is None else "onnx"
    if wants == "blazepose":
        name = None if boxes is None else _name_of_boxes(folder, detector, asked)
        return Estimator(folder, options, boxes=boxes, boxes_name=name, make_tracker=make_tracker)
    if wants == "detector":
        if boxes is None or not boxes.gives_points:
            raise SourceError(
                "keypoints of the detector itself need a YOLO-pose, as in --config.perception.detector=yolo "
                "--config.perception.detector_file=yolo11m-pose.pt"
            )
        name = f"{detector}:{_name_of_boxes(folder, detector, asked)}"
        return TopDownEstimator(
            boxes, None, options, name=name, hands=_hands(folder, options), make_tracker=make_tracker
        )
    model = _keypoint_model(asked, options)
    return TopDownEstimator(
        boxes or _BlazePoseBoxes(folder, options),
        model,
        options,
        name=f"onnx:{model.name}",
        hands=_hands(folder, options),
        make_tracker=make_tracker,
    )


def _part_source(folder: str | os.PathLike[str], asked: PartSourceOptions, options: PerceptionOptions) -> PartSource:
    if asked.detector == "same" and asked.detector_file is None:
        if asked.keypoints_file is None:
            raise SourceError(
                "feet or hands from another source in the same boxes need a model, as in "
                "--config.perception.feet_from.keypoints_file=dwpose.onnx"
            )
        return SamePeople(_keypoint_model(asked, options))
    return OtherPeople(_one_source(folder, asked, options))


def _boxes(
    folder: str | os.PathLike[str], detector: str, asked: SourceOptions, options: PerceptionOptions
) -> BoxDetector | None:
    """A detector of boxes; None for the packaged one, which is no detector of boxes."""
    if detector == "onnx":
        return OnnxPersonDetector(asked.detector_file or "", num_threads=options.num_threads)
    if detector == "yolo":
        from hardmo_jax.perception.detect_ultralytics import UltralyticsDetector

        name = _name_of_weights(asked, folder)
        weights = yolo_weights.find_weights(name, folder, allow_download=asked.allow_download)
        return UltralyticsDetector(weights, num_threads=options.num_threads)
    return None


def _name_of_weights(asked: SourceOptions, folder: str | os.PathLike[str]) -> str | os.PathLike[str]:
    return asked.detector_file or yolo_weights.installed_weights(folder) or "yolo11m.pt"


def _name_of_boxes(folder: str | os.PathLike[str], detector: str, asked: SourceOptions) -> str:
    return pathlib.Path((_name_of_weights(asked, folder) if detector == "yolo" else asked.detector_file) or "").name


def _keypoint_model(asked: SourceOptions, options: PerceptionOptions) -> OnnxKeypointModel:
    return OnnxKeypointModel(
        asked.keypoints_file or "",
        layout=asked.keypoints_layout,
        heatmaps=asked.heatmaps,
        mirrored_too=options.extra_looks > 0,
        num_threads=options.num_threads,
    )


def _hands(folder: str | os.PathLike[str], options: PerceptionOptions) -> keypoints_hand.HandLandmarker | None:
    """The packaged model for hands, if it is wanted and there: bodies of another model do without it."""
    needed = {"palm_detection_full", "hand_landmark_full"}
    if not options.hands or needed & set(model_files.missing_models(folder)):
        return None
    return keypoints_hand.HandLandmarker(folder, num_threads=options.num_threads)


def _tracker_maker(options: PerceptionOptions) -> Callable[[], tracking.PeopleTracker]:
    if options.tracker == "overlap":
        return tracking.Tracker
    from hardmo_jax.perception.track_ultralytics import UltralyticsTracker

    # One is made here, so that a package that is missing is told before any work.
    UltralyticsTracker(options.tracker, _FRAMES_PER_SECOND)
    return functools.partial(UltralyticsTracker, options.tracker, _FRAMES_PER_SECOND)


class _BlazePoseBoxes:
    """The packaged estimator as a detector of boxes."""

    def __init__(self, folder: str | os.PathLike[str], options: PerceptionOptions) -> None:
        self._estimator = Estimator(folder, options, with_hands=False)

    @property
    def gives_points(self) -> bool:
        """None as a detector."""
        return False

    def __call__(self, image, *, min_score: float) -> list[PersonBox]:
        """See `BoxDetector`."""
        return [PersonBox(bbox=person.detector_bbox, score=person.score or 0.0) for person in self._estimator(image)]
