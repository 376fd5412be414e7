"""Clips that are all different, and copies of them as they are met on the web: encoded again, cropped, mirrored, cut.

Among the different ones are those that a search for copies confuses: pieces of one video, other motion before one
background, other people in one room.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.perception import video

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_MEDIA = pathlib.Path(os.environ.get("HARDMO_DATA", _ROOT.parent / "shared" / "data")) / "media"
#: Drawn clips: width, height, frames a second, seconds.
_WIDTH, _HEIGHT, _FPS, _SECONDS = 320, 240, 12.0, 4.0
#: Longest side of clips that are cut out of videos and photos, pixels.
_SIDE = 360
_PIECE_SECONDS = 1.6

Pictures = Sequence[UInt8[np.ndarray, "H W 3"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """Frames in memory."""

    name: str
    frames: tuple[UInt8[np.ndarray, "H W 3"], ...]
    fps: float


def distinct_clips(seed: int, *, num_people: int, num_drawn: int = 24) -> Iterator[Clip]:
    """Clips of which no two are copies.

    Args:
        seed: Of what is drawn.
        num_people: Clips of rendered people; each takes seconds.
        num_drawn: Of shapes before textures; a third share one background.
    """
    rng = np.random.default_rng(seed)
    yield from _pieces_of_videos()
    yield from _panned_photos(rng)
    yield from _drawn(rng, num_drawn)
    if num_people:
        yield from _people(seed, num_people)


def _pieces_of_videos() -> Iterator[Clip]:
    from hardmo_jax.pipelines import demo_clip

    for path in [*sorted((_MEDIA / "videos").glob("*.mp4")), demo_clip.ASSETS / demo_clip.CLIP]:
        media = video.open_media(path)
        frames = [_fitted(frame.image) for frame in media.frames()]
        fps = media.fps or _FPS
        count = min(len(frames), int(_PIECE_SECONDS * fps))
        for piece in range(len(frames) // count):
            part = frames[piece * count : (piece + 1) * count]
            yield Clip(name=f"{path.stem} {piece}", frames=tuple(part), fps=fps)


def _panned_photos(rng: np.random.Generator) -> Iterator[Clip]:
    """A window that glides over a photo."""
    import cv2

    photos = sorted((_MEDIA / "images").rglob("*.jpg")) + sorted((_MEDIA / "images").rglob("*.png"))
    for path in photos:
        image = next(iter(video.open_media(path).frames())).image
        scale = 900 / max(image.shape[:2])
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        size = np.array([image.shape[0], image.shape[1]]) * 0.55
        room = np.array(image.shape[:2]) - size
        # Two ways over each photo that share little.
        for number, (start, end) in enumerate((((0, 0), (0, 1)), ((1, 1), (1, 0)))):
            wobble = rng.uniform(-0.05, 0.05, 2)
            frames = []
            for share in np.linspace(0, 1, int(_SECONDS * _FPS)):
                place = (1 - share) * np.array(start) + share * np.array(end) + wobble * np.sin(7 * share)
                y, x = (np.clip(place, 0, 1) * room).astype(int)
                frames.append(_fitted(image[y : y + int(size[0]), x : x + int(size[1])]))
            yield Clip(name=f"{path.stem} pan {number}", frames=tuple(frames), fps=_FPS)


def _drawn(rng: np.random.Generator, count: int) -> Iterator[Clip]:
    """Shapes that move before a texture; the first third before the same one."""
    import cv2

    shared = _texture(rng)
    for number in range(count):
        background = shared if number < count // 3 else _texture(rng)
        frames = []
        sizes, colours = rng.uniform(0.06, 0.16, 4), rng.integers(0, 255, (4, 3))
        middle, reach = rng.uniform(0.3, 0.7, (4, 2)), rng.uniform(0.1, 0.3, (4, 2))
        speed, phase = rng.uniform(0.5, 2.5, (4, 2)), rng.uniform(0, 6.3, (4, 2))
        for time in np.arange(int(_SECONDS * _FPS)) / _FPS:
            picture = background.copy()
            places = middle + reach * np.sin(speed * time + phase)
            for size, colour, place in zip(sizes, colours, places, strict=True):
                corner = tuple((place * (_WIDTH, _HEIGHT)).astype(int).tolist())
                cv2.circle(picture, corner, int(size * _HEIGHT), tuple(colour.tolist()), -1, cv2.LINE_AA)
            frames.append(picture)
        yield Clip(name=f"drawn {number}", frames=tuple(frames), fps=_FPS)


def _texture(rng: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    """Noise that is smooth at several scales."""
    import cv2

    picture = np.zeros((_HEIGHT, _WIDTH, 3))
    for cells, strength in ((3, 1.0), (6, 0.6), (15, 0.4), (60, 0.15)):
        noise = rng.normal(0, strength, (cells, cells, 3))
        picture += cv2.resize(noise, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 60 * picture, 0, 255).astype(np.uint8)


def _people(seed: int, count: int) -> Iterator[Clip]:
    from hardmo_jax.body import load
    from hardmo_jax.pipelines import rendered_people

    body = load.open_body(view="smplh")
    length = 6
    pictures = list(rendered_people.rendered_pictures(body, seed, count, length))
    for number in range(count):
        frames = [_fitted(p.frame.image) for p in pictures[number * length : (number + 1) * length]]
        yield Clip(name=f"rendered person {number}", frames=tuple(frames), fps=2.5)


def _fitted(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """No longer than `_SIDE` pixels."""
    import cv2

    scale = min(1.0, _SIDE / max(image.shape[:2]))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def cropped(frames: Pictures, left: float, right: float, top: float, bottom: float) -> list[UInt8[np.ndarray, "H W 3"]]:
    """Frames without shares of their sides."""
    height, width = frames[0].shape[:2]
    rows = slice(round(top * height), round((1 - bottom) * height))
    columns = slice(round(left * width), round((1 - right) * width))
    return [np.ascontiguousarray(frame[rows, columns]) for frame in frames]


def _smaller(frames: Pictures, scale: float) -> list[UInt8[np.ndarray, "H W 3"]]:
    import cv2

    return [cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for frame in frames]


def _crop(rng: np.random.Generator, frames: Pictures) -> list[UInt8[np.ndarray, "H W 3"]]:
    left, right, top, bottom = rng.uniform(0, 0.15, 4)
    return cropped(frames, left, right, top, bottom)


def _mirror(frames: Pictures) -> list[UInt8[np.ndarray, "H W 3"]]:
    return [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]


def _toned(frames: Pictures) -> list[UInt8[np.ndarray, "H W 3"]]:
    """Brighter, flatter and warmer."""
    return [np.clip(frame * np.array([0.85, 0.75, 0.65]) + 45, 0, 255).astype(np.uint8) for frame in frames]


def copies(clip: Clip, rng: np.random.Generator) -> dict[str, tuple[Clip, int]]:
    """Copies by what was done to them, with the constant rate factor to encode each with."""

    def made(name: str, frames: Pictures, fps: float | None = None) -> Clip:
        return Clip(name=f"{clip.name}, {name}", frames=tuple(frames), fps=fps or clip.fps)

    late = max(1, round(0.15 * len(clip.frames)))
    changes: dict[str, tuple[Callable[[], Pictures], int]] = {
        "encoded again": (lambda: clip.frames, 36),
        "half as large": (lambda: _smaller(clip.frames, 0.5), 30),
        "cropped": (lambda: _crop(rng, clip.frames), 28),
        "mirrored": (lambda: _mirror(clip.frames), 28),
        "cropped and mirrored": (lambda: _mirror(_crop(rng, clip.frames)), 32),
        "brighter": (lambda: _toned(clip.frames), 28),
        "begins later": (lambda: clip.frames[late:], 28),
        "half the frames": (lambda: clip.frames[::2], 28),
    }
    found = {name: (made(name, change()), quality) for name, (change, quality) in changes.items()}
    halved, quality = found["half the frames"]
    found["half the frames"] = (dataclasses.replace(halved, fps=clip.fps / 2), quality)
    return found


def write_clip(path: pathlib.Path, clip: Clip, quality: int = 20) -> pathlib.Path:
    """Encode a clip as H.264; `quality` is the constant rate factor."""
    from hardmo_jax.viz.overlay import VideoOverlayWriter

    with VideoOverlayWriter(path, clip.fps, quality=quality) as writer:
        for frame in clip.frames:
            writer.add(frame)
    return path
