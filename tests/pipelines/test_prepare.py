"""Benchmarks from motion capture and from written poses: their sets, what they are made of, and repeatability."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from hardmo_jax.body import load
from hardmo_jax.data.detector_noise import DetectorNoise
from hardmo_jax.data.hard_set import load_hard_set
from hardmo_jax.data.sources.bvh import read_bvh
from hardmo_jax.labels import provenance
from hardmo_jax.pipelines import benchmark_motion
from hardmo_jax.pipelines.benchmark_motion import PrepareError
from hardmo_jax.pipelines.prepare import PrepareOptions, prepare_benchmark, read_benchmark
from hardmo_jax.recovery.captured_clip import SoundnessOptions, read_captured_clip

TAKES = {
    "martial": ("04", "07"), "indian": ("07", "08"), "salsa": ("09", "10", "11", "24", "25", "26"),
}  # fmt: skip
TEST_TAKES = {("martial", "07"), ("indian", "08"), *(("salsa", take) for take in ("10", "11", "25", "26"))}
NUM_FRAMES = 16
#: Every set holds twelve samples, so that one program serves all.
SAMPLES = 12
TINY = PrepareOptions(
    test_frames=4, validation_frames=4, test_windows=1, window_frames=4, tail_frames=12, tail_shares=(0.1, 0.3)
)
TINY_SYNTH = dataclasses.replace(
    TINY, benchmark="synth_hard", test_frames=6, validation_frames=6, test_windows=2, window_frames=3
)
NAMES = (
    "test", "validation", "video", "hand_p1", "hand_p2", "foot_p1", "foot_p2", "stress_swaps", "stress_limb_lost",
    "stress_truncated", "stress_noise_doubled", "stress_focal_length", "video_correlated",
)  # fmt: skip


def cut(source, target, change=None, num_frames=NUM_FRAMES):
    """The first frames of a BVH file; `change` is given the motion's numbers."""
    head, _, motion = source.read_text().partition("MOTION")
    lines = motion.split("\n")
    rows = np.array([[float(word) for word in line.split()] for line in lines[3:] if line.strip()][:num_frames])
    if change is not None:
        change(rows)
    text = "\n".join(" ".join(f"{number:.4f}" for number in row) for row in rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f"{head}MOTION\nFrames: {len(rows)}\n{lines[2]}\n{text}\n")


def cut_all(mocap, folder, change=None):
    for style, takes in TAKES.items():
        for take in takes:
            cut(mocap / style / f"{take}.bvh", folder / style / f"{take}.bvh", change)
    return folder


@pytest.fixture(scope="module")
def mocap(reference_data):
    return reference_data / "mocap" / "cmu_bvh_30fps"


@pytest.fixture(scope="module")
def short(mocap, tmp_path_factory):
    return cut_all(mocap, tmp_path_factory.mktemp("mocap"))


@pytest.fixture(scope="module")
def prepared(short, tmp_path_factory):
    output = tmp_path_factory.mktemp("mocap_hard")
    steps = []
    entries = prepare_benchmark(TINY, output, mocap=short, progress=lambda *step: steps.append(step))
    return output, entries, steps


@pytest.fixture(scope="module")
def synth(tmp_path_factory):
    output = tmp_path_factory.mktemp("synth_hard")
    return output, prepare_benchmark(TINY_SYNTH, output), TINY_SYNTH


def sets_of(output):
    return {path.stem: load_hard_set(path) for path in sorted(output.glob("*.npz"))}


