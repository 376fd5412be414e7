"""The motion lifter: what a frame can know of others, gaps, ends, mirrored clips, and the file that ships."""

import dataclasses
import json
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.data import splits
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.networks import lifter_file, motion_input, motion_lifter_file
from hardmo_jax.networks.lifter import NUM_SPREAD, LifterOptions
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.networks.motion_lifter import MotionLifterOptions
from hardmo_jax.networks.motion_lifter_file import MotionLifterFileError, TrainedMotionLifter, read_motion_lifter

FRAMES = 24
OPTIONS = MotionLifterOptions(width=16, hidden=24, gaps=(1, 2))


@pytest.fixture(scope="module")
def lifter():
    options = LifterOptions(width=16, blocks=1, guesses=2)
    return TrainedLifter(
        weights=lifter_file.initial_weights(options, 0), error_precision=np.eye(NUM_SPREAD, dtype=np.float32),
        options=options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    """Weights that do something: untrained ones answer with the lifter's guess."""
    weights = motion_lifter_file.initial_motion_weights(OPTIONS, 0)
    leaves, order = jax.tree.flatten(weights)
    rng = np.random.default_rng(0)
    leaves = [leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return TrainedMotionLifter(
        weights=jax.tree.unflatten(order, leaves), error_precision=np.eye(NUM_SPREAD, dtype=np.float32), options=OPTIONS
    )


def clip_of(seed=0, frames=FRAMES):
    rng = np.random.default_rng(seed)
    still = rng.uniform(300, 700, (1, 1, 65, 2))
    moving = still + np.cumsum(rng.normal(scale=3, size=(1, frames, 65, 2)), 1)
    return moving.astype(np.float32), np.ones((1, frames, 65), np.float32)


CAMERA = Camera(
    focal_length=np.full((1, 1, 2), 1000.0, np.float32), principal_point=np.full((1, 1, 2), 500.0, np.float32)
)
encode = jax.jit(motion_input.encode_clip)


@jax.jit
def answer(lifter, trained, points, confidence, camera, exists):
    return trained(motion_input.encode_clip(lifter, points, confidence, camera, exists))


def answered(lifter, trained, points, confidence, exists=None, camera=CAMERA):
    exists = np.ones(confidence.shape[:2], bool) if exists is None else exists
    return jax.tree.map(np.asarray, answer(lifter, trained, points, confidence, camera, exists))


@jax.jit
def run(trained, clip):
    return trained(clip)


def leaves_equal(first, second, at, atol):
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(one[:, at], other[:, at], atol=atol)


def test_untrained_answers_are_the_lifters(lifter):
    weights = motion_lifter_file.initial_motion_weights(OPTIONS, 0)
    blank = TrainedMotionLifter(weights=weights, error_precision=np.eye(NUM_SPREAD, dtype=np.float32), options=OPTIONS)
    points, confidence = clip_of()
    guess = encode(lifter, points, confidence, CAMERA).guess
    found = answered(lifter, blank, points, confidence).guess
    # Last layers begin small.
    assert np.abs(found.rotations - guess.rotations).mean() < 0.1
    assert np.abs(found.places - guess.places).mean() < 0.15


def test_features_are_as_many_as_declared(lifter):
    points, confidence = clip_of()
    clip = encode(lifter, points, confidence, CAMERA)
    assert clip.features.shape == (1, FRAMES, motion_input.NUM_FEATURES)
    assert np.isfinite(clip.features).all()


def test_a_frame_knows_its_neighbours_within_reach_and_nobody_else(lifter, trained):
    """The camera of the clip and its size are of all frames: they are held by putting the same middle in both clips."""
    points, confidence = clip_of()
    clip = encode(lifter, points, confidence, CAMERA)
    at, reach = 11, OPTIONS.reach
    assert reach == 2 * (1 + 2)

    def with_change(frame):
        features = np.array(clip.features)
        features[:, frame] += 1.0
        return jax.tree.map(np.asarray, run(trained, dataclasses.replace(clip, features=features)))

    base = jax.tree.map(np.asarray, run(trained, clip))
    far, near = with_change(at + reach + 1), with_change(at + reach)
    np.testing.assert_array_equal(base.contact_logits[:, at], far.contact_logits[:, at])
    assert np.abs(base.contact_logits[:, at] - near.contact_logits[:, at]).max() > 1e-6


def test_frames_that_fill_up_an_array_are_no_frames(lifter, trained):
    points, confidence = clip_of()
    short = answered(lifter, trained, points[:, :10], confidence[:, :10])
    exists = np.arange(FRAMES)[None] < 10
    empty = np.where(exists[..., None], confidence, 0)
    padded = answered(lifter, trained, points, empty, exists)
    leaves_equal(short, padded, slice(0, 10), 2e-5)


def test_a_gap_lies_between_what_is_around_it(lifter):
    points, confidence = clip_of()
    confidence[:, 8:12] = 0
    clip = encode(lifter, points, confidence, CAMERA)
    np.testing.assert_array_equal(clip.is_there[0], np.r_[np.ones(8, bool), np.zeros(4, bool), np.ones(12, bool)])
    betas = np.asarray(clip.guess.betas)[0]
    for step, frame in enumerate(range(8, 12), start=1):
        share = step / 5
        np.testing.assert_allclose(betas[frame], betas[7] + share * (betas[12] - betas[7]), atol=1e-5)
    turns = np.asarray(clip.guess.rotations)[0, 8:12, 0]
    identity = np.einsum("...ij,...kj->...ik", turns, turns)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-5)
    confidence[:] = 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(encode(lifter, points, confidence, CAMERA)))


