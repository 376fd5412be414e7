"""Clips frame by frame and over time: which are taken, what is written."""

import dataclasses

import av
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.geometry import cameras
from hardmo_jax.perception import load_source, video
from hardmo_jax.pipelines import motion_pictures
from hardmo_jax.pipelines.annotate_tracks import VideoFitOptions
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER
from hardmo_jax.rendering import raster
from tests.fitting import tracks

FRAMES = 8
OPTIONS = motion_pictures.ClipOptions(fit=VideoFitOptions.of(FROM_LIFTER))


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


@pytest.fixture(scope="module")
def clips(body):
    """Two clips of somebody who moves, of two styles, in the layout of the benchmark."""
    track = tracks.make_track(body, frames=FRAMES)
    params = track.params()
    joints = np.asarray(body.joints(params))
    camera = cameras.camera_from_image_size(1280, 720)
    pixels = np.asarray(cameras.project_points(camera, joints))
    rows = np.tile(np.arange(FRAMES), 2)
    both = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    repeated = type(params)(**{name: None if leaf is None else np.asarray(leaf)[rows] for name, leaf in both.items()})
    views = cameras.Camera(
        focal_length=np.tile(np.asarray(camera.focal_length), (2 * FRAMES, 1)),
        principal_point=np.tile(np.asarray(camera.principal_point), (2 * FRAMES, 1)),
    )
    return HardSet(
        name="made_up/video", ids=tuple(map(str, range(2 * FRAMES))), styles=("waltz",) * FRAMES + ("boxing",) * FRAMES,
        takes=("01",) * (2 * FRAMES), groups=("one",) * (2 * FRAMES), frames=rows + 5,
        windows=np.repeat([0, 1], FRAMES), frames_per_second=30.0, params=repeated, camera=views, assumed_camera=views,
        image_size=(1280, 720), joints=joints[rows], layout="smplh52", true_keypoints_2d=pixels[rows],
        keypoints_2d=pixels[rows], confidence=np.ones((2 * FRAMES, pixels.shape[1])),
        border=np.tile([0.0, 0.0, 1280.0, 720.0], (2 * FRAMES, 1)), body=f"{body.name}/{body.family}",
        body_checksum=body.checksum,
    )  # fmt: skip


def test_clips_of_each_style_are_taken_evenly(clips):
    many = dataclasses.replace(clips, windows=np.arange(2 * FRAMES), styles=("waltz",) * FRAMES + ("boxing",) * FRAMES)
    assert motion_pictures.windows_of_styles(many, 2).tolist() == [2, 6, 10, 14]
    assert motion_pictures.windows_of_styles(many, 1, share=0.25).tolist() == [2, 10]
    assert motion_pictures.windows_of_styles(many, 1, share=0.75).tolist() == [6, 14]
    assert motion_pictures.windows_of_styles(clips, 3).tolist() == [0, 1], "no more than there are"


def test_a_clip_has_both_ways_and_its_truth_and_is_written(clips, body, tmp_path):
    clip = motion_pictures.clip_of_window(clips, 1, body, OPTIONS)
    assert clip.name == "video_boxing_01_5"
    assert [frame.index for frame in clip.frames] == list(range(5, 5 + FRAMES))
    for frame in clip.frames:
        assert frame.truth is not None
        for (person,) in frame.people:
            assert person.vertices_camera is not None
            assert np.linalg.norm(person.vertices_camera - frame.truth, axis=-1).mean() < 0.5
    paths = motion_pictures.write_clip(clip, tmp_path, raster.choose_renderer("painter"), sheet_frames=3)
    assert [path.name for path in paths] == ["video_boxing_01_5.mp4", "video_boxing_01_5.png"]
    with av.open(str(paths[0])) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES


def test_photos_are_refused(tmp_path, body, perception_models):
    import cv2

    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((32, 32, 3), np.uint8))
    media = video.open_media(tmp_path / "photo.png")
    with pytest.raises(video.MediaError, match="only videos"):
        motion_pictures.clip_of_video(media, body, OPTIONS, load_source.load_estimator(perception_models))