def check_files(output, entries, benchmark):
    expected = dict.fromkeys(NAMES, SAMPLES)
    assert [entry.name for entry in entries] == [f"{benchmark}/{name}" for name in NAMES]
    found = sets_of(output)
    assert {name: len(one) for name, one in found.items()} == expected
    assert read_benchmark(output) == {
        f"{benchmark}/{name}": provenance.file_sha256(output / f"{name}.npz") for name in NAMES
    }
    for entry in entries:
        path = output / f"{entry.name.partition('/')[2]}.npz"
        assert (entry.samples, entry.num_bytes) == (len(found[path.stem]), path.stat().st_size)
        assert entry.sha256 == provenance.file_sha256(path)
    for name, one in found.items():
        assert one.name == f"{benchmark}/{name}"
        assert all(sample.startswith(f"{one.name}/") for sample in one.ids)
    assert len({sample for one in found.values() for sample in one.ids}) == sum(expected.values())


def test_sets_of_motion_capture_have_their_names_and_sizes(prepared):
    output, entries, _ = prepared
    check_files(output, entries, "mocap_hard")


def test_sets_of_written_poses_have_their_names_and_sizes_and_need_no_folder(synth):
    output, entries, _ = synth
    check_files(output, entries, "synth_hard")


def test_record_tells_what_was_asked(prepared):
    record = json.loads((prepared[0] / "benchmark.json").read_text())
    assert record["config"]["staging"]["noise"]["missing"] == 0.05
    assert record["config"]["seed"] == 0
    assert record["results"]["benchmark"] == "mocap_hard"


def test_progress_is_told(prepared):
    steps = prepared[2]
    assert ("retarget", 10, 10) in steps
    assert steps[-1] == ("sets", 13, None)


def test_test_sets_hold_test_takes_and_validation_the_others(prepared):
    for name, found in sets_of(prepared[0]).items():
        takes = set(zip(found.styles, found.takes, strict=True))
        if name == "validation":
            assert takes <= {(style, take) for style, names in TAKES.items() for take in names} - TEST_TAKES
        else:
            assert takes <= TEST_TAKES


def test_first_frame_is_never_used_and_the_same_seed_gives_the_same_files(prepared, mocap, tmp_path):
    """The second benchmark is made of files whose first frame is another one."""

    def spoil(rows):
        rows[0] = 57.0

    folder = cut_all(mocap, tmp_path / "mocap", spoil)
    assert read_bvh(folder / "salsa" / "10.bvh").translations[0, 0, 0] == pytest.approx(0.57)
    prepare_benchmark(TINY, tmp_path / "out", mocap=tmp_path)
    assert read_benchmark(tmp_path / "out") == read_benchmark(prepared[0])


def test_frames_are_numbered_as_in_the_file(prepared, mocap):
    for found in sets_of(prepared[0]).values():
        assert found.frames.min() >= 1
        assert found.frames.max() <= NUM_FRAMES - 1
    # The pelvis of the window goes as in the file, up to the size of the person and the camera.
    video = sets_of(prepared[0])["video"]
    assert set(video.windows) == {0, 1, 2}
    for window in range(3):
        rows = np.flatnonzero(video.windows == window)
        assert np.all(np.diff(video.frames[rows]) == 1)
        clip = read_bvh(mocap / video.styles[rows[0]] / f"{video.takes[rows[0]]}.bvh").frames(video.frames[rows])
        turned, _ = clip.world_motion()
        hips = [name for name in clip.joint_names if name in ("hip", "Hips")]
        ours = turn_angles(rotation_of(np.asarray(video.params.global_orient)[rows]))
        theirs = turn_angles(turned[:, clip.joint_names.index(hips[0])])
        np.testing.assert_allclose(ours, theirs, atol=1.5)


def rotation_of(axis_angle):
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(np.asarray(axis_angle, np.float64)).as_matrix()


def turn_angles(turned):
    """Angle from the first frame to each, degrees."""
    relative = np.swapaxes(turned[:1], 1, 2) @ turned
    return np.degrees(np.arccos(np.clip((np.trace(relative, axis1=1, axis2=2) - 1) / 2, -1, 1)))


def captured(path, style, rate):
    return read_captured_clip(
        path, style, load.open_body(view="smpl"), frames_per_second=rate, soundness=SoundnessOptions()
    )


