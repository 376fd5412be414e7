"""Files for the SMPL add-ons of Blender, read as those read them."""

import dataclasses

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body.families import FAMILIES
from hardmo_jax.export.motion.smpl_npz import write_smpl_npz
from tests.export.motion import scenes_to_write
from tests.reference import smpl_files


def loaded(path):
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def as_the_add_on_reads_it(path, target_rate=30):
    """Rotations by bone, the pelvis bone's location, shape and keyframes' step, by the keys and casts of both."""
    arrays = loaded(path)
    rate = int(arrays["mocap_frame_rate"] if "mocap_frame_rate" in arrays else arrays["mocap_framerate"])
    assert rate >= target_rate, "the add-on refuses it"
    rotations = {
        name: arrays["poses"].reshape(len(arrays["poses"]), -1, 3)[:, bone]
        for bone, name in enumerate(FAMILIES["smplx"].joint_names)
    }
    return rotations, arrays["trans"], arrays["betas"], str(arrays["gender"]), rate // target_rate


@pytest.mark.parametrize("view", ["smplh", "smpl"])
def test_every_bone_of_the_rig_gets_the_rotation_of_its_name(tmp_path, view):
    scene = scenes_to_write.two_people(body=hm.open_body(view=view))
    for track in scene.tracks:
        write_smpl_npz(tmp_path / "one.npz", scene, track)
        rotations, trans, betas, gender, step = as_the_add_on_reads_it(tmp_path / "one.npz")
        pose = dict(zip(scene.body.joint_names, np.moveaxis(track.params.full_pose(), 1, 0), strict=True))
        for name, theirs in rotations.items():
            np.testing.assert_array_equal(theirs, pose.get(name, np.zeros_like(theirs)), err_msg=name)
        np.testing.assert_array_equal(trans, track.params.transl)
        assert (gender, step, betas.any()) == ("neutral", 1, False)
        assert ("left_index2" in pose) == bool(rotations["left_index2"].any())


def test_smplx_keeps_its_shape_face_and_expression(tmp_path, monkeypatch):
    stored = smpl_files.make_model("smplx", num_vertices=120, num_betas=20, seed=3)
    body = hm.load_body(smpl_files.write_npz(tmp_path / "SMPLX_FEMALE.npz", stored), gender="female")
    topology = (body.num_vertices, len(body.faces))  # counts as the published mesh
    monkeypatch.setitem(FAMILIES, "smplx", dataclasses.replace(FAMILIES["smplx"], topology=topology))
    track = scenes_to_write.track(body, 4)
    write_smpl_npz(tmp_path / "one.npz", scenes_to_write.scene(body, (track,), 4), track)
    rotations, _, betas, gender, _ = as_the_add_on_reads_it(tmp_path / "one.npz")
    np.testing.assert_array_equal(rotations["jaw"], track.params.jaw_pose)
    np.testing.assert_array_equal(betas[:10], track.betas)
    assert gender == "female"
    np.testing.assert_array_equal(loaded(tmp_path / "one.npz")["expressions"], track.params.expression)


@pytest.mark.parametrize(("rate", "stated"), [(29.97, 30), (59.94, 60), (12.5, 12), (0.2, 1)])
def test_the_rate_that_the_add_on_cuts_is_a_whole_number_and_the_true_one_is_beside(tmp_path, rate, stated):
    scene = scenes_to_write.photo()
    scene = scenes_to_write.scene(scene.body, scene.tracks, 1, rate=rate)
    write_smpl_npz(tmp_path / "one.npz", scene, scene.tracks[0])
    arrays = loaded(tmp_path / "one.npz")
    assert int(arrays["mocap_frame_rate"]) == stated
    assert float(arrays["mocap_framerate"]) == float(arrays["frames_per_second"]) == rate
