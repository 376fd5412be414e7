"""Somebody half hidden whom the detector takes for somebody small: the fit does not follow."""

import dataclasses

import numpy as np

from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.pipelines.sightings import FILLED_SOURCE
from hardmo_jax.pipelines.stray_sightings import absorbed, unseen
from tests.pipelines import test_annotate_tracks as cases

body, walk = cases.body, cases.walk
HIDDEN = dataclasses.replace(cases.SEEN_WELL, occluded_share=0.6, reasons=("occluded",))
#: Sizes of the person in frames 5 to 10.
SIZES = (0.85, 0.72, 0.6, 0.6, 0.72, 0.85)


def squeezed(one, size, quality):
    """The person drawn together about the middle of their box."""
    middle = 0.5 * (one.bbox[:2] + one.bbox[2:])
    return dataclasses.replace(
        one,
        keypoints_2d=(middle + size * (one.keypoints_2d - middle)).astype(np.float32),
        bbox=np.concatenate([middle + size * (one.bbox[:2] - middle), middle + size * (one.bbox[2:] - middle)]),
        quality=quality,
    )


def behind_a_pillar(walk, quality):
    inside = [squeezed(one, size, quality) for one, size in zip(walk[5:11], SIZES, strict=True)]
    return [*walk[:5], *inside, *walk[11:]]


def depths(found):
    return np.asarray(found.result.params.transl)[:, 2]


def test_who_is_seen_in_part_does_not_run_away(body, walk, figure):
    truth = depths(cases.recover(body, walk))
    found = cases.recover(body, behind_a_pillar(walk, HIDDEN))
    believed = cases.recover(body, behind_a_pillar(walk, cases.SEEN_WELL))
    off = [float(np.abs(depths(one) / truth - 1).max()) for one in (found, believed)]
    figure(f"somebody squeezed behind a pillar: {off[0]:.0%} too far, {off[1]:.0%} if believed")
    assert off[0] < 0.15
    assert off[1] > 0.2
    filled = np.array([one.source == FILLED_SOURCE for one in found.sightings])
    assert filled[7:9].all()
    assert not filled[:5].any()
    assert not filled[11:].any()
    np.testing.assert_array_equal(np.asarray(found.result.status)[7:9], FitStatus.FILLED)
    assert found.sightings[7].quality == HIDDEN
    assert any("half hidden" in warning for warning in found.warnings)
    assert not any("half hidden" in warning for warning in believed.warnings)


def test_bits_of_somebody_hidden_go_to_the_piece_before_as_unseen(walk):
    bit = [dataclasses.replace(one, quality=HIDDEN) for one in walk[10:12]]
    pieces = absorbed([walk[:10], bit, walk[12:]], shortest=3, longest_gap=5)
    assert [len(piece) for piece in pieces] == [12, 4]
    assert all(one.source == FILLED_SOURCE and not one.confidence.any() for one in pieces[0][10:])
    kept = [walk[:10], walk[10:12], walk[12:]]  # well seen
    assert absorbed(kept, shortest=3, longest_gap=5) == kept
    far = [walk[:4], bit]
    assert [len(piece) for piece in absorbed(far, shortest=3, longest_gap=5)] == [4, 2]
    assert [len(piece) for piece in absorbed([bit, walk[12:]], shortest=3, longest_gap=5)] == [2, 4]


def test_somebody_unseen_keeps_place_and_time(walk):
    one = unseen(walk[3])
    assert (one.picture, one.track_id, one.score) == (walk[3].picture, walk[3].track_id, None)
    np.testing.assert_array_equal(one.bbox, walk[3].bbox)
    assert not one.confidence.any()
