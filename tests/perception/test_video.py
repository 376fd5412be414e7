import fractions
import hashlib
import os
import pathlib
import shutil
import struct
import zlib

import numpy as np
import pytest

from hardmo_jax.perception import media_files, video
from hardmo_jax.perception.frame_choice import FrameChoice

DATA = pathlib.Path(os.environ.get("HARDMO_DATA", pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"))


def make_picture(height=40, width=60):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=-1).astype(np.uint8)


def write_image(path, array):
    """Write channels in OpenCV's order (BGR, BGRA) under any name."""
    import cv2

    path.write_bytes(cv2.imencode(path.suffix, array)[1].tobytes())
    return path


def write_photo(path, rgb=None):
    return write_image(path, (make_picture() if rgb is None else rgb)[..., ::-1])


def read(path, **options):
    (frame,) = video.open_media(path, **options).frames()
    return frame.image


def shared(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs the shared media; set HARDMO_DATA ({DATA})")
    return path


# Photos


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".PNG"])
def test_lossless_photo_is_read_exactly(tmp_path, suffix):
    assert np.array_equal(read(write_photo(tmp_path / f"a{suffix}")), make_picture())


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".JPG"])
def test_lossy_photo_is_read_in_the_right_order_of_channels(tmp_path, suffix):
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[..., 0], rgb[..., 2] = 200, 30
    assert np.abs(read(write_photo(tmp_path / f"a{suffix}", rgb)).astype(int) - rgb).max() < 12


def test_photo_frame_says_where_it_comes_from(tmp_path):
    path = write_photo(tmp_path / "a.png")
    media = video.open_media(str(path))
    (frame,) = media.frames()
    assert (media.kind, media.fps, media.frame_count) == ("image", None, 1)
    assert (frame.frame_index, frame.position, frame.time_seconds) == (0, 0, None)
    assert frame.source_path == path
    assert frame.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == media.sha256[0]
    assert frame.image.flags.c_contiguous
    assert media.sizes == ((60, 40),)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_rotated_photo_is_made_upright_as_pillow_does(tmp_path, suffix, orientation):
    image_module = pytest.importorskip("PIL.Image")
    from PIL import ImageOps

    picture = image_module.fromarray(make_picture())
    path = tmp_path / f"a{suffix}"
    exif = image_module.Exif()
    exif[274] = orientation
    if suffix == ".tif":
        picture.save(path, tiffinfo={274: orientation})
    elif suffix == ".jpg":
        picture.save(path, exif=exif, quality=98, subsampling=0)
    else:
        picture.save(path, exif=exif, lossless=True)
    with image_module.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB")).astype(int)
    media = video.open_media(path)
    (frame,) = media.frames()
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image - expected).max() <= 2
    assert media.sizes == ((expected.shape[1], expected.shape[0]),)
    assert media.rotations[0] in (0, 90, 180, 270)


def test_damaged_orientation_note_counts_as_upright(tmp_path):
    data = write_photo(tmp_path / "a.jpg").read_bytes()
    note = b"Exif\0\0MM\0*\0\0\xff\xff"
    (tmp_path / "b.jpg").write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(note) + 2) + note + data[2:])
    assert np.array_equal(read(tmp_path / "b.jpg"), read(tmp_path / "a.jpg"))


