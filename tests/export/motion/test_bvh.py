"""BVH files against an evaluator of their own, in float64 and from the text alone."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.export.motion.bvh import BVH_NAMES, UNITS_PER_METRE, write_bvh, zxy_degrees
from hardmo_jax.export.motion.scene_motion import Y_UP_FROM_Z_UP
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.skeleton import captures
from tests.export.motion import scenes_to_write
from tests.reference import smpl_files

#: The body poses in float32, whose rounding is the larger part of it. Metres.
SAME_PLACE = 2e-6


def turn(axis, degrees):
    """Rotations about one axis, from their definition."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.zeros((len(degrees), 3, 3))
    first, second = {"X": (1, 2), "Y": (2, 0), "Z": (0, 1)}[axis]
    matrix[:, "XYZ".index(axis), "XYZ".index(axis)] = 1
    matrix[:, first, first], matrix[:, second, second] = c, c
    matrix[:, first, second], matrix[:, second, first] = -s, s
    return matrix


def evaluate(path):
    """World places of all joints and ends, their rest places, parents, and seconds a frame; nothing of the package."""
    words, stack, names, parents, offsets, channels = iter(path.read_text().split()), [], [], [], [], []
    for word in words:
        if word in ("ROOT", "JOINT", "End"):
            parents.append(stack[-1] if stack else -1)
            name = next(words)
            names.append(f"{names[stack[-1]]}_end" if word == "End" else name)
            stack.append(len(names) - 1)
            channels.append([])
        elif word == "OFFSET":
            offsets.append([float(next(words)) for _ in range(3)])
        elif word == "CHANNELS":
            channels[-1] = [next(words) for _ in range(int(next(words)))]
        elif word == "}":
            stack.pop()
        elif word == "MOTION":
            break
    assert next(words) == "Frames:"
    frames = int(next(words))
    assert [next(words), next(words)] == ["Frame", "Time:"]
    seconds = float(next(words))
    rows = np.array([float(word) for word in words]).reshape(frames, -1)
    columns = iter(rows.T)
    places, turned, rest = np.zeros((frames, len(names), 3)), np.zeros((frames, len(names), 3, 3)), np.array(offsets)
    for joint, parent in enumerate(parents):
        local, shift = np.eye(3), np.tile(offsets[joint], (frames, 1))
        for channel in channels[joint]:
            if channel.endswith("position"):
                shift[:, "XYZ".index(channel[0])] += next(columns)
            else:
                local = local @ turn(channel[0], next(columns))
        places[:, joint], turned[:, joint] = shift, local
        if parent >= 0:
            rest[joint] += rest[parent]
            places[:, joint] = places[:, parent] + np.einsum("tij,tj->ti", turned[:, parent], shift)
            turned[:, joint] = turned[:, parent] @ local
    return dict(zip(names, range(len(names)), strict=True)), places, rest, seconds, rows


@pytest.fixture(scope="module")
def open_body():
    return hm.open_body()


@pytest.mark.parametrize("unit", UNITS_PER_METRE)
@pytest.mark.parametrize("view", ["smplh", "smpl"])
def test_joints_of_all_people_and_frames_are_where_the_body_has_them(tmp_path, view, unit, figure):
    scene = scenes_to_write.two_people(body=hm.open_body(view=view))
    worst = 0.0
    for track in scene.tracks:
        write_bvh(tmp_path / "one.bvh", scene, track, unit=unit)
        names, places, _, seconds, _ = evaluate(tmp_path / "one.bvh")
        columns = [names[BVH_NAMES[joint]] for joint in scene.body.joint_names]
        expected = np.asarray(scene.body.joints(track.params), np.float64) @ Y_UP_FROM_Z_UP.T
        worst = max(worst, np.abs(places[:, columns] / UNITS_PER_METRE[unit] - expected).max())
        assert 1 / seconds == pytest.approx(30.0, rel=1e-15)
    assert worst < SAME_PLACE
    figure(f"BVH of the open body as {view} in {unit}: joints within {1000 * worst:.1e} mm")


