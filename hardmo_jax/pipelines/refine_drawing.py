"""Close-ups of the hands and feet that were mined: the picture, the label before, the label after."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import jax
import numpy as np

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.perception import video
from hardmo_jax.perception.photos import MediaError
from hardmo_jax.pipelines.label_rows import params_of_labels
from hardmo_jax.pipelines.refine_labels import (
    RefinedPartOfLabel,
)
from hardmo_jax.rendering import raster
from hardmo_jax.viz import overlay
from hardmo_jax.viz.close_up import CloseUp, draw_close_up, draw_close_up_sheet

Progress = Callable[[str, int, int | None], None]
#: Meshes held at once.
_DRAWN_AT_ONCE = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class CloseUpOptions:
    """What is drawn."""

    most: int = 200
    """Close-ups; the surest of what was mined."""
    most_on_sheet: int = 40
    renderer: Literal["auto", "gl", "painter"] = "auto"
    """OpenGL, the painter that needs none, or OpenGL where there is one."""

    def __post_init__(self) -> None:
        if self.most < 0 or self.most_on_sheet < 1:
            raise ValueError(f"numbers of close-ups must not be negative, got {self}")


@dataclasses.dataclass(kw_only=True)
class CloseUps:
    """Draws parts of labels."""

    body: BodyModel
    options: CloseUpOptions
    root: pathlib.Path | None
    """Folder that the paths of pictures are relative to."""
    warnings: list[str] = dataclasses.field(default_factory=list)

    def sheet(
        self, parts: Sequence[RefinedPartOfLabel], report: Progress, *, folder: pathlib.Path | None = None
    ) -> np.ndarray:
        """Draw close-ups, each into a file of a folder, and a sheet of the first of them.

        Args:
            parts: What was mined, the surest first.
            report: Told the stage, what is done, and of how much.
            folder: Made, and filled with PNG; None draws those of the sheet alone.
        """
        most = self.options.most if folder is not None else self.options.most_on_sheet
        parts = list(parts[:most])
        if folder is not None:
            folder.mkdir()
        if not parts:
            return draw_close_up_sheet([])
        on_sheet: dict[int, np.ndarray] = {}
        for place, drawn in self.each(parts, report):
            if folder is not None:
                overlay.write_png(folder / _file_name(place, parts[place]), drawn)
            if place < self.options.most_on_sheet:
                on_sheet[place] = drawn
        return draw_close_up_sheet([on_sheet[place] for place in sorted(on_sheet)])

    def each(
        self,
        parts: Sequence[RefinedPartOfLabel],
        report: Progress,
        *,
        is_titled: bool = True,
        only_pictured: bool = False,
        cell: int = 300,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Draw close-ups one by one, in the order of their files.

        Args:
            parts: What was mined; each of them once.
            report: Told the stage, what is done, and of how much.
            is_titled: With words over them.
            only_pictured: Leave out those whose picture is not there, rather than draw them on paper.
            cell: Side of each picture, pixels.

        Yields:
            Place among the parts, and the picture.
        """
        renderer = raster.choose_renderer(self.options.renderer)
        if renderer.reason:
            self.warnings.append(f"drawn without OpenGL: {renderer.reason}")
        faces = np.asarray(self.body.faces)
        rank = {part.found: place for place, part in enumerate(parts)}
        report("draw", 0, len(parts))
        done = 0
        for some, images in self._with_images(parts):
            meshes = [self._vertices([getattr(part, when) for part in some]) for when in ("before", "after")]
            for at, (part, image) in enumerate(zip(some, images, strict=True)):
                done += 1
                if image is not None or not only_pictured:
                    subject = _subject(part, image, tuple(vertices[at] for vertices in meshes))
                    if not is_titled:
                        subject = dataclasses.replace(subject, title="")
                    yield rank[part.found], draw_close_up(subject, faces, renderer=renderer, cell=cell)
                report("draw", done, len(parts))

    def _vertices(self, rows: list[LabelRow]) -> Float[np.ndarray, "N V 3"]:
        """Meshes of a few labels; the rest of the batch repeats the first, so that one program serves all."""
        padded = rows + rows[:1] * (_DRAWN_AT_ONCE - len(rows))
        return np.asarray(_posed(self.body, params_of_labels(padded, self.body)))[: len(rows)]

    def _with_images(
        self, parts: Sequence[RefinedPartOfLabel]
    ) -> Iterator[tuple[list[RefinedPartOfLabel], list[np.ndarray | None]]]:
        """Parts with their pictures, few at a time; each file is read once."""
        by_source: dict[tuple[str, str], list[RefinedPartOfLabel]] = {}
        for part in parts:
            by_source.setdefault((part.before.source_path, part.before.source_sha256), []).append(part)
        waiting: list[tuple[RefinedPartOfLabel, np.ndarray | None]] = []
        for (source_path, sha256), own in by_source.items():
            for part, image in self._images_of(source_path, sha256, own):
                waiting.append((part, image))
                if len(waiting) == _DRAWN_AT_ONCE:
                    yield [part for part, _ in waiting], [image for _, image in waiting]
                    waiting = []
        if waiting:
            yield [part for part, _ in waiting], [image for _, image in waiting]

    def _images_of(
        self, source_path: str, sha256: str, parts: Sequence[RefinedPartOfLabel]
    ) -> Iterator[tuple[RefinedPartOfLabel, np.ndarray | None]]:
        wanted: dict[int, list[RefinedPartOfLabel]] = {}
        for part in parts:
            wanted.setdefault(part.before.frame_index, []).append(part)
        media = self._opened(source_path, sha256)
        if media is not None:
            last = max(wanted)
            try:
                for frame in media.frames(stop=last + 1):
                    for part in wanted.pop(frame.frame_index, []):
                        yield part, frame.image
            except MediaError as error:
                self.warnings.append(f"close-ups on paper: {error}")
        for left in wanted.values():
            for part in left:
                yield part, None

    def _opened(self, source_path: str, sha256: str) -> video.Media | None:
        """The photo or video of labels; None, with a warning, if it is not there or another one."""
        if self.root is None:
            self._warn(
                "close-ups are drawn on paper: nothing says where the pictures are; give their folder (--pictures)"
            )
            return None
        path = (self.root / source_path).resolve()
        if not path.is_relative_to(self.root.resolve()):
            self._warn(f"close-ups on paper: {source_path} lies outside of the folder of pictures")
            return None
        try:
            media = video.open_media(path)
        except (OSError, MediaError) as error:
            self._warn(f"close-ups on paper: {error}; give the folder of pictures as --pictures")
            return None
        if media.sha256[0] != sha256:
            self._warn(f"close-ups on paper: {path.name} is another file than the one that was labelled")
            return None
        return media

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)