def test_grey_photo_becomes_rgb(tmp_path):
    grey = make_picture()[..., 0]
    assert np.array_equal(read(write_image(tmp_path / "a.png", grey)), np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bit_photo_is_scaled_to_eight(tmp_path):
    rgb = make_picture()
    path = write_image(tmp_path / "a.png", rgb[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read(path), rgb)


def test_transparent_photo_is_laid_over_white(tmp_path):
    bgra = np.zeros((4, 3, 4), np.uint8)
    bgra[..., 2] = 200
    bgra[:, 1, 3], bgra[:, 2, 3] = 128, 255
    image = read(write_image(tmp_path / "a.png", bgra))
    assert image[0].tolist() == [[255, 255, 255], [227, 127, 127], [200, 0, 0]]


@pytest.mark.parametrize("mode", ["P", "1", "LA", "L"])
def test_rarer_kinds_of_png_agree_with_pillow(tmp_path, mode):
    image_module = pytest.importorskip("PIL.Image")
    picture = image_module.fromarray(make_picture()).convert(mode)
    picture.save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png"), np.asarray(picture.convert("RGB")))


def test_cmyk_jpeg_agrees_with_pillow(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    image_module.fromarray(make_picture()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    with image_module.open(tmp_path / "a.jpg") as opened:
        expected = np.asarray(opened.convert("RGB")).astype(int)
    assert np.abs(read(tmp_path / "a.jpg") - expected).max() <= 3


def test_photo_of_one_pixel_is_read(tmp_path):
    assert read(write_photo(tmp_path / "a.png", np.full((1, 1, 3), 7, np.uint8))).tolist() == [[[7, 7, 7]]]


@pytest.mark.parametrize("name", ["tänzer 1.png", "日本 舞踊.png", "a%d'b\"c.png", "-leading.png", "x" * 200 + ".png"])
def test_photo_of_any_name_is_read(tmp_path, name):
    assert read(write_photo(tmp_path / name)).shape == (40, 60, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("keep", [0.05, 0.3, 0.7, 0.95])
def test_cut_photo_is_refused_and_not_half_shown(tmp_path, suffix, keep):
    data = write_photo(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 256, (90, 80, 3), np.uint8))
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data.read_bytes()[: int(keep * data.stat().st_size)])
    with pytest.raises(video.MediaError):
        read(path)


def test_damaged_photos_give_a_picture_or_our_error(tmp_path):
    rng = np.random.default_rng(0)
    for suffix in (".jpg", ".png", ".webp", ".bmp"):
        data = bytearray(write_photo(tmp_path / f"a{suffix}").read_bytes())
        for _ in range(30):
            damaged = data.copy()
            for position in rng.integers(0, min(len(data), 120), 3):
                damaged[position] = rng.integers(256)
            path = tmp_path / f"b{suffix}"
            path.write_bytes(damaged)
            try:
                image = read(path, max_pixels=1_000_000)
            except video.MediaError:
                continue
            assert image.dtype == np.uint8


def make_png_header(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_photo_that_claims_a_huge_size_is_refused_by_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(make_png_header(50_000, 50_000))
    with pytest.raises(video.MediaError, match=r"2500 megapixels.*scale it down"):
        video.open_media(path)


def test_pixel_limit_can_be_set(tmp_path):
    path = write_photo(tmp_path / "a.png")
    with pytest.raises(video.MediaError, match="limit"):
        video.open_media(path, max_pixels=2399)
    assert read(path, max_pixels=2400).shape == (40, 60, 3)


def test_real_photo_is_read_upright():
    path = shared("media", "images", "expose", "man-in-red-941693.png")
    media = video.open_media(path)
    (frame,) = media.frames()
    assert media.sizes == ((frame.image.shape[1], frame.image.shape[0]),)
    assert frame.image.std() > 20


# Wrong files


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jpg", b"", "empty"),
        ("a.mp4", b"", "empty"),
        ("a.json", b"", "empty"),
        ("a.jpg", b"hello, this is text", "promises a photo"),
        ("a.jpg", b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "header is damaged"),
        ("a.jpg", b"\xff\xd8\xff\xe0\0\x10", "header is damaged"),
        ("a.heic", b"x", "export it as JPEG"),
        ("a.docx", b"x", r"suffix '.docx' is not known; photos: .*mp4"),
        ("noname", b"x", r"suffix '\(none\)' is not known"),
        ("a.mp4", b"hello, this is text" * 50, "begins with b'hello"),
        ("a.mp4", b"\0\0\0\x18ftypmp42" + b"\0" * 400, "index is missing"),
        ("a.mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n", "not a video"),
        ("a.avi", b"ffconcat version 1.0\nfile '/etc/hostname'\n", "not a video"),
    ],
)
def test_wrong_file_is_refused_in_one_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(video.MediaError, match=words) as caught:
        video.open_media(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_missing_file_is_told_with_its_neighbour(tmp_path):
    write_photo(tmp_path / "Dance.png")
    with pytest.raises(FileNotFoundError, match=r"did you mean 'Dance\.png'"):
        video.open_media(tmp_path / "dance.png")
    with pytest.raises(FileNotFoundError, match=r"folder .* does not exist either"):
        video.open_media(tmp_path / "nowhere" / "a.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes in folders")
def test_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(video.MediaError, match="device or pipe"):
        video.open_media(tmp_path / "a.mp4")


# Folders


def test_folder_is_read_in_natural_order_and_skips_what_is_no_photo(tmp_path):
    for name in ("img10.png", "img2.png", "IMG1.png", ".hidden.png", "._img2.png"):
        write_photo(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "sub.png").mkdir()
    media = video.open_media(tmp_path)
    assert media.kind == "folder"
    assert [path.name for path in media.paths] == ["IMG1.png", "img2.png", "img10.png"]
    frames = list(media.frames())
    assert [frame.position for frame in frames] == [0, 1, 2]
    assert [frame.frame_index for frame in frames] == [0, 0, 0]
    assert media.frame_count == 3
    assert len(media.sha256) == 3


def test_keypoint_files_of_photos_of_a_folder_take_the_place_of_the_detector(tmp_path):
    for name in ("a", "b", "c"):
        write_photo(tmp_path / f"{name}.png")
    (tmp_path / "b_keypoints.json").write_text("{}")
    (tmp_path / "a_keypoints.json").write_text("{}")
    (tmp_path / "settings.json").write_text("{}")
    media = video.open_media(tmp_path)
    assert media.kind == "keypoints"
    assert [path.name for path in media.paths] == ["a_keypoints.json", "b_keypoints.json"]
    assert any("1 photos without a file of keypoints are left out" in warning for warning in media.warnings)


def test_other_json_files_beside_photos_are_named_and_not_read(tmp_path):
    write_photo(tmp_path / "a.png")
    (tmp_path / "settings.json").write_text("{}")
    media = video.open_media(tmp_path)
    assert media.kind == "folder"
    assert any("1 .json files beside the photos are not read" in warning for warning in media.warnings)


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["a10", "a9", "a1"], ["a1", "a9", "a10"]),
        (["b1", "A2", "a1"], ["a1", "A2", "b1"]),
        (["1_10", "1_9", "01_1"], ["01_1", "1_9", "1_10"]),
        (["x", "1", "é", ""], ["", "1", "x", "é"]),
    ],
)
def test_natural_order(names, ordered):
    assert sorted(names, key=media_files.natural_key) == ordered


