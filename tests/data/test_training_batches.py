"""Samples for training: labels stay on the pixels whatever is done, and loaders go on where they were."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.data import training_batches
from hardmo_jax.data.hmr2_augmentation import Hmr2AugmentationOptions, TrainingPerson
from hardmo_jax.data.training_batches import BrokenCount, SampleOptions, make_sample
from hardmo_jax.data.training_records import PixelReference, TrainingDataError, TrainingRecord

HEIGHT, WIDTH = 240, 320
WILD = Hmr2AugmentationOptions(rotation_rate=1.0, flip_rate=0.5, part_rate=0.0)


def record(seed=0, **changes):
    rng = np.random.default_rng(seed)
    points = rng.uniform([110, 70], [210, 170], (44, 2))
    person = TrainingPerson(
        keypoints_2d=points, confidence=np.ones(44), keypoints_3d=rng.normal(size=(44, 3)),
        confidence_3d=np.ones(44), global_orient=rng.normal(size=3), body_pose=0.3 * rng.normal(size=(23, 3)),
    )  # fmt: skip
    given = {
        "name": f"made:{seed}", "pixels": PixelReference(path=str(seed)), "center": np.array([160.0, 120.0]),
        "size": 200.0, "person": person, "betas": rng.normal(size=10), "has_pose": True, "has_betas": True,
        "fingertips_2d": points[:10] + 0.0, "fingertips_confidence": np.ones(10),
        "fingertips_3d": rng.normal(size=(10, 3)), "fingertips_confidence_3d": np.ones(10),
    }  # fmt: skip
    return TrainingRecord(**{**given, **changes})


class Made:
    def __init__(self, name="made", count=7, broken=()):
        self.name, self._count, self._broken = name, count, broken

    def __len__(self):
        return self._count

    def record(self, index):
        if index in self._broken:
            raise TrainingDataError(f"{self.name}: person {index} is broken")
        return record(index, weight=float(index + 1))


def pixels(reference):
    return np.random.default_rng(int(reference.path)).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.mark.parametrize("crop_shape", [(256, 256), (224, 224), (256, 192)])
def test_keypoints_and_fingertips_stay_on_their_pixels(crop_shape):
    """Of a picture whose red is x and whose green is y, the colour at a keypoint says where it was."""
    x, y = np.meshgrid(np.linspace(0, 250, WIDTH), np.linspace(0, 250, HEIGHT))
    image = np.stack([x, y, 0 * x], -1).astype(np.uint8)
    options = SampleOptions(crop_shape=crop_shape, augmentation=dataclasses.replace(WILD, colour=0.0))
    for seed in range(8):
        one = record(3)
        sample = make_sample(one, image, np.random.default_rng(seed), options)
        picture = 255 * (sample["image"] * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406])
        high, wide = crop_shape
        for points, truth in (("keypoints_2d", one.person.keypoints_2d), ("fingertips_2d", one.fingertips_2d)):
            at = np.rint(sample[points] * high + [wide / 2, high / 2]).astype(int)
            is_inside = ((at >= 2) & (at < [wide - 2, high - 2])).all(-1)
            assert is_inside.sum() > len(at) / 2
            seen = picture[at[is_inside, 1], at[is_inside, 0], :2] / 250 * [WIDTH - 1, HEIGHT - 1]
            # Of whichever point it is: mirroring exchanges left and right.
            apart = np.linalg.norm(seen[:, None] - truth[None], axis=-1).min(-1)
            assert apart.max() < 3


def test_a_mirrored_hand_is_the_other_one():
    one = record(1)
    options = SampleOptions(
        augmentation=Hmr2AugmentationOptions(
            shift=0.0, scale=0.0, rotation_rate=0.0, flip_rate=1.0, colour=0.0, part_rate=0.0, rotation_degrees=0.0
        )
    )
    sample = make_sample(one, pixels(one.pixels), np.random.default_rng(0), options)
    mirrored = one.fingertips_3d * [-1, 1, 1]
    np.testing.assert_allclose(sample["fingertips_3d"], np.roll(mirrored, 5, 0), atol=1e-6)
    assert sample["box_center"][0] == pytest.approx(WIDTH - 160 - 1)


def test_the_same_number_is_the_same_sample_and_another_is_not():
    one, image = record(2), pixels(PixelReference(path="2"))
    options = SampleOptions(augmentation=WILD, occlusion_rate=1.0)
    first, again, other = (make_sample(one, image, np.random.default_rng(seed), options) for seed in (5, 5, 6))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["image"], other["image"])


def test_boxes_and_numbers_that_are_none_are_refused():
    image = pixels(PixelReference(path="0"))
    with pytest.raises(TrainingDataError, match="shows nothing"):
        make_sample(record(center=np.array([5000.0, 0])), image, np.random.default_rng(0), SampleOptions())
    with pytest.raises(TrainingDataError, match="betas"):
        make_sample(record(betas=np.full(10, np.nan)), image, np.random.default_rng(0), SampleOptions())


def made_loader(sources, weights=None, broken=None, **changes):
    given = {"batch_size": 4, "seed": 3, "broken": broken or BrokenCount(1.0), **changes}
    options = SampleOptions(crop_shape=(32, 32), augmentation=WILD)
    return training_batches.batches(sources, weights or {}, pixels, options, **given)


def test_a_loader_goes_on_with_the_same_numbers():
    whole = made_loader([Made(), Made("other", 5)])
    expected = [next(whole) for _ in range(6)]
    first = made_loader([Made(), Made("other", 5)])
    for _ in range(3):
        next(first)
    state = first.get_state()
    again = made_loader([Made(), Made("other", 5)], threads=1)
    again.set_state(state)
    for wanted in expected[3:]:
        found = next(again)
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_processes_see_other_people_and_everybody_in_an_epoch():
    seen = [
        [w for _ in range(4) for w in next(loader)["weight"].tolist()]
        for loader in (made_loader([Made(count=8)], batch_size=1, shard=(part, 2)) for part in (0, 1))
    ]
    assert sorted(seen[0] + seen[1]) == [float(index + 1) for index in range(8)]


def test_sources_are_mixed_by_weight():
    loader = made_loader([Made("few", 3), Made("many", 300)], {"few": 3.0, "many": 1.0})
    weights = np.concatenate([next(loader)["weight"] for _ in range(20)])
    assert np.mean(weights <= 3) == pytest.approx(0.75, abs=0.05)


def test_an_empty_mix_is_refused():
    for sources, weights in (([], {}), ([Made(count=0)], {}), ([Made()], {"made": 0.0})):
        with pytest.raises(TrainingDataError, match=r"empty|there are none"):
            made_loader(sources, weights)
    with pytest.raises(TrainingDataError, match="other"):
        made_loader([Made()], {"other": 1.0})


def test_broken_samples_are_counted_and_left_out_and_too_many_stop_the_loader():
    broken = BrokenCount(0.5)
    loader = made_loader([Made(broken=(2, 3))], broken=broken)
    weights = np.concatenate([next(loader)["weight"] for _ in range(20)])
    assert set(weights.tolist()) == {1.0, 2.0, 5.0, 6.0, 7.0}
    assert broken.broken >= 20
    assert "is broken" in broken.reasons[0]
    loader = made_loader([Made(broken=range(7))], broken=BrokenCount(0.05))
    with pytest.raises(TrainingDataError, match="samples cannot be used"):
        next(loader)


def test_in_order_everybody_comes_once_and_the_rest_is_nobody():
    found = list(training_batches.in_order(
        Made(broken=(0,)), pixels, SampleOptions(crop_shape=(32, 32)), batch_size=4, broken=BrokenCount(1.0)
    ))  # fmt: skip
    weights = np.concatenate([batch["weight"] for batch in found])
    np.testing.assert_array_equal(weights, [2, 3, 4, 5, 6, 7, 0, 0])
    np.testing.assert_array_equal(np.concatenate([batch["row"] for batch in found]), [1, 2, 3, 4, 5, 6, -1, -1])


def test_the_camera_of_the_picture_turns_with_the_crop():
    """A person seen by the picture's camera is where the keypoints of the augmented crop are, after the same turn."""
    focal, middle = 500.0, np.array([WIDTH, HEIGHT]) / 2
    points = np.random.default_rng(4).uniform([-0.5, -0.6, 3.5], [0.9, 0.5, 4.5], (44, 3))
    pixels_2d = focal * points[:, :2] / points[:, 2:] + middle
    person = dataclasses.replace(record().person, keypoints_2d=pixels_2d, keypoints_3d=points)
    one = record(person=person, focal_length=focal, center=pixels_2d.mean(0), size=150.0)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for seed in range(6):
        options = SampleOptions(crop_shape=(224, 224), augmentation=dataclasses.replace(WILD, flip_rate=0.0))
        sample = make_sample(one, image, np.random.default_rng(seed), options)
        turned = sample["keypoints_3d"]
        seen = focal * turned[:, :2] / turned[:, 2:] + middle
        crop = (seen - sample["box_center"]) / sample["box_size"]
        np.testing.assert_allclose(crop, sample["keypoints_2d"], atol=2e-5)


