"""Pictures that claim, or are, larger than may be are refused before memory is taken for them."""

import struct
import zlib

import pytest

from hardmo_jax.perception import photos, video
from hardmo_jax.perception.decoding_process import DecodingLimits, ProcessDecoder
from tests.perception import made_videos
from tests.reference import hostile_media

_HUGE = 50_000


def _png(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    for kind, data in ((b"IDAT", zlib.compress(bytes(1 << 16))), (b"IEND", b"")):
        body += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return body


def _changed(name, old, new):
    """A whole file of a format, in which bytes are replaced wherever they are."""

    def make(folder):
        _, maker = (hostile_media.VIDEOS | hostile_media.PHOTOS)[name]
        data = maker(folder)
        assert old in data
        return data.replace(old, new)

    return make


def _of_bitmap(_):
    header = struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, -(2**31) + 1, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 1 << 20, 0, 0, 54) + header + bytes(4096)


def _of_webp(_):
    side = (1 << 24) - 1
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + side.to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _of_tiff(_):
    entries = [(256, 4, _HUGE), (257, 4, _HUGE), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 4, _HUGE), (279, 4, 100)]
    body = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries
    )
    return b"II*\0" + struct.pack("<I", 8) + body + bytes(200)


def _of_gif(_):
    # The screen is of 4.3 gigapixels, the picture of one.
    picture = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + picture * 3 + b"\x3b"


#: Name: suffix, content.
HUGE = {
    "PNG": (".png", lambda _: _png(_HUGE, _HUGE)),
    "JPEG": (".jpg", _changed("JPEG", struct.pack(">BHH", 8, 48, 64), struct.pack(">BHH", 8, 65500, 65500))),
    "BMP": (".bmp", _of_bitmap),
    "WebP": (".webp", _of_webp),
    "TIFF": (".tif", _of_tiff),
    "GIF": (".gif", _of_gif),
    "MJPEG whose pictures are larger than its container says": (
        ".avi", _changed("MJPEG AVI", struct.pack(">BHH", 8, 48, 64), struct.pack(">BHH", 8, 16000, 16000)),
    ),
    "HuffYUV AVI": (".avi", _changed("HuffYUV AVI", struct.pack("<II", 64, 48), struct.pack("<II", 32000, 32000))),
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_files_that_claim_to_be_huge_are_refused_with_little_memory(tmp_path, name):
    suffix, make = HUGE[name]
    path = tmp_path / f"huge{suffix}"
    path.write_bytes(make(tmp_path))
    # A picture of these sizes would not fit into what the process may have.
    with (
        ProcessDecoder(DecodingLimits(seconds=20.0, memory_bytes=2 << 30)) as decoder,
        pytest.raises(video.MediaError) as raised,
    ):
        list(video.open_media(path, decoder=decoder).frames())
    assert type(raised.value) is video.MediaError, raised.value
    with pytest.raises(video.MediaError):
        list(video.open_media(path).frames())


def test_frames_that_grow_in_the_middle_of_a_video_are_refused(tmp_path):
    small = made_videos.write(tmp_path / "a.ts", hostile_media.pictures(4), g="2").read_bytes()
    large = made_videos.write(tmp_path / "b.ts", hostile_media.pictures(4, 640, 480), g="2").read_bytes()
    (tmp_path / "grows.ts").write_bytes(small + large)
    media = video.open_media(tmp_path / "grows.ts", max_pixels=64 * 48)
    sizes = {frame.image.shape[:2] for frame in media.frames()}
    assert sizes == {(48, 64)}
    # Without the limit they are frames like others.
    sizes = {frame.image.shape[:2] for frame in video.open_media(tmp_path / "grows.ts").frames()}
    assert sizes == {(48, 64), (480, 640)}


class _Counted(bytes):
    """Bytes that count how often one of them is looked at by itself."""

    looks = 0

    def __getitem__(self, key):
        if not isinstance(key, slice):
            _Counted.looks += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"\xff\xff\0"])
def test_a_photo_of_garbage_is_not_gone_through_byte_by_byte(tmp_path, filling):
    """It happens in the process of the job, where nothing ends it: a gigabyte took minutes."""
    data = _Counted(b"\xff\xd8\xff" + filling * (1 << 20))
    _Counted.looks = 0
    with pytest.raises(video.MediaError, match="its header is damaged"):
        photos.read_photo_header(data, tmp_path / "a.jpg")
    assert _Counted.looks < 10_000


@pytest.mark.parametrize("kind", ["PNG", "WebP", "JPEG"])
def test_pieces_of_a_photo_are_counted(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(photos, "_MAX_PIECES", 1000)
    for count, is_read in ((900, True), (1100, False)):
        whole = hostile_media.PHOTOS[kind][1](tmp_path)
        if kind == "PNG":
            data = whole[:33] + (bytes(4) + b"teXt" + bytes(4)) * count + whole[33:]
        elif kind == "WebP":
            data = whole[:12] + (b"none" + bytes(4)) * count + whole[12:]
        else:
            data = whole[:2] + b"\xff\xe5\0\2" * count + whole[2:]
        if is_read:
            assert photos.read_photo_header(data, tmp_path / "a").upright_size == (64, 48)
            continue
        with pytest.raises(video.MediaError, match="its header is damaged"):
            photos.read_photo_header(data, tmp_path / "a")