def test_photos_of_subfolders_are_found_and_hidden_ones_are_not(tmp_path):
    for name in ("b/2.png", "b/10.png", "a.png", ".hidden/3.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        write_photo(path)
    media = video.open_media(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in media.paths] == ["a.png", "b/2.png", "b/10.png"]


def test_empty_folder_and_folder_without_photos_are_refused(tmp_path):
    with pytest.raises(video.MediaError, match="found nothing"):
        video.open_media(tmp_path)
    (tmp_path / "sub" / "empty").mkdir(parents=True)
    with pytest.raises(video.MediaError, match="found nothing"):
        video.open_media(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "sub" / "b.txt").write_text("x")
    (tmp_path / ".hidden.txt").write_text("x")
    with pytest.raises(video.MediaError, match=r"2 other files in this folder and its subfolders"):
        video.open_media(tmp_path)


def test_folder_of_videos_names_one_to_pass(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(video.MediaError, match=r"pass one video, for example 'a\.mp4'"):
        video.open_media(tmp_path)


def test_broken_photo_of_a_folder_is_raised_or_skipped_as_asked(tmp_path):
    for name in ("1.png", "2.png", "3.png"):
        write_photo(tmp_path / name)
    (tmp_path / "2.png").write_bytes(b"broken")
    media = video.open_media(tmp_path)
    with pytest.raises(video.MediaError, match=r"2\.png"):
        list(media.frames())
    assert [frame.position for frame in media.frames(on_error="skip")] == [0, 2]
    assert len(media.warnings) == 1
    assert "2.png" in media.warnings[0]


def test_range_and_stride_choose_photos(tmp_path):
    for index in range(7):
        write_photo(tmp_path / f"{index}.png")
    media = video.open_media(tmp_path)
    assert [frame.position for frame in media.frames(1, 6, 2)] == [1, 3, 5]
    assert [frame.position for frame in media.frames(start=5)] == [5, 6]
    assert list(media.frames(start=9)) == []
    with pytest.raises(ValueError, match="stride"):
        media.frames(stride=0)


# Keypoints


def test_keypoint_files_are_recognised_and_hold_no_frames(tmp_path):
    (tmp_path / "b_2.json").write_text("{}")
    (tmp_path / "b_10.json").write_text("{}")
    for path, count in ((tmp_path / "b_2.json", 1), (tmp_path, 2)):
        media = video.open_media(path)
        assert media.kind == "keypoints"
        assert media.frame_count == count
        assert media.paths[0].name == "b_2.json"
        assert media.files[0].width is None
        with pytest.raises(video.MediaError, match="no pictures"):
            media.frames()


# Videos


def make_video(path, count=30, width=64, height=48, times=None, codec="libx264", noise=False, **options):
    """Red upper left quarter on black; the last columns brighten from frame to frame."""
    import av

    rng = np.random.default_rng(0)
    tick = fractions.Fraction(1, 1000)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = stream.time_base = tick
        if codec == "libx264":
            stream.options = {"crf": "1" if not noise else "23"}
        for index in range(count):
            picture = np.zeros((height, width, 3), np.uint8)
            if noise:
                picture[:] = rng.integers(0, 256, picture.shape)
            picture[: height // 2, : width // 2] = (255, 0, 0)
            picture[:, -4:] = min(index * 8, 255)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (times[index] if times else index * 40), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_video_gives_all_frames_in_order_with_times(tmp_path):
    path = make_video(tmp_path / "a.mp4")
    media = video.open_media(path)
    frames = list(media.frames())
    assert (media.kind, media.fps, media.frame_count) == ("video", 25.0, 30)
    assert media.sizes == ((64, 48),)
    assert [frame.frame_index for frame in frames] == list(range(30))
    assert np.allclose([frame.time_seconds for frame in frames], np.arange(30) / 25)
    brightness = [int(frame.image[40, -2, 0]) for frame in frames]
    assert np.abs(np.array(brightness) - np.arange(30) * 8).max() < 4  # each frame is in its place
    assert frames[0].image[5, 5, 0] > 200 > 50 > frames[0].image[5, 5, 2]
    assert {frame.source_sha256 for frame in frames} == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert not media.truncated
    assert media.warnings == ()


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".webm", "libvpx-vp9"), (".mov", "mpeg4")])
def test_other_containers_are_read_whole(tmp_path, suffix, codec):
    media = video.open_media(make_video(tmp_path / f"tänzer 日本{suffix}", 12, codec=codec))
    assert len(list(media.frames())) == 12
    assert not media.truncated