def test_rest_is_a_person_who_faces_z_with_ends_at_crown_toes_and_finger_tips(tmp_path, open_body):
    scene = scenes_to_write.two_people(body=open_body)
    write_bvh(tmp_path / "one.bvh", scene, scene.tracks[0])
    names, _, rest, _, _ = evaluate(tmp_path / "one.bvh")
    assert not rest[names["Hips"]].any()
    tips = {name.removesuffix("_end"): rest[place] for name, place in names.items() if name.endswith("_end")}
    shaped = np.asarray(open_body.shaped(scene.tracks[0].betas).template_planar, np.float64).T
    pelvis = np.asarray(open_body.shaped(scene.tracks[0].betas).joint_template, np.float64)[0]
    shaped = 100 * (shaped - pelvis)
    assert tips["Head"][1] == pytest.approx(shaped[:, 1].max(), abs=1.0)
    for side, sign in (("Left", 1), ("Right", -1)):
        assert tips[f"{side}ToeBase"][2] > rest[names[f"{side}Foot"]][2] + 10
        assert sign * tips[f"{side}HandMiddle3"][0] == pytest.approx(np.max(sign * shaped[:, 0]), abs=1.0)
    assert {*tips} == {"Head"} | {
        f"{side}{end}"
        for side in ("Left", "Right")
        for end in ("ToeBase", "HandThumb3", "HandIndex3", "HandMiddle3", "HandRing3", "HandPinky3")
    }
    assert captures.find_convention(names).name == "mixamo"


def test_no_angle_jumps_though_people_turn_and_legs_pass_the_vertical(tmp_path, open_body):
    frames = 121
    scene = scenes_to_write.scene(open_body, (scenes_to_write.track(open_body, frames, turns=2.0),), frames, rate=30.0)
    params = scene.tracks[0].params
    body_pose = np.zeros_like(params.body_pose)
    body_pose[:, 0, 0] = np.linspace(0.5, -3.0, frames)  # a kick over the head: x alone passes a right angle
    body_pose[:, 15, 1:] = np.stack([np.linspace(-3, 3, frames), np.full(frames, 0.3)], axis=-1)
    track = dataclasses.replace(scene.tracks[0], params=dataclasses.replace(params, body_pose=body_pose))
    write_bvh(tmp_path / "one.bvh", scene, track)
    names, places, _, _, rows = evaluate(tmp_path / "one.bvh")
    assert np.abs(np.diff(rows[:, 3:], axis=0)).max() < 20
    columns = [names[BVH_NAMES[joint]] for joint in open_body.joint_names]
    expected = np.asarray(open_body.joints(track.params), np.float64) @ Y_UP_FROM_Z_UP.T
    np.testing.assert_allclose(places[:, columns] / 100, expected, atol=SAME_PLACE)


def test_angles_make_the_rotations_and_hold_z_where_x_is_a_right_angle(rng):
    turned = Rotation.random(40, random_state=1)
    steps = Rotation.from_rotvec(np.linspace(0, 4, 50)[:, None] * [[0.6, 0.0, 0.8]])
    locked = Rotation.from_euler("ZXY", [[20, 90, 0], [0, 90, 50], [7, -90, 1]], degrees=True)
    for rotations in (turned, steps, locked):
        angles = zxy_degrees(rotations.as_matrix()[:, None])[:, 0]
        same = Rotation.from_matrix((turn("Z", angles[:, 0]) @ turn("X", angles[:, 1])) @ turn("Y", angles[:, 2]))
        assert (same.inv() * rotations).magnitude().max() < 1e-8
    assert np.ptp(zxy_degrees(locked.as_matrix()[:2, None])[:, 0, 0]) < 1e-6


