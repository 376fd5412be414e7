"""Motion capture to body parameters: motion of the body itself comes back, and real clips keep their directions."""

import dataclasses
import functools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.data import synthetic
from hardmo_jax.data.sources.clip import MotionClip
from hardmo_jax.data.sources.read_motion import read_motion
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.recovery import retarget as retargeting
from hardmo_jax.recovery.retarget import RetargetError, RetargetOptions, retarget
from hardmo_jax.skeleton import captures, layouts

NUM_FRAMES = 40
JOINTS = layouts.SMPL_JOINTS
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
#: Faults of the captures themselves, each checked below: how far the joint is turned from its parent, degrees.
FAULTY = {
    "salsa/06": ("head", 170.0),
    "salsa/24": ("rHand", 170.0),
    "salsa/07": ("head", 150.0),
    "salsa/01": ("lFoot", 150.0),
}


@functools.cache
def open_body():
    return hm.open_body(view="smpl")


# (a) Clips made of the body itself.


def random_pose(seed, num, still=()):
    """Hard poses of SMPL's joints; hands, toes and the given joints at rest."""
    pose = np.zeros((num, 24, 3))
    pose[:, :22] = synthetic.sample_hard_poses(seed, num).full_pose[:, :22]
    for name in still:
        pose[:, JOINTS.index(name)] = 0
    return pose


def world_rotations(pose):
    world = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape[:2], 3, 3)
    for joint, parent in enumerate(PARENTS[1:], start=1):
        world[:, joint] = world[:, parent] @ world[:, joint]
    return world


def body_clip(name, pose, transl, betas):
    """A capture by a convention whose skeleton at rest and motion are those of the body."""
    body, convention = open_body(), captures.CONVENTIONS[name]
    template = np.asarray(body.joint_template, np.float64)
    rest = template + np.tensordot(betas, np.asarray(body.joint_shape_basis, np.float64), 1)
    world = world_rotations(pose)
    for side in layouts.SIDES:
        # At rest the elbows of these captures bend about an axis that is turned about the arm.
        turn = Rotation.from_euler("x", -convention.elbow_hinge_degrees, degrees=True).as_matrix()
        shoulder = JOINTS.index(f"{side}_shoulder")
        world[:, shoulder] = world[:, shoulder] @ turn
    names, parents, places, turned = [], [], [], []

    def add(capture, parent, place, rotation):
        names.append(capture)
        parents.append(parent)
        places.append(place)
        turned.append(rotation)

    for joint, capture in convention.joints.items():
        chain = PARENTS[JOINTS.index(joint)]
        while chain >= 0 and JOINTS[chain] not in convention.joints:
            chain = PARENTS[chain]
        add(capture, chain, rest[JOINTS.index(joint)], world[:, JOINTS.index(joint)])
    index = {joint: place for place, joint in enumerate(convention.joints)}
    parents = [-1 if chain < 0 else index[JOINTS[chain]] for chain in parents]
    for tip, capture in convention.tips.items():
        side, _, kind = tip.partition("_")
        if capture in names or kind not in ("foot_tip", "hand_index"):
            continue
        joint = f"{side}_hand" if kind == "hand_index" else f"{side}_foot"
        joint = joint if joint in index else f"{side}_ankle"
        start = index[joint]
        step = {"foot_tip": (0, 0, 0.06), "hand_index": (0, 0, 0.02)}[kind]
        place = rest[JOINTS.index(f"{side}_foot")] if joint.endswith("ankle") else places[start] + step
        add(capture, start, place, turned[start])
    # Parents first, as files have it.
    order = sorted(range(len(names)), key=lambda row: depth(parents, row))
    rank = {row: new for new, row in enumerate(order)}
    parents = [-1 if parents[row] < 0 else rank[parents[row]] for row in order]
    places, turned = np.stack([places[row] for row in order]), np.stack([turned[row] for row in order], axis=1)
    offsets, local = np.zeros_like(places), turned.copy()
    for row, parent in enumerate(parents):
        if parent >= 0:
            offsets[row] = places[row] - places[parent]
            local[:, row] = np.swapaxes(turned[:, parent], 1, 2) @ turned[:, row]
    translations = np.tile(offsets, (len(pose), 1, 1))
    translations[:, 0] = transl + places[0]
    return MotionClip(
        name="body", joint_names=tuple(names[row] for row in order), parents=tuple(parents), offsets=offsets,
        rotations=local, translations=translations, frames_per_second=30.0,
    )  # fmt: skip