def test_frames_can_be_read_again_and_in_part(tmp_path):
    media = video.open_media(make_video(tmp_path / "a.mp4", 10))
    whole = list(media.frames())
    part = list(media.frames(2, 8, 3))
    assert [frame.position for frame in part] == [2, 5]
    assert np.array_equal(part[1].image, whole[5].image)
    assert part[1].time_seconds == whole[5].time_seconds
    assert not media.truncated


def test_variable_rate_keeps_its_times(tmp_path):
    media = video.open_media(make_video(tmp_path / "a.mp4", 5, times=[0, 40, 200, 210, 1000]))
    assert np.allclose([frame.time_seconds for frame in media.frames()], [0, 0.04, 0.2, 0.21, 1.0])


def test_time_begins_at_the_first_frame(tmp_path):
    media = video.open_media(make_video(tmp_path / "a.mkv", 3, times=[5000, 5040, 5080]))
    assert np.allclose([frame.time_seconds for frame in media.frames()], [0, 0.04, 0.08])


@pytest.mark.parametrize(
    ("matrix", "size", "red", "rotation", "is_mirrored"),
    [
        ((0, 1, -1, 0), (48, 64), (slice(0, 32), slice(24, 48)), 90, False),
        ((-1, 0, 0, -1), (64, 48), (slice(24, 48), slice(32, 64)), 180, False),
        ((0, -1, 1, 0), (48, 64), (slice(32, 64), slice(0, 24)), 270, False),
        ((-1, 0, 0, 1), (64, 48), (slice(0, 24), slice(32, 64)), 0, True),
    ],
)
def test_rotated_video_is_made_upright(tmp_path, matrix, size, red, rotation, is_mirrored):
    data = bytearray(make_video(tmp_path / "a.mp4", 3).read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path = tmp_path / "b.mp4"
    path.write_bytes(data)
    media = video.open_media(path)
    image = next(media.frames()).image
    assert media.sizes == (size,)
    assert image.shape == (size[1], size[0], 3)
    assert (media.rotations[0], media.files[0].is_mirrored) == (rotation, is_mirrored)
    assert np.median(image[red][..., 0]) > 200


def test_video_cut_off_after_its_index_gives_frames_up_to_the_cut_and_says_so(tmp_path):
    path = make_video(tmp_path / "a.mp4", 30, noise=True, movflags="+faststart")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    media = video.open_media(cut)
    count = len(list(media.frames()))
    assert 5 < count < 25
    assert media.truncated
    assert any("cut off" in warning for warning in media.warnings)


def test_video_without_its_index_is_refused(tmp_path):
    path = make_video(tmp_path / "a.mp4", noise=True)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    with pytest.raises(video.MediaError, match=r"index is missing.*cut off"):
        video.open_media(cut)


def test_cut_matroska_is_noticed_by_its_duration(tmp_path):
    path = make_video(tmp_path / "a.mkv", 60, noise=True)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: int(0.5 * path.stat().st_size)])
    media = video.open_media(cut)
    assert 0 < len(list(media.frames())) < 60
    assert media.truncated


