"""Pictures of labels for somebody who looks at them, or why there is none."""

import collections
import pathlib

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.perception import video
from hardmo_jax.perception.frame_finder import FrameFinder
from hardmo_jax.perception.photos import MediaError
from hardmo_jax.pipelines.viewed_labels import ViewedPicture

#: Files that are open at a time: going through the worst parts goes to and fro between them.
_OPEN = 3


class PictureSource:
    """Pictures below a folder; the last few files stay open."""

    def __init__(self, root: pathlib.Path | None, *, beside: pathlib.Path | None = None) -> None:
        """Take pictures from a folder.

        Args:
            root: That the paths of labels are relative to; None if nobody knows.
            beside: Folder of the labels: what is not in the other one may have moved with them, into it or above it.
        """
        self._roots = [folder for folder in (root, beside, beside.parent if beside else None) if folder is not None]
        self._open: collections.OrderedDict[tuple[str, str], FrameFinder] = collections.OrderedDict()
        # Digests of files that did not change since: reading a long video for one takes seconds.
        self._known: dict[tuple[str, int, int], str] = {}

    def __call__(self, picture: ViewedPicture) -> tuple[UInt8[np.ndarray, "H W 3"] | None, str]:
        """A picture, or None and a sentence that says why there is none."""
        key = (picture.source_path, picture.source_sha256)
        try:
            if key not in self._open:
                found = self._opened(*key)
                if isinstance(found, str):
                    return None, found
                self._open[key] = found
                while len(self._open) > _OPEN:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(key)
            return self._open[key].image(picture.frame_index, picture.time_seconds), ""
        except (MediaError, OSError) as error:
            return None, f"no picture: {error}; give the folder of pictures as --pictures"

    def _opened(self, source_path: str, sha256: str) -> FrameFinder | str:
        """A file ready to be looked into, or why not."""
        if not self._roots:
            return "no pictures: nothing says where they are; give their folder as --pictures"
        # By its words: what a link below the folder leads to was labelled, and its digest says whether it is that.
        parts = pathlib.PurePosixPath(source_path.replace("\\", "/")).parts
        if ".." in parts or pathlib.PurePath(source_path).is_absolute() or parts[:1] == ("/",):
            return f"no picture: {source_path} lies outside of the folder of pictures"
        places = [root / source_path for root in self._roots]
        path = next((place for place in places if place.is_file()), places[0])
        media = video.open_media(path)
        if media.kind == "keypoints":
            return f"no picture: {path.name} holds keypoints alone"
        if media.kind == "folder":
            return f"no picture: {path.name} is a folder"
        stat = path.stat()
        file = (str(path), stat.st_size, stat.st_mtime_ns)
        if file not in self._known:
            self._known[file] = media.sha256[0]
        if self._known[file] != sha256:
            return f"no picture: {path.name} is another file than the one that was labelled"
        return FrameFinder(media)
