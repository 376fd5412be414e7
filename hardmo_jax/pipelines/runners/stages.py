"""The two stages of a job, as functions of one item and one take: to look at pictures, and to label who was seen.

A runner says in which process each is, and how many of these there are; the labels do not depend on it. Looking needs
no device unless a network is asked; labelling needs one.
"""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hardmo_jax.body.model import BodyModel
from hardmo_jax.labels import store
from hardmo_jax.networks.regressors import Regressor
from hardmo_jax.perception import video
from hardmo_jax.perception.people import PeopleSource, PixelSource
from hardmo_jax.pipelines.annotate_input import AnnotateInput, open_input
from hardmo_jax.pipelines.annotate_options import AnnotateOptions, load_body_option
from hardmo_jax.pipelines.annotate_takes import LabelledTake, is_over_time, label_take
from hardmo_jax.pipelines.perceiving import Take, perceive, unsure_warning
from hardmo_jax.pipelines.regress_people import PeopleRegressor
from hardmo_jax.pipelines.runners.job_items import JobItem
from hardmo_jax.pipelines.runners.manifest import PartRecord
from hardmo_jax.pipelines.stage_rates import StageClock
from hardmo_jax.pipelines.warm_up import warm_up
from hardmo_jax.whole_files import file_sha256

Progress = Callable[[str, int, int | None], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What the labelling of a take needs to know of its source; a `PictureOrigin`."""

    path: pathlib.Path
    kind: video.MediaKind
    fps: float | None
    frame_count: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "SourceFacts":
        """The inverse of `to_json`."""
        return cls(path=pathlib.Path(told["path"]), kind=told["kind"], fps=told["fps"], frame_count=told["frame_count"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class LookedAt:
    """A take of an item."""

    number: int
    """From 0."""
    take: Take
    end: int
    """Position in the source behind its last picture."""
    next_track: int
    """Number of the next person of the source."""
    seconds: dict[str, float]
    """At work since the take before, by stage."""


class Looker:
    """Looks at items one after the other, with models that are loaded once."""

    def __init__(
        self, options: AnnotateOptions, model_folder: str | os.PathLike[str], *, num_threads: int | None = None
    ) -> None:
        """Load nothing yet.

        Args:
            options: Of the job.
            model_folder: Where the packaged perception models are.
            num_threads: Of a model, where the options would take more: several processes share the cores. What models
                say does not depend on it.
        """
        self._options, self._model_folder, self._num_threads = options, model_folder, num_threads
        self._source: PeopleSource | None = None
        self._regressor: PeopleRegressor | None = None

    def open(self, item: JobItem) -> "LookedItem":
        """Open an item, and begin with nothing of it.

        Raises:
            FileNotFoundError: If it is not there.
            ValueError: Of the kinds that `open_input` tells, if it cannot be read, or the options do not fit it.
        """
        options = self._options
        if item.photos:
            # Which photos are looked at was chosen when the items were made.
            options = dataclasses.replace(
                options, limit_frames=None, frames=dataclasses.replace(options.frames, stride=1)
            )
        opened = open_input(item.open(), options)
        regressor = self._regressor
        if options.initialise.network != "none" and regressor is None:
            body = load_body_option(options.body)
            regressor = PeopleRegressor(options.initialise, body, camera=options.camera, seed=options.seed)
            self._regressor = regressor
        return LookedItem(opened, self._source_of(opened), regressor, options)

    def _source_of(self, opened: AnnotateInput) -> PeopleSource:
        if self._source is not None and opened.bodies is None:
            return self._source
        perception = self._options.perception
        if self._num_threads is not None:
            perception = dataclasses.replace(perception, num_threads=min(perception.num_threads, self._num_threads))
        options = dataclasses.replace(self._options, perception=perception)
        source = opened.people_source(options, self._model_folder)
        # What looks at pixels alone remembers nothing of the source before.
        if isinstance(source, PixelSource):
            self._source = source
        return source


class LookedItem:
    """An item whose pictures are looked at."""

    def __init__(
        self, opened: AnnotateInput, source: PeopleSource, regressor: PeopleRegressor | None, options: AnnotateOptions
    ) -> None:
        """Made by `Looker.open`."""
        self._media, self._source, self._regressor, self._options = opened.media, source, regressor, options
        self.num_pictures = 0
        """Looked at so far."""

    @property
    def facts(self) -> SourceFacts:
        """What the labelling needs to know."""
        media, limit = self._media, self._options.limit_frames
        count = media.frame_count
        if limit is not None:
            count = limit if count is None else min(count, limit)
        return SourceFacts(path=media.path, kind=media.kind, fps=media.fps, frame_count=count)

    @property
    def can_go_on(self) -> bool:
        """Whether takes that are known need not be looked at again: nothing is remembered from one shot to the next but
        how many people there were."""
        return self._media.kind == "video" and isinstance(self._source, PixelSource)

    @property
    def source_sha256(self) -> str | None:
        """Checksum of a video; None of photos."""
        return self._media.sha256[0] if self._media.kind == "video" else None

    def takes(self, *, skip_takes: int = 0, end: int = 0, next_track: int = 0, report: Progress) -> Iterator[LookedAt]:
        """Look at all pictures.

        Args:
            skip_takes: Takes that are known, where the item `can_go_on`.
            end: Position in the source behind their last picture.
            next_track: Number of the next person; the source counts from 0 again.
            report: Told the stage, what is done, and of how much.

        Raises:
            hardmo_jax.perception.video.MediaError: If no picture can be read.
        """
        clock, before = StageClock(), dict[str, float]()
        options, media = self._options, self._media
        found = perceive(
            media,
            self._source,
            watch_camera=is_over_time(media, options) and options.fit.camera_is_fixed == "auto",
            quality=options.quality,
            limit_frames=options.limit_frames,
            regressor=self._regressor,
            clock=clock,
            report=report,
            skip_positions=end,
            longest_take=options.fit.longest_take,
        )
        number, following = skip_takes, next_track
        with contextlib.closing(found):
            for take in found:
                if next_track:
                    take = _with_later_tracks(take, next_track)
                following = max([following, *(one.track_id + 1 for one in take.sightings)])
                now = clock.seconds
                self.num_pictures += len(take.kept_pictures)
                yield LookedAt(
                    number=number,
                    take=take,
                    end=take.kept_pictures[-1].position + 1,
                    next_track=following,
                    seconds={stage: value - before.get(stage, 0.0) for stage, value in now.items()},
                )
                before, number = now, number + 1
        if number == 0:
            told = [*media.warnings, *self._source.warnings]
            raise video.MediaError(f"{media.path}: none of its pictures can be read; {'; '.join(told[:3])}")

    def told(self) -> dict[str, Any]:
        """What was odd about the item, once all is looked at."""
        announced = self.facts.frame_count or 0
        unread = max(announced - self.num_pictures, 0) if self._media.kind == "folder" else 0
        return {
            "warnings": [*self._media.warnings, *self._source.warnings],
            "num_unusable": unread + self._media.num_left_out + len(self._source.unusable),
        }


def _with_later_tracks(take: Take, first: int) -> Take:
    return dataclasses.replace(
        take, sightings=[dataclasses.replace(one, track_id=one.track_id + first) for one in take.sightings]
    )


class TakeLabeller:
    """Labels takes one after the other, with a body that is loaded once."""

    def __init__(self, options: AnnotateOptions) -> None:
        """Load the body.

        Raises:
            hardmo_jax.body.io.BodyFileError: If the body file is not one.
        """
        self._options, self._body = options, load_body_option(options.body)
        self._density: Regressor | None = None

    @property
    def body(self) -> BodyModel:
        """That is fitted."""
        return self._body

    def warm_up(self, facts: SourceFacts) -> None:
        """Load all programs that a video needs, while its first frames are looked at."""
        warm_up(facts, self._body, self._options, StageClock(), lambda stage, done, total: None)

    def label(
        self,
        facts: SourceFacts,
        take: Take,
        path: pathlib.Path,
        *,
        end: int,
        next_track: int,
        seconds: Mapping[str, float],
        report: Progress = lambda stage, done, total: None,
    ) -> PartRecord:
        """Label a take and write its part, complete or not at all.

        Args:
            facts: Of its source.
            take: Who was seen.
            path: Of the part.
            end: See `LookedAt`.
            next_track: See `LookedAt`.
            seconds: That it was looked at.
            report: Told the stage, what is done, and of how much.

        Raises:
            ObservationError: If frames cannot be fitted together by the options.
        """
        clock = StageClock()
        with tempfile.TemporaryDirectory(prefix="hardmo-take-") as scratch:
            labelled = label_take(
                take,
                media=facts,
                body=self._body,
                options=self._options,
                packed=pathlib.Path(scratch),
                density=self._density_of_poses(),
                clock=clock,
                report=report,
            )
            with clock.at("write"):
                store.write_packed(path, labelled.labels)
        return PartRecord(
            file=path.name,
            num_rows=len(labelled.notes),
            num_bytes=path.stat().st_size,
            sha256=file_sha256(path),
            num_pictures=len(labelled.pictures),
            end=end,
            next_track=next_track,
            seconds={name: round(value, 4) for name, value in {**seconds, **clock.seconds}.items()},
            told={**_told(labelled, is_video=facts.kind == "video"), "ends_shot": take.ends_shot},
        )

    def _density_of_poses(self) -> Regressor | None:
        initialise = self._options.initialise
        if initialise.network == "none" or not initialise.flow_prior:
            return None
        if self._density is None:
            self._density = PeopleRegressor(
                initialise, self._body, camera=self._options.camera, seed=self._options.seed
            ).density
        return self._density


def _told(labelled: LabelledTake, *, is_video: bool) -> dict[str, Any]:
    """Counts and warnings of a take, as JSON."""
    notes = labelled.notes
    warnings = list(labelled.warnings)
    if labelled.unsure:
        warnings.append(unsure_warning(labelled.unsure))
    return {
        "people": sum(note.is_seen for note in notes),
        "filled": sum(note.status == "FILLED" for note in notes),
        "status": dict(Counter(note.status for note in notes if note.is_seen)),
        "tracks": len({note.track_id for note in notes}),
        "left_out": dataclasses.asdict(labelled.left_out),
        "from_lifter": labelled.num_from_lifter,
        "warnings": warnings,
        "first_frame": labelled.pictures[0].frame_index,
        # Of photos their labels say it, each its own.
        "source_sha256": labelled.pictures[0].source_sha256 if is_video else None,
        "record": _plain(labelled.record),
    }


def _plain(value: Any) -> Any:
    """What `run.json` would say, as JSON; numbers that it cannot hold are left out."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    to_list = getattr(value, "tolist", None)
    if callable(to_list):
        return _plain(to_list())
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
