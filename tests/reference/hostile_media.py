"""Small photos and videos of every format that is read, and what a broken disk or a stranger may make of them."""

import collections
import dataclasses
import io
import pathlib
import struct
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from hardmo_jax.perception import video
from hardmo_jax.perception.decoding_process import DecodingError, ProcessDecoder
from tests.perception import made_videos

#: Pictures of mutated files may have so many pixels, and are looked at so far.
MAX_PIXELS, MAX_FRAMES = 4_000_000, 40


def pictures(count: int = 6, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Frames in which something moves over something that does not."""
    rows, columns = np.indices((height, width))
    still = np.stack([rows * 5 % 256, columns * 4 % 256, (rows ^ columns) * 4 % 256], -1).astype(np.uint8)
    made = []
    for at in range(count):
        picture = still.copy()
        picture[8 + 3 * at : 24 + 3 * at, 6 * at : 6 * at + 16] = (250, 25 * at, 10)
        made.append(picture)
    return made


# ---- videos ------------------------------------------------------------------------------------------------------

_QUIET = {"x265-params": "log-level=none:keyint=3"}


def _video(suffix: str, codec: str, pixels: str = "yuv420p", width: int = 64, height: int = 48, **words):
    def make(folder: pathlib.Path) -> bytes:
        path = folder / f"made{suffix}"
        made_videos.write(path, pictures(width=width, height=height), codec=codec, pixels=pixels, **words)
        return path.read_bytes()

    return make


def _mpeg(suffix: str, codec: str, interlaced: bool = False):
    """Of an encoder that wants a tick to be a frame."""

    def make(folder: pathlib.Path) -> bytes:
        import av

        path = folder / f"made{suffix}"
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=25)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            stream.options = {"g": "3", "flags": "+ilme+ildct"} if interlaced else {"g": "3"}
            for at, picture in enumerate(pictures()):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = at
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path.read_bytes()

    return make


def _hdr(folder: pathlib.Path) -> bytes:
    signal = [made_videos.as_hdr(one, made_videos.PQ.transfer) for one in pictures()]
    path = made_videos.write(
        folder / "made.mp4", signal, codec="libx265", pixels="yuv420p10le", source="rgb48le", colour=made_videos.PQ,
        **_QUIET,
    )  # fmt: skip
    return path.read_bytes()


def _turned(folder: pathlib.Path) -> bytes:
    return made_videos.write_rotated(folder / "made.mp4", pictures(), 90).read_bytes()


#: Name, suffix, maker.
VIDEOS: dict[str, tuple[str, Callable[[pathlib.Path], bytes]]] = {
    "H.264 MP4": (".mp4", _video(".mp4", "libx264", g="3")),
    "H.264 MP4, index first": (".mp4", _video(".mp4", "libx264", g="3", container={"movflags": "+faststart"})),
    "H.264 MP4 in fragments": (
        ".mp4", _video(".mp4", "libx264", g="3", container={"movflags": "+frag_keyframe+empty_moov"}),
    ),
    "H.264 MOV, B frames": (".mov", _video(".mov", "libx264", bf="3", **{"x264-params": "b-adapt=0"})),
    "H.264 MP4, turned": (".mp4", _turned),
    "H.264 M4V, 10 bit": (".m4v", _video(".m4v", "libx264", "yuv420p10le", g="3")),
    "H.264 MKV, variable rate": (".mkv", _video(".mkv", "libx264", times=[0, 512, 700, 2048, 2176, 9000], g="3")),
    "H.264 TS, interlaced": (".ts", _video(".ts", "libx264", g="3", **{"x264-params": "interlaced=1:tff=1"})),
    "H.264 MTS, sliced": (".mts", _video(".mts", "libx264", g="3", **{"x264-params": "slices=4"}, )),
    "H.264 MP4, a cover": (".mp4", _video(".mp4", "libx264", cover=pictures()[0], g="3")),
    "H.265 MP4": (".mp4", _video(".mp4", "libx265", **_QUIET)),
    "H.265 MKV, 4:4:4": (".mkv", _video(".mkv", "libx265", "yuv444p", **_QUIET)),
    "H.265 MP4, PQ": (".mp4", _hdr),
    "VP8 WebM": (".webm", _video(".webm", "libvpx", g="3")),
    "VP9 WebM": (".webm", _video(".webm", "libvpx-vp9", g="3")),
    "VP9 WebM, alpha": (".webm", _video(".webm", "libvpx-vp9", "yuva420p", g="3")),
    "AV1 MKV": (".mkv", _video(".mkv", "libsvtav1", g="3", preset="12")),
    "AV1 MP4": (".mp4", _video(".mp4", "libsvtav1", g="3", preset="12")),
    "MPEG-1 MPG": (".mpg", _mpeg(".mpg", "mpeg1video")),
    "MPEG-2 MPEG, interlaced": (".mpeg", _mpeg(".mpeg", "mpeg2video", interlaced=True)),
    "MPEG-2 TS": (".ts", _mpeg(".ts", "mpeg2video")),
    "MPEG-4 AVI": (".avi", _video(".avi", "mpeg4", g="3")),
    "MPEG-4 MOV": (".mov", _video(".mov", "mpeg4", g="3")),
    "MS-MPEG-4 AVI": (".avi", _video(".avi", "msmpeg4", g="3")),
    "H.263 3GP": (".3gp", _video(".3gp", "h263", width=176, height=144, g="3")),
    "MJPEG AVI": (".avi", _video(".avi", "mjpeg", "yuvj420p")),
    "MJPEG MOV": (".mov", _video(".mov", "mjpeg", "yuvj422p")),
    "ProRes MOV": (".mov", _video(".mov", "prores", "yuv422p10le")),
    "FFV1 MKV": (".mkv", _video(".mkv", "ffv1", "yuv420p", slices="4", level="3")),
    "HuffYUV AVI": (".avi", _video(".avi", "huffyuv", "yuv422p")),
    "WMV 2": (".wmv", _video(".wmv", "wmv2", g="3")),
    "Flash video": (".flv", _video(".flv", "flv", g="3")),
    "GIF": (".gif", _video(".gif", "gif", "rgb8", times=[1024 * at for at in range(6)])),
}  # fmt: skip


# ---- photos ------------------------------------------------------------------------------------------------------


def _photo(form: str, mode: str = "RGB", **words):
    def make(_: pathlib.Path) -> bytes:
        from PIL import Image

        stream = io.BytesIO()
        if words.pop("exif_turn", False):
            note = Image.Exif()
            note[274] = 6
            note.get_ifd(0x8769)[0xA405] = 35
            words["exif"] = note
        Image.fromarray(pictures(4)[3]).convert(mode).save(stream, form, **words)
        return stream.getvalue()

    return make


def _opencv(suffix: str, image: np.ndarray):
    def make(_: pathlib.Path) -> bytes:
        import cv2

        return cv2.imencode(suffix, image)[1].tobytes()

    return make


_DEEP = pictures(1)[0].astype(np.uint16) * 257

PHOTOS: dict[str, tuple[str, Callable[[pathlib.Path], bytes]]] = {
    "JPEG": (".jpg", _photo("JPEG")),
    "JPEG, progressive": (".jpg", _photo("JPEG", progressive=True)),
    "JPEG, CMYK": (".jpg", _photo("JPEG", "CMYK")),
    "JPEG, grey": (".jpeg", _photo("JPEG", "L")),
    "JPEG, 4:4:4, turned by EXIF": (".jpg", _photo("JPEG", subsampling=0, exif_turn=True)),
    "PNG": (".png", _photo("PNG")),
    "PNG, palette": (".png", _photo("PNG", "P")),
    "PNG, alpha": (".png", _photo("PNG", "RGBA")),
    "PNG, one bit": (".png", _photo("PNG", "1")),
    "PNG, 16 bit": (".png", _opencv(".png", _DEEP)),
    "WebP": (".webp", _photo("WEBP")),
    "WebP, lossless, alpha": (".webp", _photo("WEBP", "RGBA", lossless=True)),
    "WebP, turned by EXIF": (".webp", _photo("WEBP", exif_turn=True)),
    "TIFF": (".tif", _photo("TIFF")),
    "TIFF, LZW": (".tif", _photo("TIFF", compression="tiff_lzw")),
    "TIFF, deflate, 16 bit": (".tiff", _opencv(".tiff", _DEEP)),
    "TIFF, JPEG": (".tif", _photo("TIFF", compression="jpeg")),
    "TIFF, fax": (".tif", _photo("TIFF", "1", compression="group4")),
    "BMP": (".bmp", _photo("BMP")),
    "BMP, palette": (".bmp", _photo("BMP", "P")),
}


def seeds(folder: pathlib.Path) -> dict[str, tuple[str, bytes]]:
    """Suffix and content of a whole file of each format."""
    return {name: (suffix, make(folder)) for name, (suffix, make) in (VIDEOS | PHOTOS).items()}


# ---- what becomes of them ----------------------------------------------------------------------------------------

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE)


def _flipped(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(0, len(data), int(rng.integers(1, 33))):
        data[at] ^= 1 << int(rng.integers(8))
    return data


def _noise(data: bytearray, rng: np.random.Generator) -> bytearray:
    length = int(rng.integers(1, max(len(data) // 8, 2)))
    at = int(rng.integers(0, len(data)))
    data[at : at + length] = rng.bytes(min(length, len(data) - at))
    return data


def _number(data: bytearray, rng: np.random.Generator) -> bytearray:
    order, width = ("<>"[int(rng.integers(2))]), int(rng.integers(3))
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))]
    packed = struct.pack(order + "BHI"[width], value & (0xFF, 0xFFFF, 0xFFFFFFFF)[width])
    # Sizes and counts stand at the beginning of most files, and at the end of some.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 400)
    at = int(rng.integers(0, reach))
    data[at : at + len(packed)] = packed
    return data


def _cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(1, max(len(data), 2)))]


def _shortened(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, length = int(rng.integers(0, len(data))), int(rng.integers(1, 200))
    del data[at : at + length]
    return data or bytearray(b"\0")


def _repeated(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, length = int(rng.integers(0, len(data))), int(rng.integers(1, 400))
    data[at:at] = data[at : at + length] * int(rng.integers(1, 20))
    return data


def _exchanged(data: bytearray, rng: np.random.Generator) -> bytearray:
    half = len(data) // 2
    length = int(rng.integers(1, max(half, 2)))
    first, second = (int(rng.integers(0, len(data))) for _ in range(2))
    data[first : first + length], data[second : second + length] = (
        data[second : second + length], data[first : first + length],
    )  # fmt: skip
    return data


MUTATIONS = (_flipped, _noise, _number, _number, _cut, _shortened, _repeated, _exchanged)


def mutated(whole: dict[str, tuple[str, bytes]], count: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """Format, suffix and content of so many broken files: formats take turns, one to three things happen to each."""
    names = list(whole)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name = names[number % len(names)]
        suffix, content = whole[name]
        data = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            data = MUTATIONS[int(rng.integers(len(MUTATIONS)))](data, rng)
        yield name, suffix, bytes(data)


@dataclasses.dataclass
class Outcomes:
    """What became of files that were read."""

    by_format: dict[str, collections.Counter]
    """Counts of `read`, `refused` and `ended` (the process crashed, hung, or was short of memory)."""
    ended: list[tuple[str, str, bytes]]
    """Format, message and content of those that ended their process."""
    longest_seconds: float = 0.0

    def total(self) -> collections.Counter:
        """Of all formats."""
        return sum(self.by_format.values(), collections.Counter())


def read_each(files: Iterable[tuple[str, str, bytes]], folder: pathlib.Path, decoder: ProcessDecoder) -> Outcomes:
    """Read files as jobs do. Whatever is not a picture of the right kind or a `MediaError` of one line is raised."""
    outcomes = Outcomes(collections.defaultdict(collections.Counter), [])
    for name, suffix, data in files:
        path = folder / f"broken{suffix}"
        path.write_bytes(data)
        start = time.perf_counter()
        try:
            for frame in video.open_media(path, max_pixels=MAX_PIXELS, decoder=decoder).frames(stop=MAX_FRAMES):
                height, width = frame.image.shape[:2]
                if frame.image.dtype != np.uint8 or frame.image.ndim != 3 or not 0 < height * width <= MAX_PIXELS:
                    raise AssertionError(f"{name}: {frame.image.shape} of {frame.image.dtype}")
            outcome = "read"
        except DecodingError as error:
            outcome = "ended"
            outcomes.ended.append((name, str(error), data))
        except video.MediaError as error:
            outcome = "refused"
            if "\n" in str(error):
                raise AssertionError(f"{name}: more than one line: {error}") from error
        outcomes.by_format[name][outcome] += 1
        outcomes.longest_seconds = max(outcomes.longest_seconds, time.perf_counter() - start)
    return outcomes
