"""Motion that was written comes back as it was, of all people; that of others is read or refused with a reason."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.body.families import FAMILIES
from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.export.motion import glb
from hardmo_jax.export.motion.amass import write_amass
from hardmo_jax.export.motion.bvh import write_bvh
from hardmo_jax.export.motion.joint_motion import pelvis_places
from hardmo_jax.export.motion.robot_npz import write_robot_npz
from hardmo_jax.export.motion.smpl_npz import write_smpl_npz
from hardmo_jax.pipelines.exports.motion_files import read_scene
from tests.export.motion import scenes_to_write
from tests.reference import smpl_files

WRITERS = {"bvh": write_bvh, "amass": write_amass, "smpl": write_smpl_npz, "robot": write_robot_npz}
#: Radians, metres, standard deviations.
SAME_TURN, SAME_PLACE, SAME_SHAPE = 1e-6, 1e-6, 1e-5


def assert_same_motion(found, expected):
    assert found.params.batch_shape == expected.params.batch_shape
    ours, theirs = (
        Rotation.from_rotvec(np.asarray(track.params.full_pose(), np.float64).reshape(-1, 3))
        for track in (found, expected)
    )
    assert (ours.inv() * theirs).magnitude().max() < SAME_TURN
    np.testing.assert_allclose(found.params.transl, expected.params.transl, atol=SAME_PLACE)
    np.testing.assert_allclose(found.params.betas, expected.params.betas, atol=SAME_SHAPE)


def body_of(folder, family, num_betas=10, gender="neutral"):
    columns = 20 if family == "smplx" else num_betas
    stored = smpl_files.make_model(family, num_vertices=120, num_betas=columns, seed=3)
    path = smpl_files.write_npz(folder / f"{family.upper()}_{gender.upper()}.npz", stored)
    return hm.load_body(path, num_betas=num_betas, gender=gender)


def written(folder, form, scene, track):
    path = folder / f"{track.name}.{'bvh' if form == 'bvh' else 'npz'}"
    WRITERS[form](path, scene, track)
    return path


def changed(path, **arrays):
    """The same file with some arrays replaced, or left out where they are None."""
    with np.load(path, allow_pickle=False) as old:
        arrays = {key: old[key] for key in old.files} | arrays
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
    return path


@pytest.fixture(scope="module")
def scene():
    return scenes_to_write.two_people(rate=30000 / 1001)


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_back_all_people(tmp_path, form, scene):
    for track in scene.tracks:
        found = read_scene(written(tmp_path, form, scene, track), body=scene.body)
        assert found.frames_per_second == pytest.approx(30000 / 1001, rel=1e-12)
        assert (found.camera, found.floor) == (None, "file")
        assert_same_motion(found.tracks[0], track)
        if form != "bvh":
            again = found.tracks[0]
            assert (again.name, again.track_id, again.first_frame) == (track.name, track.track_id, track.first_frame)
            assert (found.num_frames, found.first_source_frame) == (scene.num_frames, scene.first_source_frame)
            assert (found.source_name, found.body_name) == (scene.source_name, scene.body_name)
            np.testing.assert_array_equal(again.is_labelled, track.is_labelled)


@pytest.mark.parametrize("view", ["smplh", "smpl"])
def test_the_open_body_need_not_be_given(tmp_path, view):
    scene = scenes_to_write.two_people(body=hm.open_body(view=view))
    for form in ("bvh", "amass"):
        found = read_scene(written(tmp_path, form, scene, scene.tracks[0]))
        assert (found.body.family, found.body.checksum) == (view, scene.body.checksum)
        assert_same_motion(found.tracks[0], scene.tracks[0])


@pytest.mark.parametrize("family", ["smpl", "smplh", "smplx"])
def test_bodies_of_files_come_back_when_they_are_given(tmp_path, family):
    body = body_of(tmp_path, family)
    track = scenes_to_write.track(body, 4)
    if body.num_expression:
        # BVH has no face.
        neutral = np.zeros_like(track.params.expression)
        track = dataclasses.replace(track, params=dataclasses.replace(track.params, expression=neutral))
    for form in WRITERS:
        path = written(tmp_path, form, scenes_to_write.scene(body, (track,), 4), track)
        assert_same_motion(read_scene(path, body=body).tracks[0], track)
        if form == "amass":
            with pytest.raises(MotionFileError, match=r"give it as `body=`"):
                read_scene(path)


def test_expressions_come_back_but_from_bvh_which_has_the_mean_in_its_bones(tmp_path, rng):
    body = body_of(tmp_path, "smplx")
    track = scenes_to_write.track(body, 4)
    expression = rng.normal(size=track.params.expression.shape).astype(np.float32)
    track = dataclasses.replace(track, params=dataclasses.replace(track.params, expression=expression))
    for form in WRITERS:
        path = written(tmp_path, form, scenes_to_write.scene(body, (track,), 4), track)
        found = read_scene(path, body=body).tracks[0]
        if form == "bvh":
            middle = expression.mean(axis=0)
            np.testing.assert_allclose(found.params.expression, np.tile(middle, (4, 1)), atol=SAME_SHAPE)
            pelvis = pelvis_places(body, track.params)
            np.testing.assert_allclose(pelvis_places(body, found.params), pelvis, atol=SAME_PLACE)
        else:
            assert_same_motion(found, track)
            np.testing.assert_array_equal(found.params.expression, expression)


def test_bvh_in_metres_of_a_body_without_betas_is_read_by_its_bones(tmp_path):
    body = body_of(tmp_path, "smpl").shaped(np.full(10, 0.5, np.float32))
    track = scenes_to_write.track(body, 3)
    write_bvh(tmp_path / "one.bvh", scenes_to_write.scene(body, (track,), 3), track, unit="m")
    assert_same_motion(read_scene(tmp_path / "one.bvh", body=body).tracks[0], track)


def test_another_body_takes_the_poses_and_stands_where_the_pelvis_was(tmp_path, scene):
    other = body_of(tmp_path, "smplx")
    for form in ("amass", "smpl", "robot"):
        found = read_scene(written(tmp_path, form, scene, scene.tracks[1]), body=other)
        params, expected = found.tracks[0].params, scene.tracks[1].params
        np.testing.assert_allclose(params.left_hand_pose, expected.left_hand_pose, atol=1e-7)
        assert not np.any(params.betas)
        pelvis = pelvis_places(scene.body, expected)
        np.testing.assert_allclose(pelvis_places(other, params), pelvis, atol=SAME_PLACE)


def foreign_amass(path, rng, **arrays):
    """What AMASS's first release holds, and nothing of ours."""
    plain = {
        "poses": rng.normal(scale=0.3, size=(5, 156)), "trans": rng.normal(size=(5, 3)), "betas": rng.normal(size=16),
        "dmpls": np.zeros((5, 8)), "gender": np.array("female"), "mocap_framerate": np.array(120.0),
    }  # fmt: skip
    np.savez(path, **(plain | arrays))
    return path, plain | arrays


