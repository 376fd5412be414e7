"""Which sample is taken: the one that explains the keypoints, whatever one of them says."""

import dataclasses

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.observations import ObservationError
from hardmo_jax.recovery import crop_keypoints
from hardmo_jax.recovery.hypotheses import choose_by_keypoints
from hardmo_jax.skeleton import layouts
from tests.recovery import test_regressor_start as starts

SAMPLES = 5


@pytest.fixture(scope="module")
def made():
    """People whose own pose is a sample of theirs, among those of others."""
    body = starts.as_smpl(hm.open_body(view="smpl"))
    camera = starts.cameras.camera_from_image_size(1280, 720)
    params = starts.drawn(body)
    box = starts.boxes_of(body, params, camera)
    own = starts.as_network(body, params, camera, box)
    place = np.arange(starts.COUNT) % SAMPLES
    order = (np.arange(starts.COUNT)[:, None] + np.arange(SAMPLES) - place[:, None]) % starts.COUNT
    samples = jax.tree.map(lambda leaf: np.asarray(leaf)[order], own)
    # Everybody stands where they are seen, so that poses decide.
    samples = dataclasses.replace(samples, weak_camera=np.repeat(np.asarray(own.weak_camera)[:, None], SAMPLES, 1))
    keypoints = starts.pixels_of(body, params, camera)
    seen = hm.Observations(
        keypoints_2d=keypoints, confidence=np.ones(keypoints.shape[:-1], np.float32), camera=camera, layout="smpl24"
    )
    return body, samples, seen, box, place


def test_the_sample_that_was_seen_is_taken(made):
    body, samples, seen, box, place = made
    chosen = choose_by_keypoints(samples, body, seen, box)
    np.testing.assert_array_equal(chosen.sample, place)
    rows = np.arange(len(place))
    np.testing.assert_array_equal(chosen.output.body_pose, samples.body_pose[rows, place])
    assert chosen.misfit[rows, place].max() < 1e-3


def test_one_wrong_point_and_missing_ones_change_nobodys_choice(made):
    body, samples, seen, box, place = made
    keypoints = np.array(seen.keypoints_2d)
    keypoints[:, 5] += 900
    keypoints[:, 7] = np.nan
    confidence = np.array(seen.confidence)
    confidence[0] = 0
    chosen = choose_by_keypoints(
        samples, body, dataclasses.replace(seen, keypoints_2d=keypoints, confidence=confidence), box
    )
    np.testing.assert_array_equal(chosen.sample[1:], place[1:])
    assert chosen.sample[0] == 0


def test_samples_that_are_no_numbers_are_not_taken(made):
    body, samples, seen, box, place = made
    broken = np.array(samples.body_pose)
    broken[np.arange(len(place)), place] = np.nan
    chosen = choose_by_keypoints(dataclasses.replace(samples, body_pose=broken), body, seen, box)
    assert (chosen.sample != place).all()
    assert np.isfinite(chosen.output.body_pose).all()


def test_wrong_requests_are_refused(made):
    body, samples, seen, box, _ = made
    one = RegressorOutput(**{name: leaf[:, 0] for name, leaf in vars(samples).items() if leaf is not None})
    with pytest.raises(ValueError, match="axes"):
        choose_by_keypoints(one, body, seen, box)
    with pytest.raises(ValueError, match="positive"):
        choose_by_keypoints(samples, body, seen, box, spread=0.0)
    with pytest.raises(ObservationError, match="camera"):
        choose_by_keypoints(samples, body, dataclasses.replace(seen, camera=None), box)


def test_fingers_do_not_choose_the_pose_of_the_body(made):
    """Forty points of fingers, which no network bends, beside twenty of the body."""
    layout = layouts.get_layout("openpose67")
    shares = crop_keypoints.hand_shares(layout)
    parts = np.array([layouts.part_of(point) or "" for point in layout.points])
    for hand in ("left_hand", "right_hand"):
        assert shares[parts == hand].sum() == pytest.approx(1)
        assert (shares[[layout.index(f"{hand[:-5]}_{finger}_tip") for finger in ("index", "pinky")]] == 0).all()
    assert (shares[~np.isin(parts, ("left_hand", "right_hand"))] == 1).all()


def test_boxes_without_a_size_choose_the_most_likely_body(made):
    body, samples, seen, box, place = made
    size = np.array(box.size)
    size[1:4] = [-50, 0, np.nan]
    chosen = choose_by_keypoints(samples, body, seen, dataclasses.replace(box, size=size))
    np.testing.assert_array_equal(chosen.sample, np.where(np.isin(np.arange(len(place)), [1, 2, 3]), 0, place))
