"""The units of a job: a video each, or some photos, that one worker looks at."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

from hardmo_jax.perception import media_files, video
from hardmo_jax.perception.photos import IMAGE_SUFFIXES, MAX_PIXELS
from hardmo_jax.pipelines.annotate_options import AnnotateOptions

#: Photos that are looked at, and fitted, together, whatever inputs they came by.
PHOTOS_PER_ITEM = 256
#: What stays of a name in that of a folder.
_PLAIN = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 60


class ShardError(ValueError):
    """A shard of a job is none, such as the third of two."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobShard:
    """Which of the machines that share a job this is."""

    number: int = 1
    """From 1."""
    count: int = 1
    """Of all."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ShardError(
                f"--shard={self.number}/{self.count}: expected a shard from 1 to the number of them, such as 1/4 and "
                "4/4 for the first and last of four"
            )

    @classmethod
    def parse(cls, text: str) -> "JobShard":
        """A shard written as `2/4`.

        Raises:
            ShardError: If it is none.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
        if found is None:
            raise ShardError(f"--shard={text}: expected two whole numbers, such as 1/4 for the first of four")
        return cls(number=int(found[1]), count=int(found[2]))

    @property
    def suffix(self) -> str:
        """Part of the names of what this shard writes; empty where there is one."""
        return "" if self.count == 1 else f"-{self.number}-of-{self.count}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobItem:
    """A video, photos of one folder, or photos of which files have the keypoints."""

    name: str
    """Of its folder of parts; sorted by it items are in the order of the inputs."""
    source: pathlib.Path
    """The file, or the folder of the photos."""
    photos: tuple[str, ...] = ()
    """Names of the photos below the folder; none where the source is looked at as a whole."""
    num_bytes: int | None = None
    """Size of what is read; None where nothing can be."""

    def open(self) -> pathlib.Path | video.Media:
        """What `open_input` opens."""
        if not self.photos:
            return self.source
        paths = tuple(self.source / photo for photo in self.photos)
        return video.Media(path=self.source, kind="folder", paths=paths, max_pixels=MAX_PIXELS)


def items_of_sources(sources: Sequence[pathlib.Path], options: AnnotateOptions) -> list[JobItem]:
    """What is to be looked at, in the order of the inputs.

    Photos that are named one after the other and lie in one folder are items of `PHOTOS_PER_ITEM`, as those of a folder
    are, so that fits are as large as the device wants them.

    Args:
        sources: Videos, photos, keypoint files, folders of photos, which may not exist.
        options: Which photos of a folder are chosen.
    """
    # The same file named twice is one.
    sources = list({os.path.realpath(source): source for source in reversed(sources)}.values())[::-1]
    items: list[JobItem] = []
    for place, (source, photos) in enumerate(_sources(sources, options)):
        plain = name_of_item(source if source.stem else source.resolve())
        items.append(
            JobItem(name=f"{place:07d}_{plain}", source=source, photos=photos, num_bytes=_num_bytes(source, photos))
        )
    return items


def name_of_item(source: pathlib.PurePath) -> str:
    """What an item is called behind its number."""
    return _PLAIN.sub("_", source.stem).strip("._")[:_LONGEST_NAME] or "source"


def _sources(
    sources: Sequence[pathlib.Path], options: AnnotateOptions
) -> Iterator[tuple[pathlib.Path, tuple[str, ...]]]:
    """Each item's source, and its photos."""
    lone: list[pathlib.Path] = []
    for source in sources:
        is_photo = source.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(source)
        if lone and (not is_photo or source.parent != lone[0].parent or len(lone) == PHOTOS_PER_ITEM):
            yield lone[0].parent, tuple(photo.name for photo in lone)
            lone = []
        if is_photo:
            lone.append(source)
        elif os.path.isdir(source):
            yield from _of_folder(source, options)
        else:
            yield source, ()
    if lone:
        yield lone[0].parent, tuple(photo.name for photo in lone)


def _of_folder(folder: pathlib.Path, options: AnnotateOptions) -> Iterator[tuple[pathlib.Path, tuple[str, ...]]]:
    files = media_files.files_below(folder)
    photos = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    keypoints = [path for path in files if path.suffix.lower() in media_files.KEYPOINT_SUFFIXES]
    if not photos or media_files.of_pictures(keypoints, photos):
        # Files of keypoints speak of pictures all over the folder.
        yield folder, ()
        if photos:
            yield from ((path, ()) for path in files if path.suffix.lower() in media_files.VIDEO_SUFFIXES)
        return
    names = [path.relative_to(folder).as_posix() for path in photos][:: options.frames.stride][: options.limit_frames]
    for first in range(0, len(names), PHOTOS_PER_ITEM):
        yield folder, tuple(names[first : first + PHOTOS_PER_ITEM])
    yield from ((path, ()) for path in files if path.suffix.lower() in media_files.VIDEO_SUFFIXES)


def _num_bytes(source: pathlib.Path, photos: tuple[str, ...]) -> int | None:
    try:
        return sum((source / photo).stat().st_size for photo in photos) if photos else source.stat().st_size
    except OSError:
        return None