def from_mocap(tail_shares=(0.05, 0.15)):
    """A source whose clips a test puts in."""
    source = object.__new__(benchmark_motion.FromMocap)
    source.seed, source.frames_per_second, source.tail_shares = 0, 30.0, tail_shares
    return source


def test_a_file_at_full_rate_gives_the_frames_of_a_thinned_copy(mocap, tmp_path):
    """The first frame of a file is a rest pose: it goes after thinning, else other frames are left."""
    cut(mocap / "martial" / "07.bvh", tmp_path / "full" / "07.bvh", num_frames=45)
    full = captured(tmp_path / "full" / "07.bvh", "martial", 10.0)
    np.testing.assert_array_equal(full.frames, np.arange(3, 45, 3))
    np.testing.assert_allclose(full.seconds, full.frames / 30, rtol=1e-4)


def test_partners_of_a_dance_are_one_group(mocap, tmp_path):
    clips = []
    for take in ("10", "25"):
        cut(mocap / "salsa" / f"{take}.bvh", tmp_path / f"{take}.bvh", num_frames=40)
        clips.append(captured(tmp_path / f"{take}.bvh", "salsa", 30.0))
    assert clips[0].group(3) == clips[1].group(3) == "salsa-10-0"
    assert clips[0].group(35) == "salsa-10-1"


def test_rates_are_thinned_and_frames_numbered_still(mocap, tmp_path):
    cut(mocap / "martial" / "07.bvh", tmp_path / "martial" / "07.bvh", num_frames=45)
    clip = captured(tmp_path / "martial" / "07.bvh", "martial", 10.0)
    np.testing.assert_array_equal(clip.frames, np.arange(3, 45, 3))
    assert len(clip.body_pose) == len(clip.is_sound) == 14


def test_wrong_rate_of_original_salsa_files_is_mended(mocap, tmp_path):
    source, target = tmp_path / "a.bvh", tmp_path / "salsa" / "10.bvh"
    source.write_text((mocap / "salsa" / "10.bvh").read_text().replace("0.0333333", "0.0083333"))
    cut(source, target, num_frames=31)
    clip = captured(target, "salsa", 30.0)
    np.testing.assert_array_equal(clip.frames, np.arange(2, 31, 2))
    np.testing.assert_allclose(clip.seconds, clip.frames / 60, rtol=1e-3)


def test_frames_in_which_the_capture_is_broken_are_left_out(mocap, tmp_path):
    """In takes 06 and 07 of salsa the head is on back to front."""
    cut(mocap / "salsa" / "06.bvh", tmp_path / "salsa" / "06.bvh")
    broken = captured(tmp_path / "salsa" / "06.bvh", "salsa", 30.0)
    assert not broken.is_sound.any()
    cut(mocap / "salsa" / "10.bvh", tmp_path / "salsa" / "10.bvh")
    sound = captured(tmp_path / "salsa" / "10.bvh", "salsa", 30.0)
    assert sound.is_sound.all()
    source = from_mocap()
    half = dataclasses.replace(sound, is_sound=np.arange(len(sound.pelvis)) % 8 < 4)
    clips = [dataclasses.replace(clip, style=style) for clip in (half, broken) for style in TAKES]
    source.clips = {"test": clips, "validation": []}
    assert set(source.frames("test", 20).frames.ravel()) <= set(sound.frames[half.is_sound])
    assert {tuple(row) for row in source.windows(5, 4).frames} == {(1, 2, 3, 4), (9, 10, 11, 12)}
    with pytest.raises(PrepareError, match="5 sound frames in a row"):
        source.windows(2, 5)
    with pytest.raises(PrepareError, match="no validation take of martial"):
        source.frames("validation", 2)


def wrist_angles(found):
    pose = np.asarray(found.params.full_pose(), np.float64)
    return np.linalg.norm(pose[:, 20:22], axis=-1).max(axis=-1)