def test_amass_of_others_is_read_on_the_open_body_in_its_mean_shape(tmp_path, rng):
    path, arrays = foreign_amass(tmp_path / "walk_poses.npz", rng)
    found = read_scene(path)
    track = found.tracks[0]
    assert (found.name, found.frames_per_second, track.num_frames) == ("walk_poses", 120.0, 5)
    np.testing.assert_allclose(track.params.full_pose(), arrays["poses"].reshape(5, 52, 3), atol=1e-6)
    np.testing.assert_allclose(track.params.transl, arrays["trans"], atol=1e-6)
    assert not track.betas.any()
    assert track.is_labelled.all()
    assert read_scene(path, frames_per_second=60).frames_per_second == 60.0


def test_amass_of_others_has_its_shape_on_its_own_body_and_is_refused_on_another(tmp_path, rng, monkeypatch):
    path, arrays = foreign_amass(tmp_path / "walk_poses.npz", rng)
    own, few = (body_of(tmp_path, "smpl", num_betas=number, gender="female") for number in (16, 10))
    neutral = body_of(tmp_path, "smpl", num_betas=16)
    of_x = body_of(tmp_path, "smplx", gender="female")
    for family in ("smpl", "smplx"):  # their meshes count as the published ones
        monkeypatch.setitem(FAMILIES, family, dataclasses.replace(FAMILIES[family], topology=(120, 236)))
    np.testing.assert_allclose(read_scene(path, body=own).tracks[0].betas, arrays["betas"], atol=1e-6)
    with pytest.raises(MotionFileError, match="num_betas=16"):
        read_scene(path, body=few)
    with pytest.raises(MotionFileError, match="of the female body and means another person on the neutral one"):
        read_scene(path, body=neutral)
    with pytest.raises(MotionFileError, match="its shape is of smplh"):
        read_scene(path, body=of_x)