def test_wherever_missing_points_are_said_to_be_changes_nothing(lifter, trained):
    points, confidence = clip_of()
    confidence[:, 5:7] = 0
    confidence[:, :, 3] = 0
    moved = np.where(confidence[..., None] > 0, points, 1e6).astype(np.float32)
    leaves_equal(
        answered(lifter, trained, points, confidence), answered(lifter, trained, moved, confidence), slice(None), 1e-5
    )


def test_a_turned_camera_turns_the_clip_as_a_whole(lifter):
    """Roots in the clip's camera, carried back, are those that the lifter gave frame by frame."""
    points, confidence = clip_of()
    clip = encode(lifter, points, confidence, CAMERA)
    rotation = np.asarray(clip.rotation)[0]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    seen = motion_input.lifter_input.encode(points[0], confidence[0], jax.tree.map(lambda leaf: leaf[0], CAMERA))
    alone = lifter(seen.features)
    back = jnp.einsum("ji,tjk->tik", rotation, clip.guess.rotations[0, :, 0, 0])
    expected = jnp.einsum("tji,tjk->tik", seen.rotation, alone.rotations[:, 0, 0])
    np.testing.assert_allclose(back, expected, atol=1e-4)


# ---- the file ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "motion_lifter.npz"
    motion_lifter_file.save_motion_lifter(path, trained, {"seed": 3})
    return path


def test_a_file_holds_what_was_saved(stored, trained, lifter):
    found, record = read_motion_lifter(stored.read_bytes(), source="x")
    assert record == {"seed": 3}
    assert found.options == OPTIONS
    points, confidence = clip_of()
    leaves_equal(
        answered(lifter, found, points, confidence), answered(lifter, trained, points, confidence), slice(None), 2e-2
    )


def changed(path, target, **arrays):
    with np.load(path) as file:
        held = {name: file[name] for name in file.files} | arrays
    np.savez(target, **{name: array for name, array in held.items() if array is not None})
    return target.read_bytes()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"meta": np.array("{")}, "not a motion lifter"),
        ({"meta": np.array(json.dumps({"format_version": 99, "options": {}, "record": {}}))}, "format 99"),
        ({"error_precision": np.eye(5)}, "error_precision"),
        ({"error_precision": -np.eye(NUM_SPREAD)}, "positive definite"),
        ({"weights.last.bias.value": np.zeros(3, np.float16)}, "shape"),
        ({"weights.last.bias.value": None}, "not a motion lifter"),
    ],
)
def test_damaged_files_are_refused_in_words(stored, tmp_path, arrays, words):
    with pytest.raises(MotionLifterFileError, match=words):
        read_motion_lifter(changed(stored, tmp_path / "bad.npz", **arrays), source="bad.npz")


