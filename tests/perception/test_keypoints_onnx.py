"""Top-down keypoint models: hand-made ones with known answers, and files that are none."""

import numpy as np
import pytest

from hardmo_jax.perception import keypoints_onnx
from hardmo_jax.perception.keypoints_onnx import OnnxKeypointModel
from hardmo_jax.perception.onnx_model import OnnxModelError
from hardmo_jax.skeleton import layouts
from tests.perception import handmade_onnx

COCO = layouts.get_layout("coco17")


def picture(spots, size=(480, 640)):
    """Black with white spots, (x, y, channel)."""
    image = np.zeros((*size, 3), np.uint8)
    for x, y, channel in spots:
        image[y - 1 : y + 2, x - 1 : x + 2, channel] = 120
        image[y, x, channel] = 255
    return image


@pytest.mark.parametrize("mirrored_too", [False, True])
@pytest.mark.parametrize("box", [(200, 100, 300, 420), (-40, 30, 150, 170), (10, 200, 600, 300)])
def test_simcc_points_are_where_the_picture_has_them(tmp_path, mirrored_too, box):
    model = OnnxKeypointModel(handmade_onnx.simcc(tmp_path / "m.onnx"), mirrored_too=mirrored_too)
    x, y = round(0.6 * box[0] + 0.4 * box[2]), round(0.3 * box[1] + 0.7 * box[3])
    (found,) = model(picture([(max(x, 2), y, 0)]), [np.array(box, float)])
    # A pixel of the crop is this many of the picture.
    pixel = 1.25 * max((box[2] - box[0]) / 192, (box[3] - box[1]) / 256)
    assert model.kind == "simcc"
    np.testing.assert_allclose(found.keypoints_2d, np.tile([max(x, 2), y], (17, 1)), atol=0.75 * pixel + 0.5)


def test_plain_and_mirrored_crop_agree_to_the_bin(tmp_path):
    path = handmade_onnx.simcc(tmp_path / "m.onnx")
    # A box of the input's shape, so that pixels of the crop are pixels of the picture.
    box = np.array([300 - 96 / 1.25, 240 - 128 / 1.25, 300 + 96 / 1.25, 240 + 128 / 1.25]) - 0.5
    image = picture([(330, 260, 0)])
    plain, both = (OnnxKeypointModel(path, mirrored_too=mirrored)(image, [box])[0] for mirrored in (False, True))
    np.testing.assert_allclose(plain.keypoints_2d, np.tile([330, 260], (17, 1)), atol=1e-6)
    np.testing.assert_allclose(both.keypoints_2d, plain.keypoints_2d, atol=0.25)


def test_sides_are_exchanged_in_the_mirror(tmp_path):
    """Left points look at green, right ones at red; in the mirror the model still calls the left one left."""
    left = {COCO.index(point): 1 for point in COCO.points if point.startswith("left_")}
    path = handmade_onnx.simcc(tmp_path / "m.onnx", second_channel=left)
    image = picture([(230, 240, 0), (370, 260, 1)])
    model = OnnxKeypointModel(path, mirrored_too=False)
    (found,) = model(image, [np.array([200.0, 100, 400, 400])])
    assert abs(found.keypoints_2d[COCO.index("left_wrist"), 0] - 370) < 2
    assert abs(found.keypoints_2d[COCO.index("right_wrist"), 0] - 230) < 2


def test_heatmap_points_are_where_the_picture_has_them(tmp_path):
    model = OnnxKeypointModel(handmade_onnx.heatmaps(tmp_path / "m.onnx"))
    assert model.kind == "heatmaps"
    image = np.zeros((480, 640, 3), np.uint8)
    image[294:307, 244:257] = 255
    (found,) = model(image, [np.array([200.0, 100, 350, 400])])
    cell = 4 * 1.25 * max(150 / 192, 300 / 256)
    np.testing.assert_allclose(found.keypoints_2d, np.tile([250, 300], (17, 1)), atol=0.8 * cell)


def test_gaussian_between_cells_is_found_exactly():
    y, x = np.mgrid[:64, :48]
    centre = np.array([[20.3, 30.7], [0.0, 63.0]])
    maps = np.stack([np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 2.0**2)) for cx, cy in centre])[None]
    points, scores = keypoints_onnx._from_heatmaps(maps, (192, 256), "udp")
    np.testing.assert_allclose(points[0], centre * [191 / 47, 255 / 63], atol=1e-3)
    np.testing.assert_allclose(scores[0, 1], 1.0)


