"""The lens that a photo notes: read from hand-made EXIF, left alone where it cannot hold, never a reason to fail."""

import math
import struct

import numpy as np
import pytest

from hardmo_jax.perception import photos, video

#: EXIF tags.
ORIENTATION, CAMERA = 0x0112, 0x8769
FOCAL_LENGTH, FOCAL_LENGTH_35MM, TAKEN_WIDTH, TAKEN_HEIGHT = 0x920A, 0xA405, 0xA002, 0xA003
DENSITY, UNIT = 0xA20E, 0xA210
SHORT, LONG, FRACTION = 3, 4, 5
#: What a Canon EOS 5D notes of a 50 mm lens: 4368 x 2912 pixels on 35.9 x 24 mm, and no 35 mm equivalent.
CANON = {
    FOCAL_LENGTH: (FRACTION, (50, 1)), DENSITY: (FRACTION, (4368000, 1415)), UNIT: (SHORT, 2),
    TAKEN_WIDTH: (LONG, 4368), TAKEN_HEIGHT: (LONG, 2912),
}  # fmt: skip
PHONE = {FOCAL_LENGTH_35MM: (SHORT, 26), TAKEN_WIDTH: (LONG, 6000), TAKEN_HEIGHT: (LONG, 4000)}


def directory(order, offset, tags):
    """A directory that stands at an offset, and behind it the fractions that its entries point to."""
    entries, behind = b"", b""
    end = offset + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        entries += struct.pack(order + "HHI", tag, kind, 1)
        if kind == FRACTION:
            entries += struct.pack(order + "I", end + len(behind))
            behind += struct.pack(order + "II", *value)
        elif kind == SHORT:
            entries += struct.pack(order + "HH", value, 0)
        else:
            entries += struct.pack(order + "I", value)
    return struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0) + behind


def exif(camera, *, order=">", first=None):
    """A block of EXIF with a first directory, and one about the camera behind it."""
    first = {ORIENTATION: (SHORT, 6), CAMERA: (LONG, 0)} | (first or {})
    behind = 8 + len(directory(order, 8, first))
    first = {CAMERA: (LONG, behind)} | {tag: entry for tag, entry in first.items() if tag != CAMERA}
    header = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "I", 8)
    return header + directory(order, 8, first) + directory(order, behind, camera)


def jpeg(block=None, width=60, height=40):
    import cv2

    data = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].tobytes()
    if block is None:
        return data
    segment = b"Exif\0\0" + block
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def lens_of(data, path):
    return photos.read_photo_header(data, path).focal_length_35mm


