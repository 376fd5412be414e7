"""Cuts of clips that are made: every one is found, and motion, pans and flashes of the camera are none."""

import dataclasses
import pathlib

import cv2
import numpy as np
import pytest

from hardmo_jax.perception import shots
from hardmo_jax.perception.people import PixelSource, numbered_on
from hardmo_jax.perception.video import Frame, open_media
from hardmo_jax.pipelines import demo_clip
from tests.perception.test_fuse import standing
from tests.perception.test_fused_source import person


def frames_of(images):
    return [
        Frame(image=image, source_path=pathlib.Path("a.mp4"), source_sha256="", frame_index=at, position=at,
              time_seconds=at / 25)
        for at, image in enumerate(images)
    ]  # fmt: skip


def scene(rng, size=(90, 160)):
    """A room of coloured patches."""
    patches = rng.integers(30, 225, (6, 8, 3), dtype=np.uint8)
    return np.kron(patches, np.ones((size[0] // 6, size[1] // 8, 1), np.uint8))


def moving(rng, count, pan=0):
    """A scene with a bright square that runs through it, before a camera that may pan."""
    base = scene(rng)
    images = []
    for at in range(count):
        image = np.roll(base, pan * at, axis=1).copy()
        x = 5 + 3 * at % 120
        image[30:70, x : x + 25] = 240
        images.append(np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8))
    return images


def cuts_of(images):
    return [frame.position for frame in shots.with_shots(frames_of(images)) if frame.starts_shot]


@pytest.mark.parametrize("lengths", [(20, 20), (6, 9, 30, 7), (15, 6, 6, 6, 15), (40,)])
@pytest.mark.parametrize("pan", [0, 2])
def test_all_cuts_are_found_and_nothing_else(rng, lengths, pan):
    images = [image for length in lengths for image in moving(rng, length, pan)]
    assert cuts_of(images) == np.cumsum(lengths[:-1]).tolist()


@pytest.mark.parametrize("lengths", [(20, 4, 20), (4, 4, 4, 4, 20), (20, 3, 20), (20, 2), (20, 1)])
def test_short_shots_and_cuts_near_the_end_are_found(rng, lengths):
    images = [image for length in lengths for image in moving(rng, length)]
    assert cuts_of(images) == np.cumsum(lengths[:-1]).tolist()


@pytest.mark.parametrize("size", [(160, 90), (80, 45)])
def test_another_size_is_another_shot(rng, size):
    images = moving(rng, 24)
    assert cuts_of(images[:12] + [cv2.resize(image, size[::-1]) for image in images[12:]]) == [12]


def test_frames_come_unchanged_and_in_order(rng):
    frames = frames_of(moving(rng, 12))
    marked = list(shots.with_shots(iter(frames)))
    assert [one.position for one in marked] == list(range(12))
    assert all(a.image is b.image for a, b in zip(frames, marked, strict=True))
    assert list(shots.with_shots(iter(frames[:1]))) == frames[:1]
    assert list(shots.with_shots(iter([]))) == []


def test_frames_are_held_back_by_two_and_no_more(rng):
    asked = []

    def source():
        for frame in frames_of(moving(rng, 10)):
            asked.append(frame.position)
            yield frame

    for frame in shots.with_shots(source()):
        assert max(asked) <= frame.position + 2


def test_cut_of_the_demo_is_found():
    media = open_media(demo_clip.ASSETS / demo_clip.CLIP)
    cuts = [frame.position for frame in shots.with_shots(media.frames(start=60)) if frame.starts_shot]
    assert cuts == [demo_clip.CUT]


# ---- jumps within one place ------------------------------------------------------------------------------------


def walkers(rng, room, places, count, pace=2):
    """People of flat colours who walk before one room."""
    colours = rng.integers(0, 255, (len(places), 2, 3))
    images = []
    for at in range(count):
        image = room.copy()
        for place, (shirt, trousers) in zip(places, colours, strict=True):
            x = place + pace * at
            image[30:60, x : x + 16], image[60:85, x : x + 16] = shirt, trousers
        images.append(np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8))
    return images


def test_other_people_in_the_same_room_are_another_shot(rng):
    room = scene(rng, (120, 160))
    shots_of_room = [walkers(rng, room, places, 15) for places in ((10, 60), (30, 100), (5, 80))]
    assert cuts_of([image for shot in shots_of_room for image in shot]) == [15, 30]


def test_a_jump_in_time_is_a_cut_and_a_start_is_none(rng):
    room = scene(rng, (120, 160))
    walk = walkers(rng, room, (5, 40), 50)
    assert cuts_of(walk) == []
    assert cuts_of(walk[:12] + walk[36:]) == [12]
    # Stands, and then walks.
    assert cuts_of(walkers(rng, room, (5, 40), 12, pace=0) + walkers(rng, room, (5, 40), 1)) == []


@pytest.mark.parametrize("times", [2, 3])
def test_frames_that_are_shown_several_times_are_no_jumps(rng, times):
    room = scene(rng, (120, 160))
    walk = walkers(rng, room, (5, 40), 12, pace=6)
    assert cuts_of([image for image in walk for _ in range(times)]) == []


def test_a_flash_is_no_cut(rng):
    walk = walkers(rng, scene(rng, (120, 160)), (5, 40), 30)
    walk[14] = np.clip(walk[14] * 0.4 + 150, 0, 255).astype(np.uint8)
    assert cuts_of(walk) == []


class _Everybody(PixelSource):
    """Two people in every frame, numbered from 0 in every shot."""

    source = "x"

    def __call__(self, image):
        return [person(standing(200)), person(standing(600))]

    def track(self, frames):
        for image in frames:
            yield [dataclasses.replace(one, track_id=at) for at, one in enumerate(self(image))]


def test_nobody_is_followed_across_a_cut(rng):
    frames = [
        dataclasses.replace(frame, starts_shot=at in (4, 7)) for at, frame in enumerate(frames_of(moving(rng, 9)))
    ]
    found = list(_Everybody().people_of(iter(frames), is_video=True))
    numbers = [[one.track_id for one in people] for people in found]
    assert numbers == 4 * [[0, 1]] + 3 * [[2, 3]] + 2 * [[4, 5]]


def test_shots_without_anybody_take_no_numbers():
    assert list(numbered_on([[[]], [[]]])) == [[], []]