def foot_angles(found):
    angle = np.linalg.norm(np.asarray(found.params.full_pose(), np.float64), axis=-1)
    return np.maximum(angle[:, 7] + angle[:, 10], angle[:, 8] + angle[:, 11])


@pytest.mark.parametrize("which", ["prepared", "synth"])
def test_p1_is_harder_than_p2(which, request, figure):
    found = sets_of(request.getfixturevalue(which)[0])
    for limb, measure in (("hand", wrist_angles), ("foot", foot_angles)):
        first, second = (np.degrees(measure(found[f"{limb}_{part}"])) for part in ("p1", "p2"))
        figure(f"prepare {which}: {limb} P1 {first.min():.0f} to {first.max():.0f} degrees, P2 {second.min():.0f} to "
               f"{second.max():.0f}")  # fmt: skip
        # Feet are ranked by style: one dancer's habit would be the whole set else.
        by_style = limb == "foot" and which == "prepared"
        styles = [np.array(found[f"{limb}_{part}"].styles) for part in ("p1", "p2")]
        for style in sorted(set(styles[0])) if by_style else [None]:
            hard, less = (
                angles if style is None else angles[names == style]
                for angles, names in zip((first, second), styles, strict=True)
            )
            assert hard.min() > less.max() - 1e-3
        assert second.mean() > np.degrees(measure(found["test"])).mean()


def test_stress_sets_are_the_people_of_the_test_set_seen_otherwise(prepared):
    found = sets_of(prepared[0])
    for name, one in found.items():
        if name.startswith("stress"):
            np.testing.assert_array_equal(one.true_keypoints_2d, found["test"].true_keypoints_2d)
            np.testing.assert_array_equal(one.params.body_pose, found["test"].params.body_pose)
            assert np.any(one.keypoints_2d != found["test"].keypoints_2d)
    ratio = found["stress_focal_length"].assumed_camera.focal_length / found["test"].camera.focal_length
    np.testing.assert_allclose(np.maximum(ratio, 1 / ratio), 1.2, rtol=1e-5)
    np.testing.assert_array_equal(found["video_correlated"].true_keypoints_2d, found["video"].true_keypoints_2d)
    np.testing.assert_array_equal(found["video_correlated"].windows, found["video"].windows)


def test_truncated_set_hides_a_part_of_everybody(prepared):
    found = sets_of(prepared[0])
    lost = {name: np.mean(found[name].confidence == 0, axis=-1) for name in ("test", "stress_truncated")}
    assert lost["stress_truncated"].mean() > lost["test"].mean() + 0.1


def test_another_seed_gives_other_people(synth, tmp_path):
    output, _, options = synth
    again = dataclasses.replace(options, seed=1)
    prepare_benchmark(again, tmp_path)
    ours, theirs = read_benchmark(output), read_benchmark(tmp_path)
    assert ours.keys() == theirs.keys()
    assert not set(ours.values()) & set(theirs.values())
    one, other = (load_hard_set(folder / "test.npz") for folder in (output, tmp_path))
    assert not np.any(one.params.betas == other.params.betas)


def test_without_motion_capture_the_message_says_where_to_get_it(tmp_path):
    for folder in (None, tmp_path / "nowhere", tmp_path):
        with pytest.raises(PrepareError, match=r"Auto_Conditioned_RNN_motion.*HARDMO_DATA.*synth_hard") as caught:
            prepare_benchmark(TINY, tmp_path / "out", mocap=folder)
        assert "no folder was given" in str(caught.value) or str(folder) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_take_is_named_before_any_work(short, tmp_path):
    for style in TAKES:
        (tmp_path / style).mkdir()
        for path in (short / style).iterdir():
            if path.name != "25.bvh":
                (tmp_path / style / path.name).symlink_to(path)
    with pytest.raises(PrepareError, match=r"salsa: take 25\.bvh is missing.*CMU"):
        prepare_benchmark(TINY, tmp_path / "out", mocap=tmp_path)
    assert not (tmp_path / "out").exists()