def test_stopping_early_does_not_count_as_truncated(tmp_path):
    media = video.open_media(make_video(tmp_path / "a.mp4", 10))
    next(media.frames())
    list(media.frames(stop=5))
    assert not media.truncated


def test_damaged_stream_gives_the_frames_that_survive_and_a_warning(tmp_path):
    data = bytearray(make_video(tmp_path / "a.mp4", 30, noise=True, movflags="+faststart").read_bytes())
    begin = data.index(b"mdat") + 4
    for position in np.random.default_rng(0).integers(begin + 20_000, len(data), 40):
        data[position] ^= 0xFF
    path = tmp_path / "b.mp4"
    path.write_bytes(data)
    media = video.open_media(path)
    frames = list(media.frames())
    times = [frame.time_seconds for frame in frames]
    assert len(frames) >= 1
    assert times == sorted(set(times))
    assert media.warnings


def test_damaged_videos_give_frames_or_our_error(tmp_path):
    data = bytearray(make_video(tmp_path / "a.mp4", 4, movflags="+faststart").read_bytes())
    rng = np.random.default_rng(0)
    path = tmp_path / "b.mp4"
    for _ in range(40):
        damaged = data.copy()
        for position in rng.integers(0, len(data), 4):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            for frame in video.open_media(path, max_pixels=1_000_000).frames():
                assert frame.image.dtype == np.uint8
        except video.MediaError:
            continue


def test_video_above_the_pixel_limit_is_refused(tmp_path):
    with pytest.raises(video.MediaError, match="megapixels"):
        video.open_media(make_video(tmp_path / "a.mp4", 2), max_pixels=3000)


def test_sound_without_picture_is_refused(tmp_path):
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(video.MediaError, match="no moving picture"):
        video.open_media(path)


def test_photo_named_as_video_and_video_named_as_photo_are_told(tmp_path):
    shutil.copy(write_photo(tmp_path / "a.jpg"), tmp_path / "b.mp4")
    shutil.copy(make_video(tmp_path / "c.mp4", 2), tmp_path / "d.jpg")
    with pytest.raises(video.MediaError, match="not a video"):
        video.open_media(tmp_path / "b.mp4")
    with pytest.raises(video.MediaError, match="not a photo but a video"):
        video.open_media(tmp_path / "d.jpg")