def test_crops_that_are_no_squares_show_all_of_wide_people():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    options = SampleOptions(crop_shape=(256, 192), augmentation=training_batches.PLAIN)
    for extent, size in (((200.0, 100.0), 200 * 4 / 3), ((60.0, 200.0), 200.0), (None, 200.0)):
        one = record(extent=None if extent is None else np.array(extent))
        sample = make_sample(one, image, np.random.default_rng(0), options)
        assert sample["box_size"] == pytest.approx(size)
    square = make_sample(record(extent=np.array([200.0, 100.0])), image, np.random.default_rng(0),
                         dataclasses.replace(options, crop_shape=(256, 256)))  # fmt: skip
    assert square["box_size"] == 200


def test_a_share_of_broken_samples_that_is_allowed_does_not_stop_a_run_by_chance(rng):
    for share, stops in ((0.03, False), (0.15, True)):
        broken = BrokenCount(0.05)
        is_broken = rng.uniform(size=20_000) < share
        try:
            for one in is_broken:
                broken.add("broken" if one else None)
        except TrainingDataError:
            assert stops
        else:
            assert not stops


def test_a_mix_with_weights_has_one_of_every_source():
    with pytest.raises(TrainingDataError, match="only a have a weight"):
        made_loader([Made("a"), Made("b")], weights={"a": 1.0})


def test_every_process_draws_for_itself():
    draws = []
    for process in range(2):
        loader = made_loader([Made(count=40)], shard=(process, 2))
        draws.append(next(loader)["box_size"])
    assert not np.allclose(*draws)
