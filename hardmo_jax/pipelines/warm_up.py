"""A shot of somebody at rest, labelled while the first frames of a video are looked at, so that all is loaded then.

Programs are built, or read from the cache, the first time that they are run. That takes longer than to label some
seconds of video, and without this it would begin when the last frame has been looked at.
"""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Hashable

import numpy as np

from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.geometry import cameras
from hardmo_jax.observations import ObservationError
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.annotate_takes import Progress, label_take
from hardmo_jax.pipelines.annotate_tracks import SHORTEST
from hardmo_jax.pipelines.perceiving import Take
from hardmo_jax.pipelines.sightings import LAYOUT, Picture, PictureOrigin, Sighting
from hardmo_jax.pipelines.stage_rates import StageClock
from hardmo_jax.skeleton import layouts

#: Frames of the shot; longer ones need hardly another program, shorter ones do.
_FRAMES = 40
_WIDTH, _HEIGHT, _FRAMES_PER_SECOND = 640, 480, 30.0
#: Where the body stands, metres before the camera: the person fills two thirds of the picture.
_DISTANCE = 4.0


#: For whom this was done in this process, in which programs stay loaded.
_LOADED: set[Hashable] = set()


def warm_up(
    media: PictureOrigin, body: BodyModel, options: AnnotateOptions, clock: StageClock, report: Progress
) -> None:
    """Label somebody at rest, and forget it.

    Nothing is done for photos, of which as many people would have to be labelled as there will be.

    Args:
        media: That is to be labelled.
        body: That is fitted.
        options: Of the job.
        clock: Told how long it takes.
        report: Called now and then; it may raise to end this.
    """
    key = (body.checksum, body.num_betas, options.fit, options.motion, options.start, options.output.part_scores)
    count = min(n for n in (_FRAMES, media.frame_count, options.limit_frames) if n is not None)
    if media.kind != "video" or count < SHORTEST or key in _LOADED:
        return
    with clock.at("warm up"), tempfile.TemporaryDirectory() as scratch, contextlib.suppress(ObservationError):
        # What is wrong with the options is told when somebody is to be labelled by them.
        label_take(
            somebody_at_rest(body, count, media.path),
            media=media,
            body=body,
            options=dataclasses.replace(options, quality=dataclasses.replace(options.quality, drop=())),
            packed=pathlib.Path(scratch),
            clock=StageClock(),
            report=lambda stage, done, total: report("warm up", 0, None),
        )
    _LOADED.add(key)


def somebody_at_rest(body: BodyModel, count: int, path: pathlib.Path) -> Take:
    """Frames in which somebody stands before the camera.

    Args:
        body: Theirs.
        count: Of frames.
        path: That the pictures say they are from.
    """
    layout = layouts.get_layout(LAYOUT)
    model, is_supported = landmarks.point_model(body, layout)
    rest = BodyParams.rest(body, batch=(1,))
    # Half a turn about x: bodies are y up, pictures y down.
    params = dataclasses.replace(
        rest,
        global_orient=np.array([[np.pi, 0, 0]], np.float32),
        transl=np.array([[0, 0, _DISTANCE]], np.float32),
    )
    pixels = np.asarray(cameras.project_points(cameras.camera_from_image_size(_WIDTH, _HEIGHT), model(params)))[0]
    kept = pixels[is_supported]
    pictures = [
        Picture(
            position=at, source_path=path, source_sha256="0" * 64, frame_index=at,
            time_seconds=at / _FRAMES_PER_SECOND, width=_WIDTH, height=_HEIGHT,
        )
        for at in range(count)
    ]  # fmt: skip
    sightings = [
        Sighting(
            picture=picture,
            track_id=0,
            keypoints_2d=pixels.astype(np.float32),
            confidence=is_supported.astype(np.float32),
            keypoints_3d=None,
            confidence_3d=None,
            bbox=np.concatenate([kept.min(0), kept.max(0)]).astype(np.float32),
            score=None,
            source="warm up",
        )
        for picture in pictures
    ]
    return Take(pictures=pictures, sightings=sightings, camera_path=None)