@pytest.mark.parametrize("order", ["<", ">"])
def test_equivalent_that_a_phone_notes_is_read_whichever_the_byte_order(order, tmp_path):
    assert lens_of(jpeg(exif(PHONE, order=order)), tmp_path / "a.jpg") == 26


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_note_that_pillow_writes_is_read_in_every_format(suffix, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    note = image_module.Exif()
    note[ORIENTATION] = 6
    note.get_ifd(CAMERA)[FOCAL_LENGTH_35MM] = 35
    picture = image_module.fromarray(np.full((40, 60, 3), 90, np.uint8))
    path = tmp_path / f"a{suffix}"
    picture.save(path, exif=note)
    header = photos.read_photo_header(path.read_bytes(), path)
    assert header.focal_length_35mm == 35
    assert header.rotation_degrees == 90


@pytest.mark.parametrize("kind", [LONG, 13])
def test_note_of_a_tiff_is_read_from_its_own_directories(kind, tmp_path):
    size = {256: (SHORT, 60), 257: (LONG, 40)}
    data = exif(PHONE, first=size)
    pointer = struct.pack(">HH", CAMERA, LONG)
    assert data.count(pointer) == 1
    header = photos.read_photo_header(data.replace(pointer, struct.pack(">HH", CAMERA, kind)), tmp_path / "a.tif")
    assert (header.width, header.height, header.focal_length_35mm, header.rotation_degrees) == (60, 40, 26, 90)


@pytest.mark.parametrize("block", [None, exif({}), exif({FOCAL_LENGTH: (FRACTION, (50, 1))})])
def test_photo_without_a_note_of_its_angle_has_no_lens(block, tmp_path):
    assert lens_of(jpeg(block), tmp_path / "a.jpg") is None


def test_equivalent_follows_from_the_sensor_where_it_is_not_noted(tmp_path):
    found = lens_of(jpeg(exif(CANON)), tmp_path / "a.jpg")
    sensor = math.hypot(4368, 2912) * 1415 / 4368000 * 25.4
    assert found == pytest.approx(50 * math.hypot(36, 24) / sensor)
    assert found == pytest.approx(50, rel=0.01)


@pytest.mark.parametrize(("unit", "density"), [(2, (4368000, 1415)), (3, (4368000, 3594)), (4, (43680, 359))])
def test_units_of_the_sensor_are_inches_centimetres_or_millimetres(unit, density, tmp_path):
    camera = CANON | {UNIT: (SHORT, unit), DENSITY: (FRACTION, density)}
    assert lens_of(jpeg(exif(camera)), tmp_path / "a.jpg") == pytest.approx(50, rel=0.02)


def test_noted_equivalent_goes_before_the_sensor(tmp_path):
    assert lens_of(jpeg(exif(CANON | {FOCAL_LENGTH_35MM: (SHORT, 52)})), tmp_path / "a.jpg") == 52


@pytest.mark.parametrize("unit", [0, 1, 6])
def test_sensor_in_unknown_units_says_nothing(unit, tmp_path):
    assert lens_of(jpeg(exif(CANON | {UNIT: (SHORT, unit)})), tmp_path / "a.jpg") is None


def test_sensor_of_a_picture_that_was_scaled_with_its_note_says_nothing(tmp_path):
    # The density is still that of the sensor, the size no longer: 50 mm would be taken for 107.
    camera = CANON | {TAKEN_WIDTH: (LONG, 2048), TAKEN_HEIGHT: (LONG, 1365)}
    assert lens_of(jpeg(exif(camera)), tmp_path / "a.jpg") is None


@pytest.mark.parametrize(
    ("taken", "is_used"),
    [((60, 40), True), ((6000, 4000), True), ((4000, 6000), True), ((6060, 4000), True), ((6150, 4000), False),
     ((4000, 3000), False), ((6000, 3375), False), ((6000, 1), False)],
)  # fmt: skip
def test_lens_of_a_cropped_picture_is_not_used(taken, is_used, tmp_path):
    camera = PHONE | {TAKEN_WIDTH: (LONG, taken[0]), TAKEN_HEIGHT: (SHORT, taken[1])}
    assert (lens_of(jpeg(exif(camera)), tmp_path / "a.jpg") == 26) == is_used


def test_lens_without_a_noted_size_is_used(tmp_path):
    assert lens_of(jpeg(exif({FOCAL_LENGTH_35MM: (SHORT, 26)})), tmp_path / "a.jpg") == 26


@pytest.mark.parametrize(("noted", "found"), [(0, None), (5, None), (6, 6), (1200, 1200), (1201, None), (65535, None)])
def test_impossible_lens_is_ignored(noted, found, tmp_path):
    assert lens_of(jpeg(exif(PHONE | {FOCAL_LENGTH_35MM: (SHORT, noted)})), tmp_path / "a.jpg") == found


DAMAGED = {
    "fraction over nothing": exif(CANON | {DENSITY: (FRACTION, (1, 0))}),
    "no focal length": exif(CANON | {FOCAL_LENGTH: (FRACTION, (0, 0))}),
    "fraction outside of the note": exif(CANON | {DENSITY: (LONG, 0)}).replace(
        struct.pack(">HHI", DENSITY, LONG, 1) + bytes(4), struct.pack(">HHI", DENSITY, FRACTION, 1) + b"\xff" * 4
    ),
    "camera outside of the note": exif({}).replace(struct.pack(">I", 38), b"\xff" * 4),
    "directory of itself": exif({}).replace(struct.pack(">I", 38), struct.pack(">I", 8)),
    "more entries than bytes": b"MM\0*" + struct.pack(">IH", 8, 65535) + bytes(40),
    "directory behind the end": b"II*\0" + struct.pack("<I", 0xFFFFFFFF),
    "empty": b"",
    "no byte order": b"XX\0*" + bytes(40),
    "camera as text": exif(PHONE).replace(struct.pack(">HH", CAMERA, LONG), struct.pack(">HH", CAMERA, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", list(DAMAGED))
def test_damaged_note_is_no_lens_and_no_error(name, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(DAMAGED[name]))
    (frame,) = video.open_media(path).frames()
    assert frame.focal_length_35mm is None
    assert sorted(frame.image.shape) == [3, 40, 60]


@pytest.mark.parametrize("camera", [PHONE, CANON])
def test_note_that_is_cut_off_anywhere_raises_nothing(camera, tmp_path):
    block = exif(camera)
    for length in range(len(block)):
        found = lens_of(jpeg(block[:length]), tmp_path / "a.jpg")
        assert found is None or 6 <= found <= 1200


def test_random_bytes_in_a_note_raise_nothing(rng, tmp_path):
    for _ in range(500):
        block = bytearray(exif(CANON | PHONE, order=rng.choice(["<", ">"])))
        for place in rng.integers(len(block), size=rng.integers(1, 12)):
            block[place] = rng.integers(256)
        found = lens_of(jpeg(bytes(block)), tmp_path / "a.jpg")
        assert found is None or 6 <= found <= 1200


def test_lens_comes_with_files_and_frames(tmp_path):
    (tmp_path / "1.jpg").write_bytes(jpeg(exif(PHONE)))
    (tmp_path / "2.jpg").write_bytes(jpeg())
    media = video.open_media(tmp_path)
    assert [file.focal_length_35mm for file in media.files] == [26, None]
    assert [frame.focal_length_35mm for frame in media.frames()] == [26, None]
