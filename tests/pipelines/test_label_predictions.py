"""Labels laid beside a truth: which label is of which sample, of which body, and that no number changes on the way."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.body.params import BodyParams
from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.labels import store
from hardmo_jax.pipelines import label_predictions
from hardmo_jax.pipelines.label_predictions import LabelPredictionError
from tests.labels.test_schema import make_row

IDS = ("s/walk-1.5-0", "s/walk-1.5-1", "s/jump-0")
SHA = "ab" * 32
PARAMS = ("betas", "global_orient", "body_pose", "transl", "left_hand_pose", "right_hand_pose")


@pytest.fixture
def truth(rng):
    def normal(*shape):
        return rng.normal(size=(len(IDS), *shape)).astype(np.float32)

    camera = Camera(focal_length=1000 + abs(normal(2)), principal_point=500 + normal(2))
    return HardSet(
        name="s", ids=IDS, styles=("a",) * 3, takes=("a",) * 3, groups=("a",) * 3, frames=np.arange(3, dtype=np.int32),
        border=normal(4),
        windows=np.full(3, -1, np.int32), frames_per_second=30.0, camera=camera, assumed_camera=camera,
        params=BodyParams(
            betas=normal(10), global_orient=normal(3), body_pose=normal(21, 3), transl=normal(3),
            left_hand_pose=normal(15, 3), right_hand_pose=normal(15, 3),
        ),
        image_size=(1000, 1000), joints=normal(52, 3), layout="openpose67", true_keypoints_2d=normal(67, 2),
        keypoints_2d=normal(67, 2), confidence=abs(normal(67)), body="open_body/smplh", body_checksum=SHA,
    )  # fmt: skip


def label(truth, index, **changes):
    """Label of the true parameters of a sample."""
    fields = {
        "source_path": f"{IDS[index]}.png", "frame_index": 0, "track_id": 0, "body_model_sha256": SHA,
        "focal_length": truth.camera.focal_length[index], "principal_point": truth.camera.principal_point[index],
        **{name: getattr(truth.params, name)[index] for name in PARAMS},
    }  # fmt: skip
    return make_row(index, **fields | changes)


def read(tmp_path, truth, *rows):
    return label_predictions.predictions_from_labels(store.write_labels(tmp_path / "labels.parquet", rows), truth)


NO_HANDS = {"left_hand_pose": None, "right_hand_pose": None}
SMPL = {"body_model": "open_body_smpl", "smpl_hand_pose": np.zeros((2, 3)), **NO_HANDS}


def test_labels_of_the_truth_are_the_truth(tmp_path, truth):
    predicted, status = read(tmp_path, truth, *(label(truth, index) for index in (2, 0, 1)))
    assert status == {"CONVERGED": 3}
    assert predicted.ids == tuple(IDS[index] for index in (2, 0, 1))
    assert predicted.check_body(truth.body) is predicted
    rows = predicted.rows_for(truth.ids)
    assert set(predicted.params) == set(PARAMS)
    for name in PARAMS:
        np.testing.assert_array_equal(predicted.params[name][rows], getattr(truth.params, name), err_msg=name)
    np.testing.assert_array_equal(predicted.camera.focal_length[rows], truth.camera.focal_length)
    np.testing.assert_array_equal(predicted.camera.principal_point[rows], truth.camera.principal_point)


def test_a_row_without_hands_has_fingers_at_rest_and_others_keep_theirs(tmp_path, truth):
    predicted, _ = read(
        tmp_path, truth, label(truth, 0), label(truth, 1, right_hand_pose=None), label(truth, 2, **SMPL)
    )
    left, right = predicted.params["left_hand_pose"], predicted.params["right_hand_pose"]
    np.testing.assert_array_equal(left[:2], truth.params.left_hand_pose[:2])
    np.testing.assert_array_equal(right[0], truth.params.right_hand_pose[0])
    assert not left[2].any()
    assert not right[1:].any()


def test_several_people_of_one_sample_are_refused(tmp_path, truth):
    with pytest.raises(LabelPredictionError, match=rf"'{IDS[1]}' has 2 labels \(tracks 0, 1\).*shows one person"):
        read(tmp_path, truth, label(truth, 0), label(truth, 1), label(truth, 1, track_id=1))


@pytest.mark.parametrize("newest_first", [False, True])
def test_the_newest_version_of_a_label_wins_whatever_older_ones_were(tmp_path, truth, newest_first):
    old = label(truth, 0, transl=np.full(3, 9.0), body_model="other_smplh", status="DIVERGED")
    rows = [old, dataclasses.replace(label(truth, 0), label_version=2)]
    predicted, status = read(tmp_path, truth, *(reversed(rows) if newest_first else rows))
    np.testing.assert_array_equal(predicted.params["transl"][0], truth.params.transl[0])
    assert status == {"CONVERGED": 1}


def test_failed_fits_keep_their_parameters_and_are_counted(tmp_path, truth):
    nowhere = np.full(3, np.nan)
    rows = label(truth, 0, status="DIVERGED"), label(truth, 1, status="NONFINITE", transl=nowhere), label(truth, 2)
    predicted, status = read(tmp_path, truth, *rows)
    assert status == {"CONVERGED": 1, "DIVERGED": 1, "NONFINITE": 1}
    np.testing.assert_array_equal(predicted.params["body_pose"], truth.params.body_pose)
    assert np.isnan(predicted.params["transl"][1]).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"body_model_sha256": "cd" * 32}, r"is of the body open_body_smplh \(cdcdcdcdcdcd\).*label with the body"),
        ({"body_model": "smplh_smplh"}, "is of the body smplh_smplh .*the truth of open_body_smplh"),
        ({"body_model": "other_smpl", "smpl_hand_pose": np.zeros((2, 3))}, "is of the body other_smpl"),
        (SMPL | {"smpl_hand_pose": np.full((2, 3), 0.1)}, "hand joints turned or unknown.*score points"),
        (SMPL | {"smpl_hand_pose": None}, "hand joints turned or unknown"),
        (SMPL | {"body_model_sha256": "cd" * 32}, "is of the body open_body_smpl "),
    ],
)
def test_labels_of_another_body_are_refused(tmp_path, truth, changes, words):
    with pytest.raises(LabelPredictionError, match=words):
        read(tmp_path, truth, label(truth, 1), label(truth, 0, **changes))


def test_labels_of_other_pictures_are_left_out_and_of_none_refused(tmp_path, truth):
    others = [make_row(7), make_row(8, source_path="/"), make_row(9, source_path="..")]
    predicted, _ = read(tmp_path, truth, *others, label(truth, 1))
    assert predicted.ids == (IDS[1],)
    with pytest.raises(LabelPredictionError, match=rf"none of 3 labels is of a sample of s; .*such as {IDS[0]}\.png"):
        read(tmp_path, truth, *others)
    with pytest.raises(FileNotFoundError):
        label_predictions.predictions_from_labels(tmp_path / "absent", truth)
