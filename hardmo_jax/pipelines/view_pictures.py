"""Pictures of labels for somebody who looks at them, or why there is none."""

import pathlib

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.perception import video
from hardmo_jax.perception.frame_finder import FrameFinder
from hardmo_jax.perception.photos import MediaError
from hardmo_jax.pipelines.viewed_labels import ViewedPicture


class PictureSource:
    """Pictures below a folder; one file is open at a time."""

    def __init__(self, root: pathlib.Path | None) -> None:
        """Take pictures from a folder.

        Args:
            root: That the paths of labels are relative to; None if nobody knows.
        """
        self._root = root
        self._found: dict[tuple[str, str], FrameFinder | str] = {}

    def __call__(self, picture: ViewedPicture) -> tuple[UInt8[np.ndarray, "H W 3"] | None, str]:
        """A picture, or None and a sentence that says why there is none."""
        key = (picture.source_path, picture.source_sha256)
        if key not in self._found:
            for other in self._found.values():
                if isinstance(other, FrameFinder):
                    other.close()
            self._found = {name: found for name, found in self._found.items() if isinstance(found, str)}
            self._found[key] = self._opened(*key)
        finder = self._found[key]
        if isinstance(finder, str):
            return None, finder
        try:
            return finder.image(picture.frame_index, picture.time_seconds), ""
        except (MediaError, OSError) as error:
            return None, f"no picture: {error}"

    def _opened(self, source_path: str, sha256: str) -> FrameFinder | str:
        if self._root is None:
            return "no pictures: nothing says where they are; give their folder as --pictures"
        path = (self._root / source_path).resolve()
        if not path.is_relative_to(self._root.resolve()):
            return f"no picture: {source_path} lies outside of the folder of pictures"
        try:
            media = video.open_media(path)
            if media.kind == "keypoints":
                return f"no picture: {path.name} holds keypoints alone"
            if media.sha256[0] != sha256:
                return f"no picture: {path.name} is another file than the one that was labelled"
        except (MediaError, OSError) as error:
            return f"no picture: {error}; give the folder of pictures as --pictures"
        return FrameFinder(media)