def test_files_of_other_layouts_are_named_in_the_error(tmp_path):
    np.savez(tmp_path / "a.npz", joints=np.zeros((3, 24, 3)))
    (tmp_path / "a.fbx").write_bytes(b"Kaydara")
    for name, message in (("a.npz", "holds neither `poses` nor"), ("a.fbx", "got '.fbx'"), ("b.npz", "no such file")):
        with pytest.raises(MotionFileError, match=message):
            read_scene(tmp_path / name)


def test_files_of_ours_that_were_changed_in_part_are_refused(tmp_path, scene):
    path = written(tmp_path, "amass", scene, scene.tracks[0])
    pose = np.zeros((6, 156))
    with pytest.raises(MotionFileError, match="beside 6 frames of poses"):
        read_scene(changed(path, poses=pose, trans=np.zeros((6, 3))), body=scene.body)
    assert not read_scene(changed(path, hardmo_file_version=None), body=scene.body).tracks[0].betas.any()
    path = written(tmp_path, "amass", scene, scene.tracks[0])
    for arrays, message in (
        ({"hardmo_file_version": np.array(9)}, "newer version"),
        ({"hardmo_file_version": np.array(1), "body_betas": None}, "`body_betas` is missing"),
        ({"body_betas": np.full(10, np.nan)}, "expected numbers that are finite"),
        ({"body_betas": np.zeros(4)}, "num_betas=4"),
        ({"frames_per_second": np.array(0.0)}, "more than 0 and at most 1000"),
    ):
        with pytest.raises(MotionFileError, match=message):
            read_scene(changed(path, **arrays), body=scene.body)


HOSTILE = [
    ("first_frame", np.array("abc"), r"is 'abc', expected a whole number from 0 to 1000000"),
    ("first_frame", np.array(1e15), r"is 1000000000000000\.0, expected a whole number from 0 to 1000000"),
    ("first_frame", np.array(-1), r"is -1, expected a whole number"),
    ("first_frame", np.array(10**6 + 1), r"is 1000001, expected a whole number"),
    ("scene_frames", np.array(2**62), r"is 4611686018427387904, expected a whole number from 0 to 1000000"),
    ("first_source_frame", np.array(2**63, np.uint64), r"expected a whole number"),
    ("track_id", np.array(True), r"is True, expected a whole number"),
    ("frames_per_second", np.array("abc"), r"is 'abc', expected numbers"),
    ("frames_per_second", np.array(1e300), r"is 1e\+300, expected more than 0 and at most 1000 frames a second"),
    ("frames_per_second", np.array(np.nan), r"is nan, expected numbers that are finite"),
    ("body_betas", np.array(["a"] * 10), r"expected numbers"),
    ("body_betas", np.zeros((2, 10)), r"expected one row"),
    ("body_betas", np.array(1.0), r"expected one row"),
    ("pelvis", np.full((12, 3), "x"), r"expected numbers"),
    ("is_labelled", np.full(12, "yes"), r"expected true or false"),
    ("track_name", np.array(5), r"is 5, expected a text"),
    ("source_name", np.array(b"\x1b[2J"), r"expected a text"),
    ("body_model", np.array(1.5), r"is 1\.5, expected a text"),
]


