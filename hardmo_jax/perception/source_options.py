"""Which source of people and keypoints is asked, how thoroughly it looks, and what is believed."""

import dataclasses
import pathlib
from typing import Literal, get_args

from hardmo_jax.perception import keypoints_hand
from hardmo_jax.perception.fuse import FusionOptions

Detector = Literal["auto", "blazepose", "yolo", "onnx", "files"]
PartDetector = Literal["same", "auto", "blazepose", "yolo", "onnx", "files"]
KeypointMaker = Literal["auto", "blazepose", "onnx", "detector", "files"]
TrackerName = Literal["overlap", "bytetrack", "botsort"]
Heatmaps = Literal["udp", "msra"]
TURN_CHOICES = ("never", "when_empty", "always")
#: Looks at a person from nearby crops, at most.
MOST_EXTRA_LOOKS = 4
_EXAMPLE = "--config.perception.detector=onnx --config.perception.detector_file=rtmdet.onnx"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """A source: who finds people, and who measures their keypoints."""

    detector: PartDetector = "auto"
    """Who finds people. `blazepose`: the packaged one. `yolo`: ultralytics weights (`.pt`, extra `yolo`). `onnx`:
    RTMDet, YOLOX or YOLO in an ONNX file. `files`: what another program measured. `auto`: by the suffix of
    `detector_file`; without one YOLO if its weights are in the model folder and ultralytics is installed, else
    BlazePose."""
    detector_file: str | None = None
    """Weights of `yolo`: a path, or the name of a file in the model folder. Of `onnx`: a path."""
    keypoints: KeypointMaker = "auto"
    """Who measures keypoints in the boxes. `blazepose`: body, feet and hands. `onnx`: a top-down model. `detector`: the
    detector itself, if it is a YOLO-pose. `auto`: by `keypoints_file`, else BlazePose."""
    keypoints_file: str | None = None
    """A top-down model (RTMPose, RTMW, DWPose, ViTPose: `.onnx`). Of `files`: a JSON file, or a folder of them."""
    keypoints_layout: str | None = None
    """Of its points: the name of a layout, or names of points with commas between; None goes by their number."""
    keypoints_first_frame: int | None = None
    """Number that `files` give the first frame of a video; None tells by the files."""
    heatmaps: Heatmaps = "udp"
    """How a model of heatmaps was trained: `udp` (ViTPose, newer HRNet) or `msra` (older HRNet)."""
    allow_download: bool = False
    """Whether ultralytics may fetch weights that are missing. Nothing else is ever fetched."""

    def __post_init__(self) -> None:
        if self.detector not in get_args(PartDetector):
            raise ValueError(f"`detector` must be one of {', '.join(get_args(Detector))}, got {self.detector!r}")
        if self.keypoints not in get_args(KeypointMaker):
            raise ValueError(f"`keypoints` must be one of {', '.join(get_args(KeypointMaker))}, got {self.keypoints!r}")
        if self.detector == "onnx" and self.detector_file is None:
            raise ValueError(f"the detector `onnx` needs a `detector_file`, as in {_EXAMPLE}")
        if self.detector in ("blazepose", "files") and self.detector_file is not None:
            raise ValueError(f"`detector_file` is for the detectors `onnx` and `yolo`, and not for {self.detector!r}")
        if self.detector in ("auto", "same") and self.detector_file is not None and self.suffix_of_detector is None:
            raise ValueError(
                f"`detector_file` must end in .onnx or .pt, got {self.detector_file!r}; else say `detector`, too"
            )
        if self.detector == "files" and self.keypoints_file is None:
            raise ValueError(
                "the detector `files` needs a `keypoints_file`: a JSON file or a folder, as in "
                "--config.perception.detector=files --config.perception.keypoints_file=openpose_json"
            )
        if self.detector == "files" and self.keypoints not in ("auto", "files"):
            raise ValueError(f"the detector `files` brings keypoints, and none by {self.keypoints!r} are measured then")
        if self.keypoints in ("blazepose", "detector") and self.keypoints_file is not None:
            raise ValueError(f"keypoints by {self.keypoints!r} have no `keypoints_file`; leave one of the two out")
        if (
            self.keypoints_file is not None
            and self.keypoints_file.lower().endswith(".json")
            and self.detector != "files"
        ):
            raise ValueError(
                f"{self.keypoints_file} holds keypoints that were measured already: say "
                "--config.perception.detector=files"
            )
        if self.keypoints_layout is not None and self.keypoints_file is None and not self._may_lack_file:
            raise ValueError("`keypoints_layout` is that of a `keypoints_file`, which is not given")
        if self.heatmaps not in get_args(Heatmaps):
            raise ValueError(f"`heatmaps` must be one of {', '.join(get_args(Heatmaps))}, got {self.heatmaps!r}")
        if self.allow_download and self.detector not in ("yolo", "auto"):
            raise ValueError(f"`allow_download` is for weights of the detector `yolo`, and not for {self.detector!r}")
        if (self.keypoints == "files") and self.detector != "files":
            raise ValueError("keypoints of `files` come with their people: say --config.perception.detector=files")
        if self.keypoints == "onnx" and self.keypoints_file is None:
            raise ValueError(
                "keypoints by `onnx` need a `keypoints_file`, as in --config.perception.keypoints_file=a.onnx"
            )

    @property
    def _may_lack_file(self) -> bool:
        """Whether keypoints may come from a file that is the input itself."""
        return True

    @property
    def suffix_of_detector(self) -> Literal["onnx", "yolo"] | None:
        """What the name of `detector_file` says that it is."""
        suffix = pathlib.Path(self.detector_file or "").suffix.lower()
        return {".onnx": "onnx", ".pt": "yolo"}.get(suffix)  # pyright: ignore[reportReturnType]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartSourceOptions(SourceOptions):
    """A source of feet or hands."""

    detector: PartDetector = "same"
    """As in `SourceOptions`; `same`: the people who were found already. Feet or hands come with the body then, or from
    the model `keypoints_file` in the same boxes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.detector == "same" and self.detector_file is None and self.keypoints not in ("auto", "onnx"):
            raise ValueError(
                f"keypoints by {self.keypoints!r} need a `detector` of their own here, as in "
                "--config.perception.hands_from.detector=blazepose"
            )

    @property
    def _may_lack_file(self) -> bool:
        return False

    @property
    def is_asked(self) -> bool:
        """Whether feet or hands come from elsewhere than the body."""
        return self.detector != "same" or self.detector_file is not None or self.keypoints_file is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerceptionOptions(SourceOptions):
    """Who is asked, how thoroughly pictures are looked at, and what is believed."""

    feet_from: PartSourceOptions = PartSourceOptions()
    """Another source whose feet are taken."""
    hands_from: PartSourceOptions = PartSourceOptions()
    """Another source whose hands are taken."""
    fusion: FusionOptions = FusionOptions()
    """When these are believed."""
    calibration: str | None = None
    """File of what confidences of sources are worth, by `tools.calibrate`. Without one the source that is named for a
    part gives it wherever it saw enough."""
    tracker: TrackerName = "overlap"
    """Who follows people from frame to frame: our own by boxes and keypoints, or those of ultralytics."""
    tiles: tuple[float, ...] = (1.35, 2.0, 2.5)
    """Scales of the search beside the whole picture: squares that side by side fill its longer side. A detector of
    boxes looks at the whole picture alone."""
    tile_overlap: float = 0.4
    """Least part of a square that its neighbour covers too."""
    overhang: float = 0.45
    """Part of a square by which the outer ones reach over the edge of the picture."""
    turned: str = "when_empty"
    """Whether BlazePose searches the picture turned by 90, 180 and 270 degrees, too (people upside down)."""
    min_detector_score: float = 0.3
    """Score of the packaged detector below which a find is not looked at."""
    min_box_score: float = 0.25
    """The same of detectors of boxes: what YOLO takes, and with it RTMDet-nano finds all annotated people of the photos
    of docs/perception.md. The model of keypoints has the last word."""
    min_score: float = 0.35
    """Score below which BlazePose drops a person. Boxes have `min_box_score`, and files no say in it."""
    min_confident_points: int = 4
    """Body points of confidence 0.5 below which a person is dropped."""
    max_people: int = 32
    """People a picture; the best are kept. All of files are."""
    extra_looks: int = 2
    """Looks at a person beyond the plain and the mirrored one: steadier points and honester confidence for one
    more run of the model each. Of a top-down model: whether it looks at the mirrored crop, too."""
    hands: bool = True
    """Look for the fingers."""
    hand: keypoints_hand.HandOptions = dataclasses.field(default_factory=keypoints_hand.HandOptions)
    """When a hand is believed."""
    detect_every: int = 10
    """In video, frames between two searches; in between people are followed."""
    num_threads: int = 2
    """Threads of one model run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.detector == "same":
            raise ValueError(f"`detector` must be one of {', '.join(get_args(Detector))}, got 'same'")
        if self.calibration is not None and not (self.feet_from.is_asked or self.hands_from.is_asked):
            raise ValueError(
                "`calibration` says which source is better at feet or hands: name another one by `feet_from` or "
                "`hands_from`"
            )
        if self.turned not in TURN_CHOICES:
            raise ValueError(f"`turned` must be one of {', '.join(TURN_CHOICES)}, got {self.turned!r}")
        if self.tracker not in get_args(TrackerName):
            raise ValueError(f"`tracker` must be one of {', '.join(get_args(TrackerName))}, got {self.tracker!r}")
        if any(not 1 <= tiles <= 16 for tiles in self.tiles):
            raise ValueError(f"`tiles` must hold numbers from 1 to 16, got {self.tiles}")
        if not 0 <= self.tile_overlap <= 0.9:
            raise ValueError(f"`tile_overlap` must be in [0, 0.9], got {self.tile_overlap}")
        if not 0 <= self.extra_looks <= MOST_EXTRA_LOOKS:
            raise ValueError(f"`extra_looks` must be in [0, {MOST_EXTRA_LOOKS}], got {self.extra_looks}")
        if not 0 <= self.overhang <= 0.45:
            raise ValueError(f"`overhang` must be in [0, 0.45], got {self.overhang}")
        for name in ("max_people", "detect_every", "num_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
