"""Motion of people as files of animation programs, body-model tools and robots: one job over scenes and formats."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from hardmo_jax.export.motion import amass, bvh, glb, robot_npz, smpl_npz
from hardmo_jax.export.motion.foot_slide import FootSlide, standing_slide
from hardmo_jax.export.motion.rigs import rig_mesh_error, rig_of
from hardmo_jax.export.motion.scene_motion import SceneMotion, TrackMotion
from hardmo_jax.export.source_names import ExportError

#: Frames of one person that a GLB is compared in.
_LOOKED_AT = 32
#: Called with what was written and how much there is.
Progress = Callable[[str, int, int | None], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionFormat:
    """One format of motion."""

    title: str
    """What it is and who reads it."""
    suffix: str
    """Of its files."""
    needs_rate: bool
    """Whether frames a second must be known."""
    write_scene: Callable[[pathlib.Path, SceneMotion], object] | None = None
    """Writes everybody of a scene to one file; None for formats of one person a file."""
    write_track: Callable[[pathlib.Path, SceneMotion, TrackMotion], object] | None = None
    """Writes one person."""


MOTION_FORMATS: Mapping[str, MotionFormat] = {
    "glb": MotionFormat(
        title="glTF: meshes, skeletons, animation and camera; Blender, game engines, web",
        suffix=".glb",
        needs_rate=False,
        write_scene=glb.write_glb,
    ),
    "bvh": MotionFormat(
        title="BVH: skeleton and animation; Blender, MotionBuilder, Maya",
        suffix=".bvh",
        needs_rate=True,
        write_track=bvh.write_bvh,
    ),
    "amass": MotionFormat(
        title="AMASS: SMPL-H parameters; motion research",
        suffix=".npz",
        needs_rate=True,
        write_track=amass.write_amass,
    ),
    "smpl": MotionFormat(
        title="SMPL parameters; the SMPL add-ons of Blender",
        suffix=".npz",
        needs_rate=True,
        write_track=smpl_npz.write_smpl_npz,
    ),
    "robot": MotionFormat(
        title="joints, rotations and foot contacts, z up, floor at 0; retargeting to robots",
        suffix=".npz",
        needs_rate=True,
        write_track=robot_npz.write_robot_npz,
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackReport:
    """What an export says of one person."""

    scene: str
    track: str
    num_frames: int
    num_interpolated: int
    slide: FootSlide | None
    """None without a frame rate."""


def check_motion(scenes: Sequence[SceneMotion], format_names: Sequence[str]) -> None:
    """Refuse what a format could not state, before anything is written.

    Raises:
        ExportError: If a format needs a frame rate and a scene has none.
    """
    for name in format_names:
        if MOTION_FORMATS[name].needs_rate:
            for scene in scenes:
                scene.rate(name)


def write_motions(
    folder: pathlib.Path, scenes: Sequence[SceneMotion], format_name: str, *, progress: Progress
) -> list[pathlib.Path]:
    """Write scenes in one format.

    Args:
        folder: Gets the files, under the names of the scenes, with `_person_00` where a file holds one person.
        scenes: What is written.
        format_name: Of `MOTION_FORMATS`.
        progress: Called after each scene.

    Returns:
        The files.

    Raises:
        ExportError: If a scene cannot be written in the format.
    """
    form = MOTION_FORMATS[format_name]
    written: list[pathlib.Path] = []
    for done, scene in enumerate(scenes, start=1):
        place = folder / scene.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if form.write_scene is not None:
            path = place.with_name(place.name + form.suffix)
            form.write_scene(path, scene)
            written.append(path)
        if form.write_track is not None:
            for track in scene.tracks:
                # A scene that was read from a file of one person is called after her already.
                name = place.name if place.name.endswith(track.name) else f"{place.name}_{track.name}"
                path = place.with_name(name + form.suffix)
                form.write_track(path, scene, track)
                written.append(path)
        progress(format_name, done, len(scenes))
    if len(set(written)) < len(written):
        twice = next(path for path in written if written.count(path) > 1)
        raise ExportError(f"two people would be written to {twice.name}; export the labels of each run by themselves")
    return written


def skinning_note(scenes: Sequence[SceneMotion]) -> str | None:
    """How far a GLB is from a body with pose blend shapes, which skinning leaves out; None for bodies without any.

    Args:
        scenes: What was written; the first person is looked at.
    """
    body, track = scenes[0].body, scenes[0].tracks[0]
    if body.pose_basis_planar is None:
        return None
    chosen = np.linspace(0, track.num_frames - 1, min(track.num_frames, _LOOKED_AT)).round().astype(int)
    some = dataclasses.replace(
        track,
        params=jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], track.params),
        is_labelled=track.is_labelled[chosen],
    )
    greatest, mean = rig_mesh_error(body, some, rig_of(body, some))
    return (
        f"glTF has no room for pose blend shapes: vertices are {1000 * mean:.1f} mm off in the mean and "
        f"{1000 * greatest:.1f} mm at most, by {len(chosen)} frames of {track.name}"
    )


def reports_of(scenes: Sequence[SceneMotion], *, progress: Progress) -> list[TrackReport]:
    """What is to be said of each person: frames, holes, and how far standing feet slide.

    Args:
        scenes: What was written.
        progress: Told people, and of how many.
    """
    people = [(scene, track) for scene in scenes for track in scene.tracks]
    reports = []
    for done, (scene, track) in enumerate(people, start=1):
        reports.append(
            TrackReport(
                scene=scene.name,
                track=track.name,
                num_frames=track.num_frames,
                num_interpolated=int((~track.is_labelled).sum()),
                slide=None if scene.frames_per_second is None else standing_slide(scene, track),
            )
        )
        progress("foot slide", done, len(people))
    return reports
