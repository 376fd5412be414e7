"""The contact sheet of captures: bodies above, skeletons below, left and right in their colours."""

import numpy as np

from hardmo_jax.viz import capture_sheet

BOX = np.array([[x, y, z] for x in (-0.3, 0.3) for y in (-0.8, 0.8) for z in (-0.1, 0.1)])
FACES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6]])
NAMES = ("Hips", "LeftArm", "RightArm", "LowerBack")
JOINTS = np.array([[0.0, 0.0, 0.0], [0.6, 0.4, 0.0], [-0.6, 0.4, 0.0], [0.0, 0.5, 0.0]])


def test_sheet_has_a_column_a_frame_and_the_sides_have_their_colours():
    sheet = capture_sheet.draw_capture_sheet(
        np.stack([BOX, BOX]), FACES, np.stack([JOINTS, JOINTS]), (-1, 0, 0, 0), NAMES, cell=120
    )
    assert sheet.shape == (240, 240, 3)
    np.testing.assert_array_equal(sheet[:, :120], sheet[:, 120:])
    below = sheet[120:, :120].astype(int)
    blue = np.argwhere(below[..., 2] - below[..., 0] > 100)[:, 1]
    orange = np.argwhere(below[..., 0] - below[..., 2] > 100)[:, 1]
    # A person seen from the front has the left at the right of the picture.
    assert blue.mean() > 60 > orange.mean()
    assert np.ptp(sheet[:120, :120].astype(int)) > 50
