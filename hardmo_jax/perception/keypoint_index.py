"""Pictures of a keypoint file that speaks of many: found by their name, or by the frame of a video."""

import pathlib

from hardmo_jax.perception import frame_numbers
from hardmo_jax.perception.keypoint_files import FilePerson, FilePicture, KeypointFile
from hardmo_jax.perception.video import Frame


class PictureIndex:
    """Pictures of one file that speaks of many."""

    def __init__(self, file: KeypointFile) -> None:
        self._format = file.format
        self.bad = dict(file.bad_pictures)
        """What is wrong with pictures that could not be read, a line each."""
        self._people: dict[FilePicture, list[FilePerson]] = {picture: [] for picture in file.pictures}
        for person in file.people:
            self._people.setdefault(person.picture, []).append(person)
        self._by_name: dict[str, list[FilePicture]] = {}
        for picture in self._people:
            if picture.name is not None:
                self._by_name.setdefault(pathlib.PurePosixPath(picture.name).name, []).append(picture)
        self._by_key: dict[str, list[FilePicture]] = {}

    @property
    def pictures(self) -> tuple[FilePicture, ...]:
        """All, in the order of the file."""
        return tuple(self._people)

    @property
    def people(self) -> tuple[FilePerson, ...]:
        """All of them."""
        return tuple(person for people in self._people.values() for person in people)

    def frames(self, stem: str, first_frame: int | None) -> tuple[dict[int, list[str]], int]:
        """Keys of pictures by the frame of a video, and the number of the first; see `frame_numbers`."""
        numbered = [picture for picture in self._people if picture.frame_index is not None]
        if not numbered:
            self._by_key = {}
            for name, pictures in self._by_name.items():
                self._by_key.setdefault(pathlib.PurePosixPath(name).stem, []).extend(pictures)
            return frame_numbers.frames_by_number(self._by_key, stem, first_frame)
        # Lists of MMPose hold every frame; others leave out those with nobody, so that 1 may well be the second.
        if first_frame is None and self._format != "mmpose":
            first_frame = 0
        first = frame_numbers.first_number([one.frame_index or 0 for one in numbered], (), first_frame)
        found: dict[int, list[str]] = {}
        for place, picture in enumerate(numbered):
            key = str(place)
            self._by_key[key] = [picture]
            found.setdefault((picture.frame_index or 0) - first, []).append(key)
        return found, first

    def find(
        self, frame: Frame, by_number: dict[int, list[str]] | None
    ) -> tuple[tuple[FilePicture, ...], tuple[FilePerson, ...]] | None:
        """Entries of a picture, and the people in them; None without any.

        Args:
            frame: The picture.
            by_number: Of a video, what `frames` gave.
        """
        if by_number is not None:
            pictures = [one for key in by_number.get(frame.frame_index, []) for one in self._by_key[key]]
        else:
            path = frame.source_path
            pictures = self._by_name.get(path.name) or self._by_name.get(path.stem) or []
            if not pictures and path.stem.isdecimal():
                pictures = self._by_name.get(path.stem.lstrip("0") or "0", [])
            if len(pictures) > 1:
                # Of pictures of one name that one in the same folder.
                depth = {one: _common_end(pathlib.PurePosixPath(one.name or "").parts, path.parts) for one in pictures}
                pictures = [one for one in pictures if depth[one] == max(depth.values())]
        if not pictures:
            return None
        return tuple(pictures), tuple(person for picture in pictures for person in self._people[picture])


def _common_end(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Parts at the end of two paths that are the same."""
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count