@jax.jit
def _posed(body: BodyModel, params: BodyParams) -> Float[Array, "N V 3"]:
    return body(params).vertices


def _subject(
    part: RefinedPartOfLabel, image: np.ndarray | None, vertices: tuple[Float[np.ndarray, "V 3"], ...]
) -> CloseUp:
    """What is drawn of a part."""
    row, name = part.before, part.found.part
    time = "" if row.time_seconds is None else f" {row.time_seconds:.2f} s"
    errors = [label.error_by_part[name] for label in (part.before, part.after)]
    told = " to ".join("-" if error is None else f"{100 * error:.1f} %" for error in errors)
    title = (
        f"{pathlib.PurePosixPath(row.source_path).name}{time} person {row.track_id} {name.replace('_', ' ')}, "
        f"wrong {part.found.probability:.3f} ({row.reason_by_part[name]}); {part.outcome}; error {told}"
    )
    return CloseUp(
        part=name, title=title, image=image, bbox=row.bbox, keypoints_2d=row.keypoints_2d,
        confidence=row.keypoint_confidence, layout=row.keypoint_layout, focal_length=row.focal_length,
        principal_point=row.principal_point, vertices=vertices,
    )  # fmt: skip


def _file_name(place: int, part: RefinedPartOfLabel) -> str:
    """The surest first; letters of the source that no file system minds."""
    name = pathlib.PurePosixPath(part.before.source_path).stem
    stem = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    row = part.before
    return f"{place:04d}_{stem[:60]}_frame{row.frame_index:06d}_person{row.track_id}_{part.found.part}.png"
