"""Draw contact sheets of the open body, as docs/body_pictures.md shows them.

python -m tools.gallery --output_dir=docs/pictures
"""

import pathlib
from collections.abc import Sequence

from absl import flags

import hardmo_jax as hm
from hardmo_jax.rendering import raster
from hardmo_jax.viz import gallery, overlay
from tools import _cli

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "out/gallery", "Folder for the pictures; made if absent.")


def main(argv: Sequence[str]) -> int:
    """Draw every sheet and say where it is."""
    del argv
    body = hm.open_body()
    renderer = raster.choose_renderer("auto")
    for name, draw in gallery.SHEETS.items():
        path = overlay.write_png(pathlib.Path(_OUTPUT_DIR.value) / f"{name}.png", draw(body, renderer))
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    _cli.run(main)