def depth(parents, row):
    return 0 if parents[row] < 0 else 1 + depth(parents, parents[row])


def posed_joints(pose, transl, betas):
    params = hm.BodyParams.from_full_pose(
        open_body(),
        pose.astype(np.float32),
        betas=np.tile(betas, (len(pose), 1)).astype(np.float32),
        transl=transl.astype(np.float32),
    )
    return np.asarray(open_body().joints(params), np.float64)


def angle_between(ours, theirs):
    cosine = np.sum(ours * theirs, -1) / np.linalg.norm(ours, axis=-1) / np.linalg.norm(theirs, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


STILL = {"cmu": (), "acclaim": (), "mixamo": (), "daz": ("spine2", "left_foot", "right_foot")}


@pytest.mark.parametrize("name", STILL)
@pytest.mark.parametrize("is_shaped", [False, True])
def test_motion_of_the_body_itself_comes_back(name, is_shaped, rng, figure):
    pose, transl = random_pose(3, NUM_FRAMES, STILL[name]), rng.normal(size=(NUM_FRAMES, 3))
    betas = np.array([1.0, -0.8, 0.7, 0.5, -0.5, 0.4, 0.0, 0.0, 0.0, 0.0]) * is_shaped
    found = retarget(body_clip(name, pose, transl, betas), open_body())
    expected, joints = posed_joints(pose, transl, betas), np.asarray(open_body().joints(found.params), np.float64)
    # Feet and hands are not measured, so those of a shaped body are not quite its own.
    judged = [row for row, joint in enumerate(JOINTS) if not joint.endswith(("_foot", "_hand"))]
    error = np.linalg.norm(joints - expected, axis=-1)[:, judged]
    directions = [
        angle_between(*(points[:, JOINTS.index(end)] - points[:, JOINTS.index(start)] for points in (joints, expected)))
        for start, end in retargeting.BONES
    ]
    turned = np.asarray(found.params.full_pose(), np.float64)
    relative = Rotation.from_rotvec(turned.reshape(-1, 3)).inv() * Rotation.from_rotvec(pose.reshape(-1, 3))
    twist = np.degrees(relative.magnitude())
    shape = np.abs(np.asarray(found.params.betas)[0] - betas)
    figure(
        f"retarget {name}, {'shaped' if is_shaped else 'mean'} body: joints {1e3 * error.mean():.1f} mm "
        f"(max {1e3 * error.max():.1f}), directions {np.max(directions):.2f} degrees at most, "
        f"rotations {twist.max():.1f}, betas off by {shape.max():.2f}"
    )
    limbs = [row for row, (_, end) in enumerate(retargeting.BONES) if not end.endswith("_foot")]
    assert error.mean() < (0.005 if is_shaped else 0.001)
    assert error.max() < (0.012 if is_shaped else 0.001)
    assert np.max(np.array(directions)[limbs]) < 0.5
    assert np.max(directions) < (1.0 if is_shaped else 0.5)
    assert twist.max() < (3.0 if is_shaped else 0.1)
    # Size is measured well; what changes no bone of arms and legs stays near the mean.
    assert shape[0] < 0.1


@pytest.mark.parametrize(("spread", "tolerance"), [(0.02, 0.008), (0.001, 0.001)])
def test_bones_of_a_shaped_skeleton_are_as_long(spread, tolerance):
    betas = np.array([1.5, -1.0, 1.0, 0.5, -0.5, 0.5, 0.0, 0.0, 0.0, 0.0])
    clip = body_clip("cmu", random_pose(4, NUM_FRAMES), np.zeros((NUM_FRAMES, 3)), betas)
    found, body = retarget(clip, open_body(), options=RetargetOptions(shape_spread=spread)), open_body()
    for start, end in retargeting.BONES:
        if end.endswith("_foot"):
            continue
        ours, theirs = (
            np.linalg.norm(np.subtract(*(rest[JOINTS.index(joint)] for joint in (start, end))))
            for rest in (np.asarray(body.shaped(shape.astype(np.float32)).joint_template)
                         for shape in (np.asarray(found.params.betas)[0], betas))
        )  # fmt: skip
        assert ours == pytest.approx(theirs, abs=tolerance), (start, end)


# (c), (d) Symmetries.


def mirrored(clip):
    """The clip in the mirror of the plane x = 0: names exchange sides, places and rotations are reflected."""
    other = {}
    for name in clip.joint_names:
        for left, right in (("Left", "Right"), ("LHip", "RHip"), ("LThumb", "RThumb"), ("LFingers", "RFingers")):
            if name.startswith(left):
                other |= {name: right + name.removeprefix(left), right + name.removeprefix(left): name}
    flip = np.diag([-1.0, 1.0, 1.0])
    return dataclasses.replace(
        clip,
        joint_names=tuple(other.get(name, name) for name in clip.joint_names),
        offsets=clip.offsets @ flip,
        rotations=flip @ clip.rotations @ flip,
        translations=clip.translations @ flip,
    )


def some_frames(path, num=NUM_FRAMES):
    clip = read_motion(path)
    return clip.frames(np.linspace(1, clip.num_frames - 1, num).round().astype(int))


@pytest.fixture(scope="module")
def walk(reference_data):
    return some_frames(reference_data / "mocap" / "cmu_bvh_30fps" / "s12" / "cmu_12_01_walk.bvh")


def test_clip_in_the_mirror_gives_the_pose_in_the_mirror(walk):
    ours = np.asarray(retarget(walk, open_body()).params.full_pose(), np.float64)
    theirs = np.asarray(retarget(mirrored(walk), open_body()).params.full_pose(), np.float64)
    swap = [JOINTS.index(name.replace("left", "R").replace("right", "left").replace("R", "right")) for name in JOINTS]
    expected = ours[:, swap] * np.array([1.0, -1.0, -1.0])
    apart = Rotation.from_rotvec(theirs.reshape(-1, 3)).inv() * Rotation.from_rotvec(expected.reshape(-1, 3))
    # The body is symmetric, and so is this skeleton to some millimetres.
    assert np.degrees(apart.magnitude()).max() < 1.0


def test_moved_clip_changes_place_and_heading_only(walk, rng):
    turn, step = Rotation.from_euler("y", 130, degrees=True).as_matrix(), np.array([3.0, 0.5, -7.0])
    rotations, translations = walk.rotations.copy(), walk.translations.copy()
    rotations[:, 0], translations[:, 0] = turn @ rotations[:, 0], translations[:, 0] @ turn.T + step
    moved = retarget(dataclasses.replace(walk, rotations=rotations, translations=translations), open_body())
    found = retarget(walk, open_body())
    np.testing.assert_allclose(moved.params.betas, found.params.betas, atol=1e-5)
    np.testing.assert_allclose(moved.params.body_pose, found.params.body_pose, atol=2e-3)
    expected = np.asarray(open_body().joints(found.params)) @ turn.T + step
    np.testing.assert_allclose(open_body().joints(moved.params), expected, atol=1e-3)


# (b), (f) Real clips.


def real_paths(mocap):
    folders = ("cmu_bvh_30fps/*/*.bvh", "cmu_amc/0[23]/*.amc", "cmu_amc/fairmotion/*.amc", "cmu_amc/fairmotion/*.bvh")
    return [path for pattern in folders for path in sorted(mocap.glob(pattern))]


#: What is looked at in every run: one clip of each origin and style, takes of the benchmark, faulty ones.
QUICK = (
    "indian/08", "martial/07", "salsa/10", "salsa/26", "salsa/06", "salsa/24", "salsa/07", "salsa/01",
    "s12/cmu_12_01_walk", "02/02_01", "03/03_01", "fairmotion/11_01.amc",
)  # fmt: skip


@pytest.fixture(scope="module", params=["some", pytest.param("all", marks=pytest.mark.slow)])
def real_clips(request, reference_data):
    """Clip and result of captures by `folder/name`."""
    paths = real_paths(reference_data / "mocap")
    assert len(paths) > 40
    clips = {}
    for path in paths:
        name = f"{path.parent.name}/{path.stem}"
        name += path.suffix if path.parent.name == "fairmotion" else ""
        if request.param == "some" and name not in QUICK:
            continue
        clip = some_frames(path)
        clips[name] = (clip, retarget(clip, open_body()))
    return clips


def points_of(clip):
    """Rotations and places of the capture by SMPL joint and tip."""
    convention = captures.find_convention(clip.joint_names)
    turned, places = clip.world_motion()
    index = {name: row for row, name in enumerate(clip.joint_names)}
    names = {**convention.tips, **convention.joints}
    return (
        {name: turned[:, index[capture]] for name, capture in names.items()},
        {name: places[:, index[capture]] for name, capture in names.items()},
    )


def ours_of(found):
    joints = np.asarray(open_body().joints(found.params), np.float64)
    world = world_rotations(np.asarray(found.params.full_pose(), np.float64))
    return (
        {name: world[:, row] for row, name in enumerate(JOINTS)},
        {name: joints[:, row] for row, name in enumerate(JOINTS)},
    )


def test_bones_of_real_clips_keep_their_directions(real_clips, figure):
    worst = []
    for name, (clip, found) in real_clips.items():
        _, theirs = points_of(clip)
        _, ours = ours_of(found)
        for start, end in retargeting.BONES:
            if end.endswith("_foot"):
                continue
            error = angle_between(ours[end] - ours[start], theirs[end] - theirs[start]).mean()
            worst.append((error, name, start))
        # Feet are compared as rigid things: captures differ in the height of the ankle.
        for column, (start, end) in enumerate(retargeting.BONES):
            if end.endswith("_foot"):
                worst.append((found.direction_error[:, column].mean(), name, start))
    worst.sort(reverse=True)
    for error, name, start in worst[:3]:
        figure(f"retarget real clips: direction of {start} in {name}: mean {error:.2f} degrees")
    assert worst[0][0] < 2.0


def test_joints_of_real_clips_keep_their_places(real_clips, figure):
    worst = []
    for name, (clip, found) in real_clips.items():
        _, theirs = points_of(clip)
        turned, ours = ours_of(found)
        errors = []
        for joint in found.placed:
            trunk = turned["pelvis" if joint.endswith(("hip", "knee", "ankle")) else "spine3"]
            apart = np.einsum("tji,tj->ti", trunk, theirs[joint] - ours[joint])
            errors.append(np.linalg.norm(apart - apart.mean(axis=0), axis=-1).mean())
        worst.append((np.mean(errors), np.max(errors), name))
    worst.sort(reverse=True)
    for mean, most, name in worst[:3]:
        figure(f"retarget real clips: place in {name}: mean {1e3 * mean:.1f} mm, worst joint {1e3 * most:.1f} mm")
    assert worst[0][0] < 0.02


def test_sides_of_real_clips_are_not_exchanged(real_clips):
    for name, (clip, found) in real_clips.items():
        (_, theirs), (_, ours) = points_of(clip), ours_of(found)
        for joint in ("hip", "shoulder", "knee", "wrist"):
            pairs = {}
            for side in layouts.SIDES:
                for other in layouts.SIDES:
                    apart = ours[f"{side}_{joint}"] - theirs[f"{other}_{joint}"]
                    pairs[side, other] = np.linalg.norm(apart, axis=-1).mean()
            assert pairs["left", "left"] < pairs["left", "right"], (name, joint)
            assert pairs["right", "right"] < pairs["right", "left"], (name, joint)


def test_feet_of_real_clips_point_forward_as_the_captured_ones(real_clips, figure):
    worst = []
    for name, (clip, found) in real_clips.items():
        (_, theirs), (_, ours) = points_of(clip), ours_of(found)
        for side in layouts.SIDES:
            end = f"{side}_foot" if f"{side}_foot" in theirs else f"{side}_foot_tip"
            directions = []
            for points, toes in ((ours, f"{side}_foot"), (theirs, end)):
                shin, foot = points[f"{side}_ankle"] - points[f"{side}_knee"], points[toes] - points[f"{side}_ankle"]
                shin /= np.linalg.norm(shin, axis=-1, keepdims=True)
                directions.append(foot - np.sum(foot * shin, -1, keepdims=True) * shin)  # square to the shin
            worst.append((np.median(angle_between(*directions)), name, side))
    error, name, side = max(worst)
    figure(f"retarget real clips: {side} foot about the shin in {name}: median {error:.1f} degrees")
    assert error < 3.0


def test_palms_of_real_clips_face_as_the_captured_ones(real_clips, figure):
    worst = []
    for name, (clip, found) in real_clips.items():
        (_, theirs), (turned, _) = points_of(clip), ours_of(found)
        for side, sign in (("left", 1.0), ("right", -1.0)):
            wrist, hand, index, thumb = (
                theirs.get(f"{side}_{part}") for part in ("wrist", "hand", "hand_index", "hand_thumb")
            )
            if index is None or np.allclose(hand, index):
                continue
            palm = sign * np.cross(hand - wrist, index - hand)
            ours = turned[f"{side}_wrist"] @ np.array([0.0, -1.0, 0.0])
            worst.append((angle_between(ours, palm).mean(), name, side))
            assert np.mean(np.sum((turned[f"{side}_wrist"] @ np.array([0, 0, 1.0])) * (thumb - wrist), -1) > 0) > 0.95
    error, name, side = max(worst)
    figure(f"retarget real clips: {side} palm in {name}: mean {error:.1f} degrees")
    assert len(worst) >= 2 * 7
    assert error < 2.0


def test_statuses_of_real_clips_are_usable_but_for_faults_of_the_capture(real_clips, figure):
    bad, num_frames = 0, 0
    for name, (clip, found) in real_clips.items():
        is_bad = np.isin(found.status, (FitStatus.DIVERGED, FitStatus.NONFINITE))
        if is_bad.any():
            figure(f"retarget real clips: {name}: {is_bad.sum()} of {len(is_bad)} frames DIVERGED")
        if name in FAULTY:
            joint, least = FAULTY[name]
            turn = clip.rotations[:, clip.joint_names.index(joint)]
            assert np.degrees(Rotation.from_matrix(turn).magnitude()).max() > least
            continue
        assert is_bad.mean() <= 0.1, name
        bad, num_frames = bad + is_bad.sum(), num_frames + len(is_bad)
    figure(f"retarget real clips: {100 * bad / num_frames:.1f} % of the frames of sound clips DIVERGED")
    assert bad / num_frames < 0.05


def test_elbows_of_real_clips_bend_about_y(real_clips, figure):
    shares, worst = [], []
    for name, (clip, found) in real_clips.items():
        if not captures.find_convention(clip.joint_names).elbow_hinge_degrees:
            continue
        pose = np.asarray(found.params.full_pose(), np.float64)
        for side, sign in (("left", -1.0), ("right", 1.0)):
            elbow = pose[:, JOINTS.index(f"{side}_elbow")]
            angle = np.linalg.norm(elbow, axis=-1)
            # The forearm is pronated by the same angle all the time, so only elbows that are bent tell.
            if np.any(angle > 1.2):
                along = sign * elbow[angle > 1.2, 1] / angle[angle > 1.2]
                shares.append(along)
                worst.append((along.mean(), name, side))
    share, name, side = min(worst)
    figure(f"retarget real clips: elbow's axis along y {np.concatenate(shares).mean():.3f}, least {share:.3f} ({name})")
    assert share > 0.85


def test_soles_of_people_who_stand_are_level(reference_data, figure):
    """Says what `direction_error` cannot: whether the correction of the foot is right. Floors are level."""
    for take in ("09", "10"):
        clip = read_motion(reference_data / "mocap" / "cmu_bvh_30fps" / "salsa" / f"{take}.bvh")
        clip = clip.frames(np.arange(1, clip.num_frames))
        found = retarget(clip, open_body())
        world = world_rotations(np.asarray(found.params.full_pose(), np.float64))
        joints = np.asarray(open_body().joints(found.params), np.float64)
        for side in layouts.SIDES:
            ankle = JOINTS.index(f"{side}_ankle")
            speed = np.linalg.norm(np.gradient(joints[:, ankle], axis=0), axis=-1) * clip.frames_per_second
            stands = (speed < 0.15) & (joints[:, ankle, 1] < np.quantile(joints[:, ankle, 1], 0.4))
            pitch = np.degrees(np.median(np.arcsin(world[stands, ankle, 1, 2])))
            roll = np.degrees(np.median(np.arcsin(world[stands, ankle, 1, 0])))
            figure(
                f"retarget salsa/{take}: {side} sole of {stands.sum()} standing frames {pitch:.1f}, {roll:.1f} degrees"
            )
            assert stands.sum() > 100
            assert abs(pitch) < 5
            assert abs(roll) < 5


def test_forearms_without_a_wrist_go_on_as_the_upper_arms_do(reference_data):
    """DeepMimic's skeleton ends at the elbow and hangs its arms at rest, ours holds them out."""
    clip = read_motion(reference_data / "mocap" / "deepmimic" / "humanoid3d_walk.txt")
    found = retarget(clip, open_body())
    joints = np.asarray(open_body().joints(found.params), np.float64)
    turned = clip.rotations[:, [clip.joint_names.index(f"{side}_elbow") for side in layouts.SIDES]]
    bent = np.linalg.norm(Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_rotvec(), axis=-1).reshape(-1, 2)
    for column, side in enumerate(layouts.SIDES):
        shoulder, elbow, wrist = (joints[:, JOINTS.index(f"{side}_{part}")] for part in ("shoulder", "elbow", "wrist"))
        upper, lower = elbow - shoulder, wrist - elbow
        cosine = np.sum(upper * lower, -1) / np.linalg.norm(upper, axis=-1) / np.linalg.norm(lower, axis=-1)
        np.testing.assert_allclose(np.arccos(np.clip(cosine, -1, 1)), bent[:, column], atol=np.deg2rad(3))
        assert np.all(wrist[:, 1] < shoulder[:, 1])


# (e) Errors.


def test_empty_clip_is_refused(walk):
    with pytest.raises(RetargetError, match="no frames"):
        retarget(walk.frames(np.zeros(0, int)), open_body())


def test_unknown_skeleton_is_refused_and_what_is_missing_named(walk):
    names = tuple("Knie" if name == "LeftLeg" else name for name in walk.joint_names)
    with pytest.raises(RetargetError, match=r"'cmu' but has no joint LeftLeg"):
        retarget(dataclasses.replace(walk, joint_names=names), open_body())
    strange = dataclasses.replace(walk, joint_names=tuple(f"j{row}" for row in range(len(walk.joint_names))))
    with pytest.raises(RetargetError, match="no known convention"):
        retarget(strange, open_body())


@pytest.mark.slow
def test_one_frame_is_enough_and_input_stays(walk):
    clip = walk.frames(np.array([7]))
    kept = clip.rotations.copy()
    found = retarget(clip, open_body())
    assert found.params.transl.shape == (1, 3)
    np.testing.assert_array_equal(clip.rotations, kept)
