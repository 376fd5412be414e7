"""AMASS's layout as its users read it: with NumPy alone, and nothing unpickled."""

import dataclasses

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body.families import FAMILIES
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data.sources.amass import read_amass
from hardmo_jax.export.motion.amass import write_amass
from hardmo_jax.export.motion.smpl_arrays import is_published_mesh
from hardmo_jax.export.source_names import ExportError
from tests.export.motion import scenes_to_write
from tests.reference import smpl_files


def loaded(path):
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def body_of(folder, family):
    """A body of a seeded file in the published layout, on a mesh of its own."""
    stored = smpl_files.make_model(family, num_vertices=120, num_betas=20 if family == "smplx" else 10, seed=3)
    return hm.load_body(smpl_files.write_npz(folder / f"{family.upper()}_NEUTRAL.npz", stored))


@pytest.fixture(scope="module")
def scene():
    return scenes_to_write.two_people()


def test_open_body_gives_the_poses_of_smplh_and_smpls_mean_shape(tmp_path, scene):
    for track in scene.tracks:
        write_amass(tmp_path / "one.npz", scene, track)
        arrays, count = loaded(tmp_path / "one.npz"), track.num_frames
        shapes = {"poses": (count, 156), "trans": (count, 3), "betas": (16,), "dmpls": (count, 8), "gender": ()}
        assert {key: arrays[key].shape for key in shapes} == shapes
        np.testing.assert_array_equal(arrays["poses"].reshape(count, 52, 3), track.params.full_pose())
        np.testing.assert_array_equal(arrays["trans"], track.params.transl)
        assert not arrays["betas"].any()
        assert not arrays["dmpls"].any()
        np.testing.assert_array_equal(arrays["body_betas"], track.betas)
        assert str(arrays["body_model"]) == scene.body_name
        assert str(arrays["gender"]) == "neutral"
        assert arrays["mocap_framerate"] == arrays["mocap_frame_rate"] == 30.0
        np.testing.assert_array_equal(arrays["is_labelled"], track.is_labelled)
        pelvis = np.asarray(in_pieces(jax.tree_util.Partial(BodyModel.joints, scene.body), track.params))[:, 0]
        np.testing.assert_allclose(arrays["pelvis"], pelvis, atol=1e-6)
        assert all(array.dtype.kind in "fiubU" for array in arrays.values())


def test_a_body_of_24_joints_has_its_fingers_at_rest_and_its_hands_beside(tmp_path):
    body = body_of(tmp_path, "smpl")
    scene = scenes_to_write.two_people(body=body)
    write_amass(tmp_path / "one.npz", scene, scene.tracks[0])
    arrays, pose = loaded(tmp_path / "one.npz"), np.asarray(scene.tracks[0].params.full_pose())
    poses = arrays["poses"].reshape(-1, 52, 3)
    np.testing.assert_array_equal(poses[:, :22], pose[:, :22])
    assert not poses[:, 22:].any()
    np.testing.assert_array_equal(arrays["smpl_hand_pose"], pose[:, 22:])


def test_smplx_gives_the_later_layout_with_its_parts_by_name(tmp_path):
    body = body_of(tmp_path, "smplx")
    scene = scenes_to_write.two_people(body=body)
    params = scene.tracks[1].params
    write_amass(tmp_path / "one.npz", scene, scene.tracks[1])
    arrays, count = loaded(tmp_path / "one.npz"), len(params.transl)
    assert str(arrays["surface_model_type"]) == "smplx"
    assert "dmpls" not in arrays
    np.testing.assert_array_equal(arrays["poses"].reshape(count, 55, 3), params.full_pose())
    parts = {
        "root_orient": params.global_orient,
        "pose_body": params.body_pose.reshape(count, 63),
        "pose_hand": np.concatenate([params.left_hand_pose, params.right_hand_pose], axis=1).reshape(count, 90),
        "pose_jaw": params.jaw_pose,
        "pose_eye": np.concatenate([params.leye_pose, params.reye_pose], axis=1),
    }
    for key, part in parts.items():
        np.testing.assert_array_equal(arrays[key], part)


@pytest.mark.parametrize("family", ["smpl", "smplx"])
def test_shape_of_a_published_mesh_is_written_as_betas(tmp_path, family, monkeypatch):
    body = body_of(tmp_path, family)
    track = scenes_to_write.track(body, 3)
    expected = {False: np.zeros(16), True: [*track.betas, *np.zeros(6)]}
    for is_published in (False, True):
        assert is_published_mesh(body) == is_published
        write_amass(tmp_path / "one.npz", scenes_to_write.scene(body, (track,), 3), track)
        np.testing.assert_array_equal(loaded(tmp_path / "one.npz")["betas"], expected[is_published])
        monkeypatch.setitem(FAMILIES, family, dataclasses.replace(FAMILIES[family], topology=(120, 236)))


def test_the_projects_reader_of_amass_turned_to_y_up_stands_where_the_body_stood(tmp_path):
    body = body_of(tmp_path, "smplh")
    scene = scenes_to_write.two_people(9, body=body)
    track = scene.tracks[0]
    write_amass(tmp_path / "one.npz", scene, track)
    shaped = scene.body.shaped(track.betas)
    clip = read_amass(tmp_path / "one.npz").to_y_up(np.asarray(shaped.joint_template, np.float64)[0])
    params = hm.BodyParams.from_full_pose(
        shaped, clip.poses.astype(np.float32), transl=clip.transl.astype(np.float32)
    ).without_shape()
    expected = np.asarray(scene.body.joints(track.params))
    found = np.asarray(shaped.joints(params))
    np.testing.assert_allclose(np.stack([found[..., 0], -found[..., 2], found[..., 1]], -1), expected, atol=5e-6)


def test_a_photo_without_a_rate_is_refused_and_one_with_is_a_motion_of_one(tmp_path):
    scene = scenes_to_write.photo()
    with pytest.raises(ExportError, match="--fps=30"):
        write_amass(tmp_path / "one.npz", scene, scene.tracks[0])
    assert not (tmp_path / "one.npz").exists()
    write_amass(tmp_path / "one.npz", dataclasses.replace(scene, frames_per_second=30.0), scene.tracks[1])
    assert loaded(tmp_path / "one.npz")["poses"].shape == (1, 156)
