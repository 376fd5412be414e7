"""High dynamic range against the encodings of ITU-R BT.2100 in double precision."""

import numpy as np
import pytest

from hardmo_jax.perception import hdr
from tests.perception import made_videos

#: Levels of 255: steps of the signal in the dark, and the matrices' four digits.
TOLERANCE = 2
#: Below it nothing is pressed together.
KNEE_LEVEL = 230


@pytest.mark.parametrize(("transfer", "colour"), [("PQ", made_videos.PQ), ("HLG", made_videos.HLG)])
def test_a_picture_of_standard_range_comes_back(rng, transfer, colour):
    picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture[0] = np.arange(192, dtype=np.uint8).reshape(64, 3)
    back = hdr.to_standard_range(made_videos.as_hdr(picture, colour.transfer), transfer)
    # Colours beyond the knee are pressed, and that is all: their order stays.
    apart = np.abs(back.astype(int) - picture)[picture < KNEE_LEVEL]
    assert np.percentile(apart, 99) <= TOLERANCE
    assert back[picture >= KNEE_LEVEL].min() > KNEE_LEVEL - 2 * TOLERANCE


@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
def test_light_grows_with_the_signal_from_black_to_white(transfer):
    ramp = np.repeat(np.linspace(0, 65535, 500).astype(np.uint16)[None, :, None], 3, axis=2)
    shown = hdr.to_standard_range(ramp, transfer)[0].astype(int)
    assert (np.diff(shown, axis=0) >= 0).all()
    assert shown[0].max() == 0
    assert shown[-1].min() == 255
    assert np.ptp(shown, axis=1).max() <= 1, "grey stays grey"


def test_colours_of_bt709_are_left_where_they_are():
    red = np.array([[[30000, 0, 0]]], np.uint16)
    assert hdr.to_standard_range(red, "PQ", is_bt2020=False)[0, 0, 1:].tolist() == [0, 0]


def test_streams_are_told_apart_by_their_tags():
    assert [hdr.transfer_of(number) for number in (1, 2, 16, 18)] == [None, None, "PQ", "HLG"]
    assert [hdr.is_bt2020(number) for number in (1, 2, 9)] == [False, True, True]
