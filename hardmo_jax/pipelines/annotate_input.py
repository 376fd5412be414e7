"""What is to be labelled, opened: its pictures, and who says who is in them."""

import dataclasses
import os

from hardmo_jax.fitting.fit_motion import check_track_options
from hardmo_jax.observations import ObservationError
from hardmo_jax.perception import load_source, video
from hardmo_jax.perception.decoding_process import shared_process_decoder
from hardmo_jax.perception.keypoints_from_files import FilePeople, layout_choice
from hardmo_jax.perception.people import PeopleSource
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.annotate_takes import is_over_time
from hardmo_jax.recovery.recover_motion import weights_of_frames


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotateInput:
    """A photo, a folder of photos, a video, or photos of which files have the keypoints."""

    media: video.Media
    """Its pictures, of which `AnnotateOptions.frames` are chosen."""
    bodies: FilePeople | None
    """Who is in them by the files of keypoints that were to be labelled; None where a detector looks."""

    def people_source(self, options: AnnotateOptions, model_folder: str | os.PathLike[str]) -> PeopleSource:
        """Load who says who is in the pictures; see `load_source`."""
        return load_source.load_source(model_folder, options.perception, bodies=self.bodies)


def open_input(source: str | os.PathLike[str] | video.Media, options: AnnotateOptions) -> AnnotateInput:
    """Open what is to be labelled, and check that the options fit it.

    Args:
        source: A path, or pictures that are open already.
        options: Of the job.

    Raises:
        FileNotFoundError: If nothing is there.
        hardmo_jax.perception.video.MediaError: If it cannot be read.
        hardmo_jax.perception.keypoint_files.KeypointFileError: If a file of keypoints is none.
        hardmo_jax.perception.load_source.SourceError: If it holds keypoints and the options name another source.
        ObservationError: If frames of a video cannot be fitted together by the options.
    """
    # A photo that ends its decoder is one that cannot be read, and not the end of all the others.
    decoder = shared_process_decoder()
    is_open = isinstance(source, video.Media)
    media = source.decoded_by(decoder) if is_open else video.open_media(source, decoder=decoder)
    if is_over_time(media, options):
        check_track_options(weights_of_frames(options.fit))
        if options.initialise.flow_prior:
            raise ObservationError(
                f"{media.path} is a video, whose frames are fitted together, and `initialise.flow_prior` is a prior of "
                "fits of single pictures: give --config.fit.temporal=False, or leave it out"
            )
    files = None
    if media.kind == "keypoints":
        if options.perception.detector != "auto" or options.perception.keypoints_file is not None:
            raise load_source.SourceError(
                f"{media.path} holds keypoints, so nobody is looked for in its photos; pass the photos as --input to "
                "have a detector look at them"
            )
        files = FilePeople(media.path, only=media.paths, layout=layout_choice(options.perception.keypoints_layout))
        media = media.with_photos(files.photos())
    return AnnotateInput(media=media.chosen(options.frames), bodies=files)
