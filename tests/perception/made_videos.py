"""Videos as they come from phones, cameras, editors and broken downloads, made of a few frames of one person."""

import dataclasses
import fractions
import os
import pathlib
import struct
from collections.abc import Callable, Sequence

import av
import cv2
import numpy as np

TICK = fractions.Fraction(1, 12800)
STEP = 512
#: Rows of the display matrix by clockwise turn: what a player does to the stored picture.
_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@dataclasses.dataclass(frozen=True)
class Colour:
    """Transfer, primaries and matrix as numbers of ITU-T H.273."""

    transfer: int
    primaries: int
    matrix: int


SDR, PQ, HLG = Colour(1, 1, 1), Colour(16, 9, 9), Colour(18, 9, 9)


def write(
    path: pathlib.Path,
    pictures: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    source: str = "rgb24",
    times: Sequence[int] | None = None,
    aspect: fractions.Fraction | None = None,
    colour: Colour | None = None,
    full_range: bool = False,
    cover: np.ndarray | None = None,
    container: dict[str, str] | None = None,
    **options: str,
) -> pathlib.Path:
    """Encode pictures.

    Args:
        path: Its suffix tells the container.
        pictures: (H, W, 3) as `source` says.
        codec: Name of FFmpeg's encoder.
        pixels: Its pixel format.
        source: `rgb24`, or `rgb48le` for what has more than eight bits.
        times: In `TICK`s; 25 a second if none are given.
        aspect: Width of a pixel by its height.
        colour: Tags of the stream.
        full_range: Of luma.
        cover: A still picture as another stream.
        container: Options of the container.
        options: Of the encoder.
    """
    with av.open(str(path), "w", options=container or {}) as output:
        stream = output.add_stream(codec, rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.options = pixels, options
        stream.codec_context.time_base = stream.time_base = TICK
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if colour:
            context = stream.codec_context
            context.color_trc, context.color_primaries, context.colorspace = (
                colour.transfer, colour.primaries, colour.matrix,
            )  # fmt: skip
        if full_range:
            stream.codec_context.color_range = 2
        still = None
        if cover is not None:
            still = output.add_stream("mjpeg", rate=1)
            still.height, still.width, still.pix_fmt = *cover.shape[:2], "yuvj420p"
            still.disposition = av.stream.Disposition.attached_pic
            output.start_encoding()
            output.mux(still.encode(av.VideoFrame.from_ndarray(cover, format="rgb24").reformat(format="yuvj420p")))
        for at, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format=source)
            frame = frame.reformat(
                format=pixels,
                dst_colorspace=colour.matrix if colour else None,
                dst_color_range="JPEG" if full_range else None,
            )
            frame.pts, frame.time_base = (times[at] if times else at * STEP), TICK
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if still is not None:
            output.mux(still.encode(None))
    return path


