"""Draw contact sheets: of the open body, as docs/body_pictures.md shows them, or of motion capture turned into SMPL.

python -m tools.gallery --output_dir=docs/pictures
python -m tools.gallery --motion=dance.bvh --frames=8
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import flags

import hardmo_jax as hm
from hardmo_jax.data.sources.read_motion import read_motion
from hardmo_jax.recovery.retarget import retarget
from hardmo_jax.rendering import raster
from hardmo_jax.viz import capture_sheet, gallery, overlay
from tools import _cli

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/gallery", "Folder for the pictures; made if absent.")
_MOTION = flags.DEFINE_list("motion", [], "Motion capture files (.bvh, .amc, DeepMimic .txt) to draw instead.")
_FRAMES = flags.DEFINE_integer("frames", 8, "Frames of each file, evenly spaced.", lower_bound=1)


def main(argv: Sequence[str]) -> int:
    """Draw every sheet and say where it is."""
    del argv
    renderer = raster.choose_renderer("auto")
    output = pathlib.Path(_OUTPUT_DIR.value)
    if _MOTION.value:
        rows = [_motion_sheet(pathlib.Path(name), renderer) for name in _MOTION.value]
        path = overlay.write_png(output / "motion.png", np.concatenate(rows))
        print(f"wrote {path}")
        return 0
    body = hm.open_body()
    for name, draw in gallery.SHEETS.items():
        path = overlay.write_png(output / f"{name}.png", draw(body, renderer))
        print(f"wrote {path}")
    return 0


def _motion_sheet(path: pathlib.Path, renderer) -> np.ndarray:
    body = hm.open_body(view="smpl")
    clip = read_motion(path)
    # The first frame of many files is a rest pose.
    ids = np.linspace(min(1, clip.num_frames - 1), clip.num_frames - 1, _FRAMES.value).round().astype(int)
    clip = clip.frames(ids)
    found = retarget(clip, body)
    _, joints = clip.world_motion()
    print(
        f"{path.name}: bones {np.nanmean(found.direction_error):.2f} degrees, joints "
        f"{1000 * found.place_error.mean():.1f} mm from the capture"
    )
    return capture_sheet.draw_capture_sheet(
        np.asarray(body(found.params).vertices), np.asarray(body.faces), joints, clip.parents, clip.joint_names,
        renderer=renderer,
    )  # fmt: skip


if __name__ == "__main__":
    _cli.run(main)
