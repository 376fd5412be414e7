"""Copies are found however they were made, and other clips of the same place are none."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.perception import duplicates
from hardmo_jax.perception.duplicates import DuplicateOptions, Fingerprint, compare_fingerprints, find_copies

STEPS = 24


def drawn(seed, scene=0):
    """64 x 64 pictures of two blobs that move before a scene."""
    rng = np.random.default_rng([7, scene])
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64), indexing="ij"))
    waves = rng.uniform(0.05, 0.3, (6, 2))
    scenery = sum(np.sin((wave[:, None, None] * grid).sum(0) + k) for k, wave in enumerate(waves))
    motion = np.random.default_rng([8, seed])
    speed, phase = motion.uniform(0.2, 0.9, (2, 2)), motion.uniform(0, 6, (2, 2))
    pictures = []
    for step in range(STEPS):
        picture = 120 + 20 * scenery
        for blob in range(2):
            place = 32 + 18 * np.sin(speed[blob] * step + phase[blob])
            near = ((grid - place[:, None, None]) ** 2).sum(0) < 60
            picture = np.where(near, 250 * blob, picture)
        pictures.append(np.clip(picture, 0, 255))
    return np.stack(pictures)


def squeezed(pictures, top=0, bottom=0, left=0, right=0):
    """A fingerprint of a crop, by cells of the square that it fills."""
    height, width = pictures.shape[1:]
    part = pictures[:, top : height - bottom, left : width - right]
    rows = (np.arange(32 * 8) * part.shape[1] // (32 * 8)).reshape(32, 8)
    columns = (np.arange(32 * 8) * part.shape[2] // (32 * 8)).reshape(32, 8)
    small = part[:, rows].mean(2)[:, :, columns].mean(3)
    return Fingerprint(pictures=small.astype(np.uint8), step_seconds=0.25, seconds=len(pictures) / 4)


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize(
    "crop", [{}, {"left": 8}, {"top": 9, "right": 6}, dict.fromkeys(("top", "bottom", "left", "right"), 9)]
)
def test_crops_and_mirrors_are_copies_whichever_is_the_original(crop, is_mirrored):
    pictures = drawn(1)
    one, other = squeezed(pictures), squeezed(pictures[..., ::-1] if is_mirrored else pictures, **crop)
    for pair in ((one, other), (other, one)):
        found = compare_fingerprints(*pair)
        assert found.is_copy
        assert found.is_mirrored == is_mirrored


def test_what_begins_later_is_a_copy_and_by_how_much_is_told():
    pictures = drawn(1)
    found = compare_fingerprints(squeezed(pictures), squeezed(pictures[6:]))
    assert (found.is_copy, found.shift_seconds) == (True, 1.5)
    assert compare_fingerprints(squeezed(pictures[6:]), squeezed(pictures)).shift_seconds == -1.5


def test_other_motion_in_the_same_place_is_no_copy():
    one, other = squeezed(drawn(1)), squeezed(drawn(2))
    found = compare_fingerprints(one, other)
    assert found.likeness > 0.8
    assert not found.is_copy


def test_photos_are_copies_only_if_they_agree_closely():
    first, second = drawn(1)[:1], drawn(2)[:1]
    assert compare_fingerprints(squeezed(first), squeezed(first[..., ::-1], left=8, top=5)).is_copy
    assert not compare_fingerprints(squeezed(first), squeezed(second)).is_copy
    assert not compare_fingerprints(squeezed(first), squeezed(drawn(1))).is_copy


def test_pictures_of_one_tone_are_copies_of_nothing():
    black = Fingerprint(pictures=np.zeros((4, 32, 32), np.uint8), step_seconds=0.25, seconds=1.0)
    assert not compare_fingerprints(black, black).is_copy


def test_pairs_among_many_are_found():
    prints = [squeezed(drawn(seed, scene)) for seed, scene in ((1, 0), (2, 0), (3, 1))]
    prints += [squeezed(drawn(3, 1)[..., ::-1], top=6), squeezed(drawn(1, 0), left=9)]
    assert [(first, second) for first, second, _ in find_copies(prints)] == [(0, 4), (2, 3)]
    assert find_copies(prints[:1]) == []


def test_a_fingerprint_is_kept_and_read(tmp_path):
    one = squeezed(drawn(1))
    path = tmp_path / "kept" / "a.npz"
    duplicates.write_fingerprint(path, one)
    again = duplicates.read_fingerprint(path)
    assert again is not None
    assert np.array_equal(again.pictures, one.pictures)
    assert (again.step_seconds, again.seconds, again.hash) == (0.25, 6.0, one.hash)
    assert duplicates.read_fingerprint(path, DuplicateOptions(step_seconds=0.5)) is None
    photo = dataclasses.replace(one, pictures=one.pictures[:1], seconds=None)
    duplicates.write_fingerprint(path, photo)
    assert duplicates.read_fingerprint(path).seconds is None


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 100])
def test_damaged_fingerprints_are_none(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    assert duplicates.read_fingerprint(tmp_path / "a.npz") is None
    assert duplicates.read_fingerprint(tmp_path / "absent.npz") is None


def test_the_hash_survives_small_changes_and_tells_scenes_apart():
    def bits(one):
        return int(one.hash, 16)

    one, noisy, other = squeezed(drawn(1)), squeezed(drawn(1) * 0.9 + 10), squeezed(drawn(3, 1))
    assert (bits(one) ^ bits(noisy)).bit_count() <= 4
    assert (bits(one) ^ bits(other)).bit_count() >= 16
