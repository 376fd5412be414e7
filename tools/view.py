"""Look at labels in a browser, judge them, and drag a toe, heel, wrist or finger to where it is.

python -m tools.view out/annotate                         then open http://127.0.0.1:8080
python -m tools.view out/demo --port=8090 --light
python -m tools.view out/annotate --pictures=media        where the pictures moved to

What is said of labels is saved beside them at once, and read by tools.refine and tools.train. Ctrl-C ends it.
"""

import contextlib
from collections.abc import Sequence

import rich.console
from absl import flags

from hardmo_jax.pipelines import view as pipeline
from tools import _cli

_LABELS = flags.DEFINE_string("labels", "out/annotate", "Labels: a folder or file; may stand alone.")
_PICTURES = flags.DEFINE_string("pictures", None, "Folder or video that was labelled; default: as run.json says.")
_BODY = flags.DEFINE_string("body", None, "File of the body model of the labels; default: as run.json says.")
_PORT = flags.DEFINE_integer("port", 8080, "Port on this machine.", lower_bound=1, upper_bound=65535)
_LIGHT = flags.DEFINE_bool("light", False, "A light page.")


def main(argv: Sequence[str]) -> int:
    """Serve until it is interrupted."""
    del argv
    opened = pipeline.open_view(
        _LABELS.value, pictures=_PICTURES.value, body=_BODY.value, port=_PORT.value, is_dark=not _LIGHT.value
    )
    out = rich.console.Console(highlight=False, markup=False)
    if not opened.address.endswith(f":{_PORT.value}"):
        out.print(f"port {_PORT.value} is taken by another program, and another one was found", soft_wrap=True)
    for warning in opened.warnings:
        out.print(f"warning: {warning}", soft_wrap=True)
    out.print(
        f"{opened.num_labels} labels in {opened.num_pictures} pictures: open {opened.address} in a browser, end with "
        "Ctrl-C",
        soft_wrap=True,
    )
    try:
        with contextlib.suppress(KeyboardInterrupt):
            opened.wait()
    finally:
        opened.close()
    out.print("all that was said is saved")
    return 0


if __name__ == "__main__":
    _cli.run(main, positional="labels")
