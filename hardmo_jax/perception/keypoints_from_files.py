"""People of pictures as files of another program know them, in place of a detector.

Files are read when their picture comes, one at a time where there is one a picture. What cannot be right is not used:
a file that cannot be read, one whose picture is of another size, and one most of whose points lie outside the picture
leave their picture without people, and are told (`warnings`).
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import crops, frame_numbers, shots
from hardmo_jax.perception import track as tracking
from hardmo_jax.perception.keypoint_files import (
    MAX_PICTURE_BYTES,
    FilePerson,
    FilePicture,
    KeypointFileError,
    LayoutChoice,
    find_photo,
    read_keypoint_file,
)
from hardmo_jax.perception.keypoint_index import PictureIndex
from hardmo_jax.perception.media_files import natural_key
from hardmo_jax.perception.people import PersonKeypoints, numbered_on
from hardmo_jax.perception.video import Frame

#: Confidence from which points make the box of a person.
_TRUSTED = 0.3
#: The box of points is this much larger at each end: it ends at eyes and ankles.
_BOX_MARGIN = 0.08
#: Points may lie this far outside of the picture, shares of its longer side, before they count as those of another one.
_OUTSIDE = 0.15
#: Warnings of one kind that are told.
_MOST_TOLD = 3
#: Numbers of people whom a file that numbers others gives none.
_UNNUMBERED = 1_000_000


class FilePeople:
    """Keypoints of a file, or of a folder of files, for the pictures that they speak of."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        only: Sequence[pathlib.Path] | None = None,
        layout: LayoutChoice | None = None,
        first_frame: int | None = None,
        make_tracker: Callable[[], tracking.PeopleTracker] = tracking.Tracker,
    ) -> None:
        """Open a file, or list a folder.

        Args:
            path: JSON file, or a folder of them (subfolders are read too): one a picture, called as it, as OpenPose and
                MMPose write them.
            only: Files of the folder that count; None takes all.
            layout: Of the points, see `keypoint_files.read_keypoint_file`.
            first_frame: Number that the files give the first frame of a video; None tells by them, see `frame_numbers`.
            make_tracker: Makes whoever follows people whom the files give no numbers.

        Raises:
            FileNotFoundError: If nothing is there.
            KeypointFileError: If a file is none of keypoints, or a folder holds none.
        """
        self._path = pathlib.Path(path)
        self._layout: LayoutChoice | None = layout
        self._make_tracker = make_tracker
        self.source = f"file:{self._path.name}"
        self._warnings: dict[str, list[str]] = {}
        self._kinds: dict[str, str] = {}
        self._first_frame = first_frame
        self._num_pictures = self._num_known = 0
        self._unusable: set[int | str] = set()
        self._takes_numbers: bool | None = None
        if not self._path.exists():
            raise FileNotFoundError(f"{self._path}: no such file or folder of keypoints")
        self._files: dict[str, pathlib.Path] = {}
        self._names_by_frame: tuple[str, dict[int, list[str]]] | None = None
        self._whole: PictureIndex | None = None
        if self._path.is_dir():
            self._files = _files_of(self._path, only)
            if not self._files:
                raise KeypointFileError(f"{self._path}: expected files of keypoints (.json), found none")
            if len(self._files) == 1 and only is None:
                # One file for all pictures, as `tools.export` leaves it in a folder.
                self._path = next(iter(self._files.values()))
        if self._path.is_file():
            self._whole = PictureIndex(read_keypoint_file(self._path, layout=layout))
            people = self._whole.people
            self._takes_numbers = bool(people) and all(person.track_id is not None for person in people)

    @property
    def unusable(self) -> frozenset[int | str]:
        """Pictures whose keypoints are missing or could not be used; see `people.PeopleSource`."""
        return frozenset(self._unusable)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was not used, and why, a line each."""
        told = []
        for kind, places in self._warnings.items():
            more = f" and {len(places) - _MOST_TOLD} more" if len(places) > _MOST_TOLD else ""
            told.append(f"{kind} ({'; '.join(places[:_MOST_TOLD])}{more})")
        return tuple(told)

    def photos(self) -> tuple[pathlib.Path, ...]:
        """The photos that the files speak of, beside them or in a folder `images` there; those without are told.

        Raises:
            KeypointFileError: If none is there.
        """
        if self._whole is None:
            named = [(path, name, None) for name, path in self._files.items()]
        else:
            named = [(self._path, picture.name, picture.frame_index) for picture in self._whole.pictures]
        found: dict[pathlib.Path, None] = {}
        missing: list[KeypointFileError] = []
        is_of_video = False
        for path, name, frame_index in named:
            try:
                found[find_photo(path, name)] = None
            except KeypointFileError as error:
                missing.append(error)
                is_of_video = is_of_video or frame_index is not None
        if not found and is_of_video:
            raise KeypointFileError(
                f"{self._path}: holds frames of a video; pass the video as --input, with --config.perception.detector="
                f"files --config.perception.keypoints_file={self._path}"
            )
        if not found:
            raise missing[0] if missing else KeypointFileError(f"{self._path}: speaks of no picture")
        for error in missing:
            self._unusable.add(str(error))
            self._warn("keypoints of pictures that are not there", str(error))
        return tuple(found)

    def people_of(self, frames: Iterable[Frame], *, is_video: bool) -> Iterator[list[PersonKeypoints]]:
        """People of pictures; see `people.PeopleSource`.

        Raises:
            KeypointFileError: Behind the last picture, if the files speak of none of them.
        """
        if is_video:
            yield from numbered_on(self._people(shot, is_video=True) for shot in shots.in_shots(frames))
        else:
            yield from self._people(frames, is_video=False)
        if self._num_pictures and not self._num_known:
            raise KeypointFileError(
                f"{self._path}: speaks of none of the {self._num_pictures} pictures; a photo is found by its name, a "
                "frame of a video by the number in the name of its file (`clip_000000000012_keypoints.json`) or in the "
                "file"
            )

    def _people(self, frames: Iterable[Frame], *, is_video: bool) -> Iterator[list[PersonKeypoints]]:
        """People of pictures of one shot."""
        tracker = self._make_tracker()
        for frame in frames:
            self._num_pictures += 1
            found = self._look_up(frame, is_video=is_video)
            self._num_known += found is not None
            if found is None:
                self._unusable.add(frame.position)
                self._warn("no keypoints of some pictures", _name_of(frame, is_video))
            people = [person for one in found or () for person in self._person(one, frame)]
            yield self._numbered(people, tracker, frame) if is_video else people

    def _numbered(
        self, people: list[PersonKeypoints], tracker: tracking.PeopleTracker, frame: Frame
    ) -> list[PersonKeypoints]:
        """People of a frame with the numbers that the files give them, or else all with those of the tracker.

        Whoever has none among others that do gets one far above theirs.
        """
        if self._takes_numbers is None and people:
            self._takes_numbers = all(person.track_id is not None for person in people)
        if not self._takes_numbers:
            # Frames without anybody count, too: the tracker forgets by them.
            return tracker.step(people, frame.image)
        others = tracker.step([person for person in people if person.track_id is None], frame.image)
        numbers = iter(_UNNUMBERED + (person.track_id or 0) for person in others)
        return [
            person if person.track_id is not None else dataclasses.replace(person, track_id=next(numbers))
            for person in people
        ]

    def _look_up(self, frame: Frame, *, is_video: bool) -> tuple[FilePerson, ...] | None:
        """People of a picture as the file has them; None if it speaks of none or cannot be used."""
        if self._whole is not None:
            by_number = self._frames_of_video(frame) if is_video else None
            return self._checked(self._whole.find(frame, by_number), frame, self._whole.bad, is_video=is_video)
        path = self._file_of_frame(frame) if is_video else _file_of_photo(self._files, frame)
        if path is None:
            return None
        try:
            file = read_keypoint_file(path, layout=self._layout, max_bytes=MAX_PICTURE_BYTES)
        except (KeypointFileError, OSError) as error:
            self._unusable.add(frame.position)
            self._warn("files of keypoints that cannot be read", str(error))
            return ()
        bad = dict(file.bad_pictures)
        return self._checked((file.pictures, file.people), frame, bad, is_video=is_video)

    def _file_of_frame(self, frame: Frame) -> pathlib.Path | None:
        """The file of a frame, by the number at the end of its name."""
        names = self._frames_of_video(frame).get(frame.frame_index, [])
        return self._files[names[0]] if len(names) == 1 else None

    def _frames_of_video(self, frame: Frame) -> dict[int, list[str]]:
        """Names of files or pictures by the frame of the video that they speak of."""
        stem = frame.source_path.stem
        if self._names_by_frame is None or self._names_by_frame[0] != stem:
            try:
                if self._whole is None:
                    found, first = frame_numbers.frames_by_number(self._files, stem, self._first_frame)
                else:
                    found, first = self._whole.frames(stem, self._first_frame)
            except frame_numbers.FrameNumberError as error:
                raise KeypointFileError(f"{self._path}: {error}") from error
            if first and self._first_frame is None:
                self._warn("frames are taken to be counted from 1", f"there is none of number 0 in {self._path.name}")
            self._names_by_frame = (stem, found)
        return self._names_by_frame[1]

    def _checked(
        self,
        found: tuple[tuple[FilePicture, ...], tuple[FilePerson, ...]] | None,
        frame: Frame,
        bad: Mapping[FilePicture, str],
        *,
        is_video: bool,
    ) -> tuple[FilePerson, ...] | None:
        """People of a picture, unless the file is wrong there or they were measured in another one."""
        if found is None:
            return None
        wrong = [bad[picture] for picture in found[0] if picture in bad]
        if wrong:
            self._unusable.add(frame.position)
            self._warn("keypoints that cannot be read", wrong[0])
            return ()
        height, width = frame.image.shape[:2]
        name = _name_of(frame, is_video)
        for picture in found[0]:
            told = (picture.width, picture.height)
            if None not in told and told != (width, height):
                self._unusable.add(frame.position)
                self._warn(
                    "keypoints measured in pictures of another size are not used",
                    f"{name} has {width} x {height} pixels, the file says {told[0]} x {told[1]}",
                )
                return ()
        people = tuple(person.in_pixels(width, height) for person in found[1])
        outside = [_share_outside(person, width, height) for person in people]
        if outside and float(np.mean(outside)) > 0.5:
            self._unusable.add(frame.position)
            self._warn(
                "keypoints most of which lie outside of their picture are not used", f"{name}, {width} x {height}"
            )
            return ()
        for person in people:
            if self._whole is None and self._kinds and person.file_layout not in self._kinds:
                first, where = next(iter(self._kinds.items()))
                self._warn("files of several layouts", f"{first} of {where}, {person.file_layout} of {name}")
            self._kinds.setdefault(person.file_layout, name)
        return people

    def _person(self, person: FilePerson, frame: Frame) -> list[PersonKeypoints]:
        """A person as perception hands it on; empty if too little is there."""
        trusted = person.keypoints_2d[person.confidence >= min(_TRUSTED, float(person.confidence.max()))]
        height, width = frame.image.shape[:2]
        limits = np.array([width - 1, height - 1, width - 1, height - 1])
        bbox = np.clip(_box_of_points(trusted), 0, limits).astype(np.float32)
        if person.bbox is not None:
            own = np.clip(person.bbox, 0, limits).astype(np.float32)
            # Many files say [0, 0, 0, 0] of people whose box nobody drew.
            holds_points = ((trusted >= own[:2]) & (trusted <= own[2:])).all(-1).any()
            bbox = own if holds_points and (own[2:] - own[:2] >= 1).all() else bbox
        if not (bbox[2:] - bbox[:2] >= 1).all():
            self._unusable.add(frame.position)
            self._warn("people without size are left out", _name_of(frame, is_video=True))
            return []
        side = float((bbox[2:] - bbox[:2]).max())
        middle = (bbox[:2] + bbox[2:]) / 2
        count = len(person.confidence)
        return [
            PersonKeypoints(
                keypoints_2d=person.keypoints_2d,
                confidence=person.confidence,
                keypoints_3d=np.zeros((count, 3), np.float32) if person.keypoints_3d is None else person.keypoints_3d,
                confidence_3d=np.zeros(count, np.float32) if person.confidence_3d is None else person.confidence_3d,
                bbox=bbox,
                detector_bbox=bbox,
                score=person.score,
                region=crops.SquareRegion(center=(float(middle[0]), float(middle[1])), size=1.25 * side, angle=0.0),
                track_id=person.track_id,
                source=f"file:{person.file_layout}",
            )
        ]

    def _warn(self, kind: str, place: str) -> None:
        self._warnings.setdefault(kind, []).append(place)


def _files_of(folder: pathlib.Path, only: Sequence[pathlib.Path] | None) -> dict[str, pathlib.Path]:
    """JSON files of a folder by the name of the picture that they are called after; what a run of ours left is none."""
    found: dict[str, pathlib.Path] = {}
    for path in sorted(folder.rglob("*.json"), key=lambda path: natural_key(path.as_posix())):
        name = path.stem.removesuffix("_keypoints")
        if path.name.startswith(".") or path.name == "run.json" or not path.is_file():
            continue
        if only is not None and path not in only:
            continue
        if name in found:
            raise KeypointFileError(f"{folder}: two files for one picture: {found[name].name} and {path.name}")
        found[name] = path
    return found


def _file_of_photo(files: dict[str, pathlib.Path], frame: Frame) -> pathlib.Path | None:
    return files.get(frame.source_path.stem) or files.get(frame.source_path.name)


def _name_of(frame: Frame, is_video: bool) -> str:
    return f"{frame.source_path.name} frame {frame.frame_index}" if is_video else frame.source_path.name


def _share_outside(person: FilePerson, width: int, height: int) -> float:
    """Share of the points of a person that lie clearly outside of the picture."""
    points = person.keypoints_2d[person.confidence > 0]
    margin = _OUTSIDE * max(width, height)
    is_outside = (points < -margin) | (points > np.array([width, height]) + margin)
    return float(is_outside.any(-1).mean()) if len(points) else 0.0


def _box_of_points(points: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "4"]:
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _BOX_MARGIN * float((high - low).max())
    return np.concatenate([low - margin, high + margin])


def layout_choice(text: str | None) -> LayoutChoice | None:
    """A layout as a command line names it: its name, or names of points with commas between."""
    if text is None or "," not in text:
        return text
    return tuple(point.strip() for point in text.split(",") if point.strip())