@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_any_number_of_people_and_each_by_itself(tmp_path, count):
    """Batches change nothing, whatever the model takes."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)
    boxes = [np.array([x, y, x + 60.0, y + 90.0]) for x, y in rng.uniform(0, 200, (count, 2))]
    free = OnnxKeypointModel(handmade_onnx.simcc(tmp_path / "a.onnx"))
    fixed = OnnxKeypointModel(handmade_onnx.simcc(tmp_path / "b.onnx", batch=4))
    together, others = free(image, boxes), fixed(image, boxes)
    assert len(together) == len(others) == count
    for box, first, second in zip(boxes, together, others, strict=True):
        np.testing.assert_array_equal(first.keypoints_2d, second.keypoints_2d)
        np.testing.assert_array_equal(first.keypoints_2d, free(image, [box])[0].keypoints_2d)


def test_layout_by_number_of_points_or_by_name(tmp_path):
    assert OnnxKeypointModel(handmade_onnx.simcc(tmp_path / "a.onnx", count=133)).layout.name == "coco_wholebody133"
    with pytest.raises(OnnxModelError, match="gives 31 points; say which"):
        OnnxKeypointModel(handmade_onnx.simcc(tmp_path / "b.onnx", count=31))
    with pytest.raises(OnnxModelError, match="gives 17 points, and the layout openpose25 has 25"):
        OnnxKeypointModel(handmade_onnx.simcc(tmp_path / "c.onnx"), layout="openpose25")


@pytest.mark.parametrize(
    "outputs",
    [
        {"only": np.zeros((1, 17, 384), np.float32)},
        {"x": np.zeros((1, 17, 384), np.float32), "y": np.zeros((1, 16, 512), np.float32)},
        {"x": np.zeros((1, 17, 384), np.float32), "y": np.zeros((1, 17, 256), np.float32)},
        {"maps": np.zeros((1, 17, 64, 64), np.float32)},
    ],
)
def test_outputs_of_another_shape_are_refused(tmp_path, outputs):
    path = handmade_onnx.constant(tmp_path / "m.onnx", outputs, size=(192, 256))
    with pytest.raises(OnnxModelError, match="expected SimCC"):
        OnnxKeypointModel(path)


def test_numbers_that_are_none_have_no_confidence(tmp_path):
    x, y = np.full((1, 17, 384), np.nan, np.float32), np.zeros((1, 17, 512), np.float32)
    path = handmade_onnx.constant(tmp_path / "m.onnx", {"x": x, "y": y}, size=(192, 256))
    (found,) = OnnxKeypointModel(path)(picture([]), [np.array([0.0, 0, 100, 100])])
    assert np.isfinite(found.keypoints_2d).all()
    assert (found.confidence == 0).all()


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such ONNX file"):
        OnnxKeypointModel(tmp_path / "gone.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(OnnxModelError, match="not an ONNX model"):
        OnnxKeypointModel(tmp_path / "text.onnx")


def test_cells_of_older_heatmaps_are_pixels_of_a_smaller_picture():
    """Xiao et al.: a peak drawn about the cell nearest to x / 4 is found within half a cell of x."""
    points = np.array([[[100.0, 40.0], [37.0, 201.0]]])
    cells = np.floor(points / 4 + 0.5)
    y, x = np.mgrid[:64, :48]
    maps = np.exp(-0.5 * ((x - cells[..., 0, None, None]) ** 2 + (y - cells[..., 1, None, None]) ** 2) / 4)
    found, scores = keypoints_onnx._from_heatmaps(maps.astype(np.float32), (192, 256), "msra")
    np.testing.assert_allclose(found, 4 * cells, atol=1e-5)
    assert np.abs(found - points).max() <= 2
    np.testing.assert_allclose(scores, 1)
    # A higher neighbour draws by a quarter of a cell.
    maps[0, 0, :, int(cells[0, 0, 0]) + 1] *= 1.1
    found, _ = keypoints_onnx._from_heatmaps(maps.astype(np.float32), (192, 256), "msra")
    assert found[0, 0, 0] == pytest.approx(4 * (cells[0, 0, 0] + 0.25))


@pytest.mark.parametrize(("count", "name"), [(26, "halpe26"), (136, "halpe136")])
def test_halpe_is_known_by_its_number_of_points(tmp_path, count, name):
    assert OnnxKeypointModel(handmade_onnx.simcc(tmp_path / "m.onnx", count=count)).layout.name == name


def test_points_of_ones_own_are_named_with_commas(tmp_path):
    path = handmade_onnx.simcc(tmp_path / "m.onnx", count=3)
    model = OnnxKeypointModel(path, layout="left_wrist, right_wrist, _spare", mirrored_too=True)
    assert model.layout.points == ("left_wrist", "right_wrist", "_spare")


def test_the_mirrored_look_at_older_heatmaps_agrees_with_the_plain_one(tmp_path):
    """An ideal model: a cell is the brightest of its four pixels, drawn about the cell nearest to it."""
    model = OnnxKeypointModel(handmade_onnx.heatmaps(tmp_path / "m.onnx"), heatmaps="msra")
    places = np.arange(30, 160)
    cells = np.floor(places / 4 + 0.5)
    x = np.arange(48)

    def maps(cells):
        row = np.exp(-0.5 * (x - cells[:, None]) ** 2 / 4)
        return np.repeat(row[:, None, None, :], 64, axis=2).repeat(17, axis=1).astype(np.float32)

    mirrored_cells = np.floor((191 - places) / 4 + 0.5)
    plain, turned = maps(cells), model._turned_back(maps(mirrored_cells), along_x=True)
    found, _ = keypoints_onnx._from_heatmaps((plain + turned) / 2, (192, 256), "msra")
    alone, _ = keypoints_onnx._from_heatmaps(plain, (192, 256), "msra")
    assert abs((alone[:, 0, 0] - places).mean()) < 0.6
    assert abs((found[:, 0, 0] - places).mean()) < 0.6


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("coco71", r"keypoints_layout: unknown keypoint layout 'coco71'; did you mean 'coco17'\?"),
        (
            "left_wrist,right_wrst,nose",
            r"keypoints_layout: unknown keypoint 'right_wrst'; did you mean 'right_wrist'\?",
        ),
        ("nose,nose,left_wrist", "keypoints_layout: layout 'own' names a point twice"),
        ("nose,left_wrist,_spare", "extra_looks=0"),
    ],
)
def test_layouts_that_there_are_not_are_told_with_the_option(tmp_path, layout, message):
    path = handmade_onnx.simcc(tmp_path / "m.onnx", count=3)
    with pytest.raises(OnnxModelError, match=message):
        OnnxKeypointModel(path, layout=layout)