@pytest.mark.parametrize("family", ["smpl", "smplh", "smplx"])
def test_every_family_is_written_with_all_its_joints(tmp_path, family):
    stored = smpl_files.make_model(family, num_vertices=120, num_betas=20 if family == "smplx" else 10, seed=3)
    body = hm.load_body(smpl_files.write_npz(tmp_path / f"{family.upper()}_NEUTRAL.npz", stored))
    track = scenes_to_write.track(body, 3)
    scene = scenes_to_write.scene(body, (track,), 3)
    write_bvh(tmp_path / "one.bvh", scene, track)
    names, places, _, _, _ = evaluate(tmp_path / "one.bvh")
    columns = [names[BVH_NAMES[joint]] for joint in body.joint_names]
    expected = np.asarray(body.joints(track.params), np.float64)
    np.testing.assert_allclose(places[:, columns] / 100, expected @ Y_UP_FROM_Z_UP.T, atol=SAME_PLACE)


def test_bones_end_somewhere_though_a_body_has_no_mesh_or_shape(tmp_path):
    stored = smpl_files.make_model("smpl", num_vertices=120, num_betas=10, seed=3)
    body = hm.load_body(smpl_files.write_npz(tmp_path / "SMPL_NEUTRAL.npz", stored))
    body = body.subset([]).shaped(np.ones(10, np.float32))
    track = scenes_to_write.track(body, 3)
    assert track.betas.shape == (0,)
    scene = scenes_to_write.scene(body, (track,), 3)
    write_bvh(tmp_path / "one.bvh", scene, track)
    names, places, rest, _, _ = evaluate(tmp_path / "one.bvh")
    columns = [names[BVH_NAMES[joint]] for joint in body.joint_names]
    expected = np.asarray(body.joints(track.params), np.float64) @ Y_UP_FROM_Z_UP.T
    np.testing.assert_allclose(places[:, columns] / 100, expected, atol=SAME_PLACE)
    assert np.linalg.norm(rest[names["Head_end"]] - rest[names["Head"]]) > 1


def test_rates_that_are_no_whole_numbers_keep_their_digits(tmp_path, open_body):
    scene = scenes_to_write.two_people(rate=30000 / 1001, body=open_body)
    write_bvh(tmp_path / "one.bvh", scene, scene.tracks[0])
    assert 1 / evaluate(tmp_path / "one.bvh")[3] == pytest.approx(30000 / 1001, rel=1e-15)


def test_what_cannot_be_written_is_refused_and_the_old_file_stays(tmp_path, open_body):
    path = tmp_path / "one.bvh"
    path.write_text("old")
    scene = scenes_to_write.two_people(body=open_body)
    track = scene.tracks[0]
    nothing = dataclasses.replace(
        track, params=jax.tree.map(lambda leaf: leaf[:0], track.params), is_labelled=track.is_labelled[:0]
    )
    spoilt = np.array(track.params.body_pose)
    spoilt[4, 2, 1] = np.nan
    no_number = dataclasses.replace(track, params=dataclasses.replace(track.params, body_pose=spoilt))
    grown = np.array(track.params.betas)
    grown[-1, 0] += 0.1
    changing = dataclasses.replace(track, params=dataclasses.replace(track.params, betas=grown))
    for bad, message in ((nothing, "frames"), (no_number, "not finite"), (changing, "shape")):
        with pytest.raises(ExportError, match=message):
            write_bvh(path, scene, bad)
    with pytest.raises(ExportError, match="no frame rate"):
        write_bvh(path, dataclasses.replace(scene, frames_per_second=None), track)
    assert [path.read_text(), *tmp_path.iterdir()] == ["old", path]


def test_hands_of_mano_are_no_people(tmp_path):
    stored = smpl_files.make_model("mano_left", num_vertices=120, seed=3)
    body = hm.load_body(smpl_files.write_npz(tmp_path / "MANO_LEFT.npz", stored))
    track = scenes_to_write.track(body, 3)
    with pytest.raises(ExportError, match="BVH holds whole people"):
        write_bvh(tmp_path / "one.bvh", scenes_to_write.scene(body, (track,), 3), track)
