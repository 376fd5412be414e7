"""Poses for training: every take that may be learnt from, and no other."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.data import splits
from hardmo_jax.data.motion_pool import MotionPool, MotionPoolError, load_motion_pool
from hardmo_jax.data.pose_pool import PosePoolError, load_pose_pool
from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.pipelines import training_poses
from hardmo_jax.pipelines.benchmark_motion import PrepareError
from hardmo_jax.pipelines.training_poses import collect_poses, training_files
from hardmo_jax.skeleton import joint_limits
from tests.pipelines.test_prepare import cut

HELD_OUT = {
    (style, take)
    for split in ("test", "validation")
    for style in splits.STYLES
    for take in splits.held_out_takes(split, style)
}
#: Short pieces of these stand in for all that the shared data hold.
TAKES = {"martial": "03", "indian": "04", "salsa": "01"}


@pytest.fixture
def tree(tmp_path):
    """Thirty takes of each style, other folders beside them, and what else lies about; files are empty."""
    main = tmp_path / "mocap" / "cmu_bvh_30fps"
    for style in splits.STYLES:
        (main / style).mkdir(parents=True)
        for number in range(1, 31):
            (main / style / f"{number:02d}.bvh").touch()
        (main / style / "readme.txt").touch()
        (main / style / "07.bvh.bak").touch()
    for folder, name in (
        ("cmu_bvh_30fps/s12", "cmu_12_01_walk.bvh"), ("cmu_amc/01", "01_02.amc"), ("cmu_amc/01", "01.asf"),
        ("cmu_amc/03", "03_01.amc"), ("cmu_amc/135", "135_07.amc"), ("deepmimic", "humanoid3d_spin.txt"),
        ("deepmimic", "LICENSE"), ("isaacgym_amp", "amp.npy"), ("cmu_bvh/s131", "131_01.bvh"),
    ):  # fmt: skip
        (tmp_path / "mocap" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "mocap" / folder / name).touch()
    return tmp_path


def test_no_take_of_test_or_validation_is_listed(tree):
    found = training_files(tree)
    listed = {(style, path.stem) for style, path in found}
    assert not listed & HELD_OUT
    expected = {(style, f"{number:02d}") for style in splits.STYLES for number in range(1, 31)} - HELD_OUT
    assert {pair for pair in listed if pair[0] in splits.STYLES} == expected
    for style, path in found:
        if style in splits.STYLES:
            assert path.parent.name == style
            assert path.suffix == ".bvh"


def test_other_folders_are_those_that_are_named_and_only_their_motion(tree):
    others = [(style, path.name) for style, path in training_files(tree) if style not in splits.STYLES]
    assert others == [
        ("cmu_amc/01", "01_02.amc"), ("cmu_amc/03", "03_01.amc"), ("deepmimic", "humanoid3d_spin.txt")
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["135_07.amc", "94_8.amc", "060_10.amc", "61_10-30fps.amc"])
def test_performers_of_the_held_out_takes_are_refused_in_other_folders(tree, name):
    """The CMU database holds the same takes under the numbers of the performers."""
    (tree / "mocap" / "cmu_amc" / "03" / name).touch()
    with pytest.raises(PrepareError, match=f"{name} shows a performer"):
        training_files(tree)


def test_the_order_is_fixed_and_the_folder_may_be_given_from_above(tree):
    found = training_files(tree)
    assert found == training_files(tree / "mocap") == training_files(tree / "mocap" / "cmu_bvh_30fps")
    assert [style for style, _ in found[:1]] == ["martial"]
    of_salsa = [path.name for style, path in found if style == "salsa"]
    assert of_salsa == sorted(of_salsa)


def test_a_take_under_another_spelling_does_not_pass_for_training(tree):
    folder = tree / "mocap" / "cmu_bvh_30fps" / "martial"
    (folder / "07.bvh").rename(folder / "7.bvh")
    with pytest.raises(splits.SplitError, match="two digits"):
        training_files(tree)


def test_without_motion_capture_the_message_says_where_to_get_it(tmp_path):
    (tmp_path / "martial").mkdir()
    with pytest.raises(PrepareError, match=r"folders martial, indian, salsa.*does not hold it.*mocap"):
        training_files(tmp_path)
    with pytest.raises(PrepareError):
        collect_poses(tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


# ---- pools of real motion ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short(reference_data, tmp_path_factory):
    """Short pieces of three takes; what is held out is there too, and would break whoever reads it."""
    folder = tmp_path_factory.mktemp("short") / "cmu_bvh_30fps"
    for style, take in TAKES.items():
        cut(reference_data / "mocap" / "cmu_bvh_30fps" / style / f"{take}.bvh", folder / style / f"{take}.bvh")
    for style, take in HELD_OUT:
        (folder / style / f"{take}.bvh").write_text("this is held out")
    (folder.parent / "deepmimic").mkdir()
    (folder.parent / "deepmimic" / "broken.txt").write_text("{")
    return folder


@pytest.fixture(scope="module")
def collected(short, tmp_path_factory):
    cache, steps = tmp_path_factory.mktemp("cache"), []
    pool, path = collect_poses(short, cache, progress=lambda *step: steps.append(step))
    return pool, path, steps, cache


def test_a_pool_holds_sound_poses_of_all_takes_for_training(collected):
    pool, path, _, _ = collected
    assert dict(zip(pool.styles, pool.takes, strict=True)) == TAKES
    # Sixteen frames, of which the first is no motion.
    assert np.bincount(pool.take_of).max() <= 15
    limits = joint_limits.joint_limits(training_poses.captured_clip.JOINTS[1:])
    wrists = np.array([joint.endswith("wrist") for joint in training_poses.captured_clip.JOINTS[1:]])
    beyond = np.maximum(limits.low - pool.body_pose[:, 1:], pool.body_pose[:, 1:] - limits.high)[:, ~wrists]
    assert np.degrees(beyond.max()) < 20.1
    stored = load_pose_pool(path)
    np.testing.assert_allclose(stored.body_pose, pool.body_pose, atol=1e-6)


def test_progress_is_told_take_by_take(collected):
    _, _, steps, _ = collected
    assert steps == [("retarget", done, 4) for done in range(5)]


def test_a_stored_pool_is_taken_again(collected, short):
    pool, path, _, cache = collected
    steps = []
    again, where = collect_poses(short, cache, progress=lambda *step: steps.append(step))
    assert where == path
    assert not steps
    np.testing.assert_allclose(again.body_pose, pool.body_pose, atol=1e-6)
    assert (again.styles, again.takes) == (pool.styles, pool.takes)


def test_a_damaged_pool_is_made_again(collected, short, tmp_path):
    pool, path, _, _ = collected
    (tmp_path / path.name).write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PosePoolError):
        load_pose_pool(tmp_path / path.name)
    again, where = collect_poses(short, tmp_path)
    assert where == tmp_path / path.name
    np.testing.assert_array_equal(again.body_pose, pool.body_pose)
    np.testing.assert_allclose(load_pose_pool(where).body_pose, pool.body_pose, atol=1e-6)


def test_other_files_and_another_rate_make_another_pool(collected, short, tmp_path, monkeypatch):
    """Names of pools, without the work of making them."""
    _, path, _, _ = collected
    monkeypatch.setattr(training_poses, "_clips", lambda files, rate, body, progress: map(still_clip, files))
    _, half = collect_poses(short, tmp_path, frames_per_second=15.0)
    assert half.name != path.name
    more = tmp_path / "cmu_bvh_30fps"
    for style, take in TAKES.items():
        (more / style).mkdir(parents=True)
        (more / style / f"{take}.bvh").write_text("another size")
    _, other = collect_poses(more, tmp_path)
    assert other.name not in (path.name, half.name)


def still_clip(file):
    style, path = file
    return training_poses.CapturedClip(
        style=style, take=path.stem, dance=path.stem, body_pose=np.zeros((2, 22, 3)), pelvis=np.zeros((2, 3)),
        frames=np.arange(2), seconds=np.arange(2) / 30, is_sound=np.ones(2, bool),
    )  # fmt: skip


def test_motion_is_the_runs_of_sound_frames_of_the_takes_for_training(short, tmp_path, monkeypatch):
    monkeypatch.setattr(training_poses, "_SHORTEST_RUN", 5)
    read = training_poses.captured_clip.read_captured_clip
    clips = []

    def broken(path, style, body, **settings):
        """Frame 7 is not sound; before it are seven frames, after it at most seven."""
        clip = read(path, style, body, **settings)
        clips.append(dataclasses.replace(clip, is_sound=np.arange(len(clip.is_sound)) != 7))
        return clips[-1]

    monkeypatch.setattr(training_poses.captured_clip, "read_captured_clip", broken)
    pool, path = training_poses.collect_motion(short, tmp_path)
    assert dict(zip(pool.styles, pool.takes, strict=True)) == TAKES
    assert set(pool.run_lengths[::2]) == {7}
    first = pool.body_pose[: pool.run_lengths[0]]
    np.testing.assert_array_equal(first, clips[0].body_pose[:7])
    np.testing.assert_array_equal(pool.pelvis[: pool.run_lengths[0]], clips[0].pelvis[:7])
    stored = load_motion_pool(path)
    np.testing.assert_allclose(stored.body_pose, pool.body_pose, atol=1e-6)
    np.testing.assert_array_equal(stored.run_lengths, pool.run_lengths)
    assert (stored.styles, stored.takes, stored.frames_per_second) == (pool.styles, pool.takes, 30.0)
    again, where = training_poses.collect_motion(short, tmp_path)
    assert where == path
    assert len(clips) == len(TAKES), "what is stored is not read again"
    np.testing.assert_allclose(again.body_pose, pool.body_pose, atol=1e-6)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MotionPoolError, match="not a pool of motion"):
        load_motion_pool(path)


def test_a_pool_of_motion_refuses_takes_that_are_held_out():
    style, take = sorted(HELD_OUT)[0]
    with pytest.raises(splits.SplitError):
        MotionPool(
            body_pose=np.zeros((9, 22, 3)), pelvis=np.zeros((9, 3)), run_lengths=np.array([9]), take_of=np.array([0]),
            styles=(style,), takes=(take,), frames_per_second=30.0,
        )  # fmt: skip


def test_a_broken_take_of_the_three_styles_is_not_passed_over(short, tmp_path):
    folder = tmp_path / "cmu_bvh_30fps"
    for style, take in TAKES.items():
        (folder / style).mkdir(parents=True)
        (folder / style / f"{take}.bvh").write_text("no motion")
    with pytest.raises(MotionFileError):
        collect_poses(folder, tmp_path / "cache")


def test_frames_that_are_not_sound_are_left_out(collected, short, tmp_path, monkeypatch):
    pool, _, _, _ = collected
    read = training_poses.captured_clip.read_captured_clip

    def broken(path, style, body, **settings):
        clip = read(path, style, body, **settings)
        keeps = (np.arange(len(clip.is_sound)) % 3 == 0) & (style != "salsa")
        return dataclasses.replace(clip, is_sound=keeps)

    monkeypatch.setattr(training_poses.captured_clip, "read_captured_clip", broken)
    found, _ = collect_poses(short, tmp_path)
    assert found.styles == ("martial", "indian"), "a take without a sound frame is no take"
    np.testing.assert_array_equal(found.body_pose[found.take_of == 0], pool.body_pose[pool.take_of == 0][::3])
