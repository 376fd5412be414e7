"""Options of the Normal Annotation stage, and the body that they name."""

import dataclasses
from typing import Literal

from hardmo_jax.body import load
from hardmo_jax.body.array_files import BodyFileError
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.perception.frame_choice import FrameChoice
from hardmo_jax.perception.quality import QualityOptions
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines.annotate_cameras import CameraOptions
from hardmo_jax.pipelines.annotate_drawing import OutputOptions
from hardmo_jax.pipelines.annotate_tracks import VideoFitOptions
from hardmo_jax.pipelines.regress_people import InitialiseOptions
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER, check_stages
from hardmo_jax.recovery.starts import StartOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyOptions:
    """Which body is fitted."""

    model: str = "open_body"
    """`open_body`, or the path of a SMPL, SMPL-H or SMPL-X file, or a folder of one."""
    view: Literal["smpl", "smplh"] = "smplh"
    """Joints of the open body: `smplh` with fingers, `smpl` with 24 joints."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotateOptions:
    """Options of the whole job; one section of the config each."""

    seed: int = 0
    """Kept with the labels; the default stages draw no random numbers."""
    body: BodyOptions = BodyOptions()
    """Which body is fitted."""
    camera: CameraOptions = CameraOptions()
    """Where the focal length comes from."""
    perception: PerceptionOptions = PerceptionOptions()
    """Detection and keypoints."""
    quality: QualityOptions = QualityOptions()
    """How well people must be seen."""
    start: StartOptions = StartOptions()
    """Where fits start."""
    initialise: InitialiseOptions = InitialiseOptions()
    """A regressor from whose answers they start instead."""
    fit: VideoFitOptions = VideoFitOptions(
        **{f.name: getattr(FROM_LIFTER, f.name) for f in dataclasses.fields(FitOptions)}
    )
    """The fit."""
    motion: MotionOptions = MotionOptions()
    """How frames of a person in a video are tied together."""
    output: OutputOptions = OutputOptions()
    """What is written."""
    frames: FrameChoice = FrameChoice()
    """Which frames of a video are looked at."""
    limit_frames: int | None = None
    """Frames (or photos) looked at, the first ones of these; None looks at all."""

    def __post_init__(self) -> None:
        check_stages(self.start, self.fit)
        if self.initialise.network != "none" and (self.start.kind != "lifter" or len(self.start.hypotheses) > 1):
            raise ValueError(
                "`initialise.network` is one start in place of the lifter's first guess; leave `start.kind` at lifter "
                "and `start.hypotheses` at ('guess_1',)"
            )


def load_body_option(options: BodyOptions) -> BodyModel:
    """The body named by options."""
    if options.model == "open_body":
        return load.open_body(view=options.view)
    body = load.load_body(options.model)
    if body.family.startswith("mano"):
        raise BodyFileError(f"{options.model} is a single hand; annotate needs a whole body")
    return body