def write_rotated(path: pathlib.Path, pictures: Sequence[np.ndarray], turn: int) -> pathlib.Path:
    """An MP4 whose pictures are stored turned, with the flag that turns them back by so many degrees clockwise."""
    write(path, [np.ascontiguousarray(np.rot90(picture, turn // 90)) for picture in pictures])
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in _TURNS[turn])
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def write_sound(path: pathlib.Path) -> pathlib.Path:
    """A file of sound alone."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def cut_off(source: pathlib.Path, path: pathlib.Path, share: float) -> pathlib.Path:
    """The first part of a file, as of a download that broke off."""
    path.write_bytes(source.read_bytes()[: int(share * source.stat().st_size)])
    return path


def with_damaged_begin(source: pathlib.Path, path: pathlib.Path, num_bytes: int) -> pathlib.Path:
    """An MP4 of which the first bytes of the first frames are noise."""
    data = bytearray(source.read_bytes())
    begin = data.index(b"mdat") + 8
    data[begin : begin + num_bytes] = np.random.default_rng(0).bytes(num_bytes)
    path.write_bytes(data)
    return path


# ---- high dynamic range: the encodings of ITU-R BT.2100, in double precision -------------------------------------

#: From linear BT.709 to linear BT.2020 (ITU-R BT.2087, table 1).
_TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
#: Luminance of diffuse white in HDR, candela per square metre (ITU-R BT.2408).
_WHITE = 203.0


def as_hdr(picture: np.ndarray, transfer: int) -> np.ndarray:
    """A picture of standard range as a PQ or HLG signal in BT.2020, uint16, its white at 203 cd/m2."""
    light = np.power(picture / 255.0, 2.4) @ _TO_2020.T * _WHITE
    if transfer == PQ.transfer:
        powered = np.power(np.clip(light / 10_000, 0, 1), 0.1593017578125)
        signal = np.power((0.8359375 + 18.8515625 * powered) / (1 + 18.6875 * powered), 78.84375)
    else:
        display = np.clip(light / 1_000, 0, 1)
        luminance = display @ np.array([0.2627, 0.6780, 0.0593])
        scene = display * np.power(np.maximum(luminance, 1e-9), 1 / 1.2 - 1)[..., None]
        high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)
    return np.round(np.clip(signal, 0, 1) * 65535).astype(np.uint16)


# ---- all of them -----------------------------------------------------------------------------------------------

Maker = Callable[[pathlib.Path, list[np.ndarray]], pathlib.Path]
IRREGULAR = (0, 512, 2048, 2176)


def _odd(folder: pathlib.Path, pictures: list[np.ndarray]) -> pathlib.Path:
    return write(folder / "odd.webm", [one[:-1, :-1].copy() for one in pictures], codec="libvpx-vp9", crf="10")


def _symlink(folder: pathlib.Path, pictures: list[np.ndarray]) -> pathlib.Path:
    target = folder / "elsewhere" / "target.mp4"
    target.parent.mkdir()
    write(target, pictures)
    os.symlink(target, folder / "linked.mp4")
    return folder / "linked.mp4"


#: Videos of the same frames, by what is special about them; every one is to give the labels of `plain`.
SAME: dict[str, Maker] = {
    "plain": lambda folder, pictures: write(folder / "plain.mp4", pictures),
    "turned 90": lambda folder, pictures: write_rotated(folder / "turned_90.mp4", pictures, 90),
    "turned 180": lambda folder, pictures: write_rotated(folder / "turned_180.mp4", pictures, 180),
    "turned 270": lambda folder, pictures: write_rotated(folder / "turned_270.mp4", pictures, 270),
    "odd size": _odd,
    "variable rate": lambda folder, pictures: write(folder / "variable.mkv", pictures, times=IRREGULAR),
    "10 bit": lambda folder, pictures: write(folder / "ten_bit.mp4", pictures, pixels="yuv420p10le"),
    "PQ": lambda folder, pictures: write(
        folder / "pq.mp4", [as_hdr(one, PQ.transfer) for one in pictures], codec="libx265", pixels="yuv420p10le",
        source="rgb48le", colour=PQ, **{"x265-params": "log-level=none"},
    ),
    "HLG": lambda folder, pictures: write(
        folder / "hlg.mov", [as_hdr(one, HLG.transfer) for one in pictures], codec="libx265", pixels="yuv420p10le",
        source="rgb48le", colour=HLG, **{"x265-params": "log-level=none"},
    ),
    "other letters and spaces": lambda folder, pictures: write(folder / "tänzer 日本 💃 no. 1.mp4", pictures),
    "a new line": lambda folder, pictures: write(folder / "two\nlines.mp4", pictures),
    "a dash before": lambda folder, pictures: write(folder / "--dash.mp4", pictures),
    "interlaced": lambda folder, pictures: write(
        folder / "interlaced.ts", pictures, **{"x264-params": "interlaced=1:tff=1"}
    ),
    "full range": lambda folder, pictures: write(folder / "full.mp4", pictures, pixels="yuvj420p"),
    "full range by its tag": lambda folder, pictures: write(
        folder / "tagged.mkv", pictures, full_range=True, colour=SDR
    ),
    "a cover": lambda folder, pictures: write(folder / "cover.mp4", pictures, cover=pictures[0][::-1, ::-1].copy()),
    "B frames": lambda folder, pictures: write(folder / "b.mp4", pictures, bf="3", **{"x264-params": "b-adapt=0"}),
    "alpha": lambda folder, pictures: write(
        folder / "alpha.webm", pictures, codec="libvpx-vp9", pixels="yuva420p", crf="10"
    ),
    "AVI": lambda folder, pictures: write(folder / "old.avi", pictures, codec="mjpeg", pixels="yuvj420p", q="2"),
    "AV1": lambda folder, pictures: write(folder / "av1.mkv", pictures, codec="libsvtav1", crf="20"),
    "ProRes": lambda folder, pictures: write(folder / "prores.mov", pictures, codec="prores", pixels="yuv422p10le"),
    "a link": _symlink,
}  # fmt: skip


def _truncated(folder: pathlib.Path, pictures: list[np.ndarray]) -> pathlib.Path:
    whole = write(folder / "whole.mp4", pictures * 4, g="4", container={"movflags": "+faststart"})
    path = cut_off(whole, folder / "truncated.mp4", 0.6)
    whole.unlink()
    return path


def _damaged(folder: pathlib.Path, pictures: list[np.ndarray]) -> pathlib.Path:
    whole = write(folder / "sound.mp4", pictures * 3, g="4", bf="0")
    path = with_damaged_begin(whole, folder / "damaged.mp4", 3000)
    whole.unlink()
    return path


def _wide(pictures: list[np.ndarray]) -> list[np.ndarray]:
    return [cv2.resize(one, None, fx=0.75, fy=1.0, interpolation=cv2.INTER_AREA)[:, :-1].copy() for one in pictures]


#: Videos that give labels of their own.
OTHER: dict[str, Maker] = {
    "truncated": _truncated,
    "damaged at the beginning": _damaged,
    "a lone frame": lambda folder, pictures: write(folder / "lone.mp4", pictures[:1]),
    "pixels that are not square": lambda folder, pictures: write(
        folder / "wide.mp4", _even(_wide(pictures)), aspect=fractions.Fraction(4, 3)
    ),
    "grey": lambda folder, pictures: write(folder / "grey.mkv", pictures, codec="ffv1", pixels="gray"),
    "GIF": lambda folder, pictures: write(
        folder / "moving.gif", pictures, codec="gif", pixels="rgb8",
        times=[2 * at * STEP for at in range(len(pictures))],
    ),
}  # fmt: skip


def _even(pictures: list[np.ndarray]) -> list[np.ndarray]:
    height, width = (side // 2 * 2 for side in pictures[0].shape[:2])
    return [one[:height, :width].copy() for one in pictures]


def _file(path: pathlib.Path, data: bytes) -> pathlib.Path:
    path.write_bytes(data)
    return path


def _without_index(folder: pathlib.Path, pictures: list[np.ndarray]) -> pathlib.Path:
    whole = write(folder / "unfinished_whole.mp4", pictures)
    path = cut_off(whole, folder / "unfinished.mp4", 0.7)
    whole.unlink()
    return path


#: Files that cannot be labelled, and what is said of them.
REFUSED: dict[str, tuple[Maker, str]] = {
    "sound alone": (lambda folder, _: write_sound(folder / "sound_alone.mp4"), "holds no moving picture"),
    "no bytes": (lambda folder, _: _file(folder / "empty.mp4", b""), "the file is empty (0 bytes)"),
    "a text": (
        lambda folder, _: _file(folder / "text.mp4", b"see attachment\n" * 9),
        "is not a video that can be read",
    ),
    "a playlist": (
        lambda folder, _: _file(folder / "list.mp4", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"),
        "is not a video that can be read",
    ),
    "a raw stream": (lambda folder, pictures: write(folder / "raw.h264", pictures), "suffix '.h264' is not known"),
    "no index": (_without_index, "its index is missing"),
}