def test_the_lifter_that_it_was_trained_on_is_kept_in_the_file(stored, trained, lifter, tmp_path):
    assert read_motion_lifter(stored.read_bytes(), source="x")[0].lifter_weights_sha256 is None
    own = dataclasses.replace(trained, lifter_weights_sha256=lifter.weights_sha256)
    motion_lifter_file.save_motion_lifter(tmp_path / "own.npz", own, {"seed": 3})
    found, record = read_motion_lifter((tmp_path / "own.npz").read_bytes(), source="x")
    assert found.lifter_weights_sha256 == lifter.weights_sha256
    assert record == {"seed": 3, "lifter_weights_sha256": lifter.weights_sha256}


@pytest.mark.parametrize("digest", [3, "", "8bf1", "g" * 64, ["a" * 64]])
def test_a_digest_that_is_none_is_refused(stored, tmp_path, digest):
    options = {"width": OPTIONS.width, "hidden": OPTIONS.hidden, "gaps": OPTIONS.gaps}
    record = {"lifter_weights_sha256": digest}
    meta = np.array(json.dumps({"format_version": 1, "options": options, "record": record}))
    with pytest.raises(MotionLifterFileError, match="lifter_weights_sha256"):
        read_motion_lifter(changed(stored, tmp_path / "bad.npz", meta=meta), source="bad.npz")


def test_another_lifter_is_refused_with_both_digests(trained, lifter):
    other = dataclasses.replace(lifter, weights=jax.tree.map(lambda leaf: leaf + 1, lifter.weights))
    own = dataclasses.replace(trained, lifter_weights_sha256=lifter.weights_sha256)
    own.check_lifter(lifter)
    trained.check_lifter(other)  # nothing is known of what it was trained on
    with pytest.raises(motion_lifter_file.OtherLifterError, match=r"pass .*tools\.train") as caught:
        own.check_lifter(other)
    assert lifter.weights_sha256 in str(caught.value)
    assert other.weights_sha256 in str(caught.value)


def test_the_two_that_ship_belong_together():
    motion_lifter = motion_lifter_file.packaged_motion_lifter()
    assert motion_lifter.lifter_weights_sha256 is not None
    motion_lifter.check_lifter(lifter_file.packaged_lifter())


def test_huge_networks_and_other_files_are_refused(stored, tmp_path):
    options = {"width": 10**9, "hidden": 4, "gaps": [1]}
    meta = np.array(json.dumps({"format_version": 1, "options": options, "record": {}}))
    with pytest.raises(MotionLifterFileError, match="no motion lifter"):
        read_motion_lifter(changed(stored, tmp_path / "bad.npz", meta=meta), source="bad.npz")
    with pytest.raises(MotionLifterFileError):
        read_motion_lifter(b"pickle me", source="bad.npz")


def test_the_package_holds_one_of_at_most_eight_megabytes_that_saw_no_held_out_take():
    asset = resources.files("hardmo_jax").joinpath("networks", "assets", "motion_lifter.npz")
    data = asset.read_bytes()
    assert len(data) <= 8_000_000
    found, record = read_motion_lifter(data, source="motion_lifter.npz")
    assert found.options == MotionLifterOptions()
    held_out = {
        f"{style}/{take}"
        for split in ("test", "validation")
        for style in splits.STYLES
        for take in splits.held_out_takes(split, style)
    }
    assert not set(record["takes"]) & held_out
    assert {take for takes in record["held_out"].values() for take in takes} == held_out
    assert record["minutes_of_last_run"] <= 60
    assert record["seed"] == 0


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="positive"):
        MotionLifterOptions(gaps=())