@pytest.mark.parametrize(("key", "value", "message"), HOSTILE)
def test_values_that_no_file_of_ours_has_are_told_by_key(tmp_path, scene, key, value, message):
    path = changed(written(tmp_path, "amass", scene, scene.tracks[0]), **{key: value})
    with pytest.raises(MotionFileError, match=f"`{key}`.*{message}"):
        read_scene(path, body=scene.body)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../evil", "______evil"),
        ("a\0b", "a_b"),
        ("a\nb\x1b[2J", "a_b__2J"),
        ("n" * 300, "n" * 64),
        ("", "person_00"),
        ("Åsa-2", "Åsa-2"),
    ],
)
def test_names_in_files_are_such_that_files_can_be_called_so(tmp_path, scene, given, name):
    path = written(tmp_path, "amass", scene, scene.tracks[0])
    found = read_scene(changed(path, track_name=np.array(given), source_name=np.array(f"/home/x/{given}.mp4")))
    assert found.tracks[0].name == name
    assert "/" not in found.source_name
    assert found.source_name.isprintable()


def test_frame_numbers_do_not_come_back_from_bvh(tmp_path, scene):
    track = scene.tracks[1]
    assert track.first_frame
    assert not track.is_labelled.all()
    found = read_scene(written(tmp_path, "bvh", scene, track), body=scene.body)
    assert (found.tracks[0].first_frame, found.first_source_frame, found.num_frames) == (0, 0, track.num_frames)
    assert found.tracks[0].is_labelled.all()


def test_hands_and_rates_that_are_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="whole people"):
        read_scene(tmp_path / "a.npz", body=body_of(tmp_path, "mano_left"))
    with pytest.raises(ValueError, match="must be positive, got 0"):
        read_scene(tmp_path / "a.npz", frames_per_second=0)


@pytest.mark.slow
def test_captured_bvh_of_others_is_retargeted(reference_data):
    path = sorted((reference_data / "mocap" / "cmu_bvh_30fps" / "indian").glob("*.bvh"))[0]
    found = read_scene(path)
    joints = np.asarray(found.body.joints(found.tracks[0].params))
    height = joints[:, found.body.joint_names.index("head"), 2] - joints[..., 2].min(axis=1)
    assert np.median(height) == pytest.approx(1.5, abs=0.2)  # z is up


@pytest.mark.slow
def test_bvh_of_ours_is_retargeted_to_a_body_with_other_bones(tmp_path, figure):
    scene = scenes_to_write.two_people()
    path = written(tmp_path, "bvh", scene, scene.tracks[0])
    found = read_scene(path, body=hm.open_body(view="smpl"))
    ours = np.asarray(found.body.joints(found.tracks[0].params))[:, :22]
    apart = np.linalg.norm(ours - np.asarray(scene.body.joints(scene.tracks[0].params))[:, :22], axis=-1)
    figure(f"BVH of 52 joints retargeted to 24: {1000 * apart.mean():.1f} mm, at most {1000 * apart.max():.1f}")
    assert apart.mean() < 0.01


def test_a_body_without_shape_coefficients_goes_out_and_comes_back(tmp_path):
    body = hm.open_body()
    plain = dataclasses.replace(body, blend_basis=body.blend_basis[:0], joint_shape_basis=body.joint_shape_basis[:0])
    scene = scenes_to_write.two_people(6, plain)
    glb.write_glb(tmp_path / "a.glb", scene)
    for name, write in (("a.npz", write_amass), ("b.npz", write_smpl_npz), ("c.bvh", write_bvh)):
        write(tmp_path / name, scene, scene.tracks[0])
        (track,) = read_scene(tmp_path / name, body=plain).tracks
        assert track.params.betas.shape == (6, 0)
        np.testing.assert_allclose(track.params.transl, scene.tracks[0].params.transl, atol=1e-4)