def test_folder_is_found_just_below_the_given_one(tmp_path):
    for style in TAKES:
        (tmp_path / "mocap" / "cmu_bvh_30fps" / style).mkdir(parents=True)
    expected = tmp_path / "mocap" / "cmu_bvh_30fps"
    for given in (tmp_path, tmp_path / "mocap", expected):
        assert benchmark_motion.find_mocap(given) == expected
    assert benchmark_motion.find_mocap(None) is None
    assert benchmark_motion.find_mocap(tmp_path / "mocap" / "cmu_bvh_30fps" / "salsa") is None


def test_unfinished_benchmark_is_not_taken_for_a_finished_one(synth, tmp_path):
    output, _, options = synth
    (tmp_path / "benchmark.json").write_bytes((output / "benchmark.json").read_bytes())
    assert read_benchmark(tmp_path)

    class StopError(Exception):
        pass

    def stop(stage, done, total):
        raise StopError

    with pytest.raises(StopError):
        prepare_benchmark(dataclasses.replace(options, seed=2), tmp_path, progress=stop)
    assert (tmp_path / "test.npz").is_file()
    assert read_benchmark(tmp_path) == {}


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"results": 3}', '{"results": {"sets": [{}]}}', "\udcff"])
def test_no_or_foreign_record_is_no_benchmark(content, tmp_path):
    if content is not None:
        (tmp_path / "benchmark.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert read_benchmark(tmp_path) == {}


@pytest.mark.parametrize(
    "options", [{"test_frames": 0}, {"window_frames": 0}, {"tail_shares": (0.2, 0.1)}, {"tail_shares": (0.0, 0.1)}]
)
def test_options_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        PrepareOptions(**options)


def test_hardest_share_of_too_few_frames_is_refused_in_words(mocap, tmp_path):
    cut(mocap / "martial" / "07.bvh", tmp_path / "07.bvh")
    clip = captured(tmp_path / "07.bvh", "martial", 30.0)
    source = from_mocap(tail_shares=(0.001, 0.2))
    source.clips = {"test": [dataclasses.replace(clip, style=style) for style in TAKES], "validation": []}
    with pytest.raises(PrepareError, match="`tail_shares`"):
        source.tail("foot", (0.0, 0.001), 4)


def test_default_noise_of_stress_sets_is_worse_in_one_way():
    plain, stress = DetectorNoise(), PrepareOptions().stress
    for name in ("swaps", "limb_lost", "truncated", "noise_doubled"):
        changed = {
            field.name
            for field in dataclasses.fields(plain)
            if getattr(getattr(stress, name), field.name) != getattr(plain, field.name)
        }
        assert changed in ({"swap_all", "swap_legs"}, {"lose_limb"}, {"cut"}, {"body_spread", "extremity_spread"})


def test_folder_may_be_given_as_the_data_folder(reference_data):
    found = benchmark_motion.find_mocap(pathlib.Path(reference_data))
    assert found is not None
    assert found.name == "cmu_bvh_30fps"


def test_p2_is_spread_over_its_whole_share():
    """Up to 90 % of all poses, P2 reaches far below the middle."""
    source = benchmark_motion.FromKeyPoses(seed=0, frames_per_second=30.0, tail_shares=(0.05, 0.9))
    for limb, measure in (
        ("foot", benchmark_motion._foot_angle),
        ("hand", lambda pose: np.linalg.norm(pose[20:22], axis=-1).max()),
    ):
        hard, middle = (
            [measure(pose) for pose in motion.full_pose[:, 0, :22]]
            for motion in (source.tail(limb, (0.05, 0.9), 40), source.frames("test", 200))
        )
        assert np.min(hard) < np.quantile(middle, 0.35)
        assert len(hard) == 40