@pytest.mark.parametrize(
    ("name", "size", "count", "fps"),
    [
        ("mmhuman3d_single_person_demo.mp4", (1080, 1920), 40, 12.0),
        ("mmpose_demo.mp4", (960, 540), 5, 5.0),
    ],
)
def test_real_video_is_read_whole(name, size, count, fps):
    media = video.open_media(shared("media", "videos", name))
    assert (media.sizes, media.frame_count, media.fps) == ((size,), count, fps)
    frames = list(media.frames(stride=4))
    assert len(frames) == -(-count // 4)
    assert all(frame.image.shape == (size[1], size[0], 3) for frame in frames)
    assert not media.truncated


# ---- some of the frames ----------------------------------------------------------------------------------------


def _positions(media, **choice):
    return [frame.position for frame in media.chosen(FrameChoice(**choice)).frames()]


def test_frames_are_chosen_by_time_and_stride(tmp_path):
    path = tmp_path / "clip.mp4"
    make_video(path, 25, times=[100 * at for at in range(25)])
    media = video.open_media(path)
    assert _positions(media) == list(range(25))
    assert _positions(media, start_seconds=1.0) == list(range(10, 25))
    assert _positions(media, start_seconds=0.5, end_seconds=1.0) == list(range(5, 10))
    assert _positions(media, start_seconds=1.0, stride=4) == [10, 14, 18, 22]
    assert _positions(media, end_seconds=99.0, stride=10) == [0, 10, 20]
    for choice in ({}, {"start_seconds": 1.0}, {"start_seconds": 0.5, "end_seconds": 1.0}, {"stride": 4},
                   {"start_seconds": 1.0, "stride": 4}):  # fmt: skip
        chosen = media.chosen(FrameChoice(**choice))
        # By the mean rate that the file tells.
        assert abs(chosen.frame_count - len(list(chosen.frames()))) <= 1, choice
    chosen = media.chosen(FrameChoice(start_seconds=1.0))
    assert [frame.position for frame in chosen.frames(stop=3)] == [10, 11, 12], "the first three of those"
    assert next(iter(chosen.frames())).time_seconds == pytest.approx(1.0)


def test_times_beyond_the_end_and_of_photos_are_refused(tmp_path):
    path = tmp_path / "clip.mp4"
    make_video(path, 10, times=[100 * at for at in range(10)])
    with pytest.raises(video.MediaError, match=r"no frame from 5 s on; the video ends at 0\.90 s"):
        _positions(video.open_media(path), start_seconds=5.0)
    write_photo(tmp_path / "a.png")
    with pytest.raises(video.MediaError, match="photos have no times"):
        video.open_media(tmp_path / "a.png").chosen(FrameChoice(end_seconds=2.0))
    for fields in ({"start_seconds": -1.0}, {"stride": 0}, {"start_seconds": 2.0, "end_seconds": 1.0}):
        with pytest.raises(ValueError, match="seconds"):
            FrameChoice(**fields)


def test_a_folder_of_videos_is_its_videos(tmp_path):
    for name in ("b.mp4", "a10.mp4", "a9.mov"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in media_files.videos_of_folder(tmp_path)] == ["a9.mov", "a10.mp4", "b.mp4"]
    assert media_files.videos_of_folder(tmp_path / "b.mp4") == [tmp_path / "b.mp4"]
    (tmp_path / "c.jpg").write_bytes(b"x")
    assert media_files.videos_of_folder(tmp_path) == [tmp_path]


def test_files_called_like_photos_are_their_keypoints_and_photos_without_are_counted(tmp_path):
    for name in ("a", "b", "lonely"):
        write_photo(tmp_path / f"{name}.png")
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "b_keypoints.json").write_text("[]")
    (tmp_path / "other.json").write_text("[]")
    media = video.open_media(tmp_path)
    assert (media.kind, [path.name for path in media.paths]) == ("keypoints", ["a.json", "b_keypoints.json"])
    chosen = media.with_photos((tmp_path / "a.png", tmp_path / "b.png")).chosen(FrameChoice(stride=2))
    assert [frame.source_path.name for frame in chosen.frames()] == ["a.png"]
    assert chosen.num_left_out == 1
    assert any("1 photos without a file of keypoints" in line for line in chosen.warnings)
