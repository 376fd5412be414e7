"""A shot that is longer than a take: every frame once, the same people, and no step where one take follows another."""

import itertools

import numpy as np
import pytest

from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.labels import store
from hardmo_jax.perception import crops, video
from hardmo_jax.perception import people as people_module
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines import perceiving
from hardmo_jax.pipelines.annotate import AnnotateOptions, annotate
from hardmo_jax.pipelines.annotate_drawing import OutputOptions
from hardmo_jax.pipelines.annotate_tracks import VideoFitOptions
from tests.pipelines.test_annotate_shots import labelled, points, scene, write_video  # noqa: F401 a fixture


class _Somebody(people_module.PixelSource):
    """Finds one person in each frame, and numbers those of shots."""

    source = "a test"

    def __call__(self, image):
        raise NotImplementedError

    def track(self, frames):
        for _ in frames:
            yield [
                people_module.PersonKeypoints(
                    keypoints_2d=np.full((67, 2), 50.0, np.float32), confidence=np.full(67, 0.9, np.float32),
                    keypoints_3d=np.zeros((67, 3), np.float32), confidence_3d=np.zeros(67, np.float32),
                    bbox=np.array([10, 10, 90, 90], np.float32), detector_bbox=np.array([10, 10, 90, 90], np.float32),
                    score=0.9, region=crops.SquareRegion(center=(50.0, 50.0), size=80.0, angle=0.0), track_id=0,
                )
            ]  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "clip.mp4"
    write_video(path, scene(1, 47) + scene(2, 9))
    return path


@pytest.mark.parametrize("longest", [10, 11, 20, 46, 47, 48, 1000])
def test_every_frame_is_in_one_take_and_takes_of_a_shot_overlap(clip, longest, monkeypatch):
    monkeypatch.setattr(perceiving, "_OVERLAP", 6)
    takes = list(
        perceiving.perceive(video.open_media(clip), _Somebody(), watch_camera=True, longest_take=longest)
    )  # fmt: skip
    kept = [picture.position for take in takes for picture in take.kept_pictures]
    assert kept == list(range(56))
    shots, shot = [], []
    for take in takes:
        shot.append(take)
        assert len(take.pictures) <= longest
        assert len(take.camera_path.turn) == len(take.pictures)
        assert [one.picture for one in take.sightings] == take.pictures
        if take.ends_shot:
            shots.append(shot)
            shot = []
    assert not shot
    assert [sum(len(take.kept_pictures) for take in own) for own in shots] == [47, 9]
    assert [{one.track_id for take in own for one in take.sightings} for own in shots] == [{0}, {1}]
    for own in shots:
        for before, behind in itertools.pairwise(own):
            overlap = min(6, longest // 2)
            assert [picture.position for picture in before.pictures[-overlap:]] == [
                picture.position for picture in behind.pictures[:overlap]
            ]
            # Nothing moves: the background is where it was, as seen from the first frame of each take.
            np.testing.assert_allclose(np.abs(behind.camera_path.shift), 0, atol=2e-3)
    if longest >= 47:
        assert len(takes) == 2


def test_labels_go_on_where_one_take_follows_another(points, tmp_path):  # noqa: F811
    """The same track in one take and in takes of 32 frames that share 16."""
    count = 56
    motion = np.concatenate([points, points[-2:0:-1]] * 4)[:count]
    whole = labelled(tmp_path / "whole", "clip", scene(1, count), motion, overlay=False)[1]
    options = AnnotateOptions(
        perception=PerceptionOptions(detector="files", keypoints_file=str(tmp_path / "whole/json")),
        output=OutputOptions(part_scores=False, overlay=False),
        fit=VideoFitOptions.of(FitOptions(**_fit_options()), longest_take=32),
    )
    annotate(tmp_path / "whole/clip.mp4", tmp_path / "pieces", options=options, model_folder=tmp_path)
    pieces = store.read_labels(tmp_path / "pieces/labels.parquet").rows
    assert [(row.frame_index, row.track_id) for row in pieces] == [(row.frame_index, row.track_id) for row in whole]
    ends = [24 + 16 * at for at in range(2)]
    steps = {"whole": _steps(whole), "pieces": _steps(pieces)}
    # Of 300 frames that share 60 they differ by a hundredth of this; so few leave a fit more open.
    at_seams = np.concatenate([np.abs(steps["pieces"] - steps["whole"])[end - 1 : end + 1] for end in ends])
    assert at_seams.max() < 0.3


def _fit_options():
    import dataclasses

    default = AnnotateOptions().fit
    return {field.name: getattr(default, field.name) for field in dataclasses.fields(FitOptions)}


def _steps(rows):
    """Largest change of a joint's rotation vector from frame to frame, radians."""
    poses = np.stack([np.asarray(row.body_pose, float) for row in rows])
    return np.abs(np.diff(poses, axis=0)).max((1, 2))


def test_takes_too_short_to_be_fitted_over_time_are_refused():
    with pytest.raises(ValueError, match="longest_take"):
        VideoFitOptions(longest_take=4)
