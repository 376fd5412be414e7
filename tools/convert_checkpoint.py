"""Turn a PyTorch checkpoint of a public regressor into a folder that the networks here load.

python -m tools.convert_checkpoint --model=hmr2 --in=epoch=35-step=1000000.ckpt --out=models/hmr2
python -m tools.convert_checkpoint --model=hmr --in=model_checkpoint.pt --out=models/hmr

Nothing in the file is run, and neither torch nor lightning is needed. The licence of the weights holds for the folder
as well. Arrays of SMPL that a checkpoint carries are left out: load the body from its own file.
"""

import pathlib
import shlex
import time
from collections.abc import Sequence

from absl import flags

from hardmo_jax.networks import regressors
from hardmo_jax.pipelines import convert_checkpoint
from tools import _cli

_MODEL = flags.DEFINE_enum("model", None, list(regressors.ARCHITECTURES), "Network that the checkpoint holds.")
_IN = flags.DEFINE_string("in", None, "The checkpoint, as torch.save or Lightning wrote it.")
_OUT = flags.DEFINE_string("out", None, "Folder to make.")
_VIT_HEADS = flags.DEFINE_integer(
    "vit_heads", None, "Heads of the vision transformer, if its width is none of ViTPose's (384, 768, 1024, 1280).", 1
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a converted network that is there.")


def main(argv: Sequence[str]) -> int:
    """Convert, and say what became of the file."""
    del argv
    for name, flag in (("model", _MODEL), ("in", _IN), ("out", _OUT)):
        if not flag.value:
            return _cli.fail(f"--{name} is missing; e.g. --model=hmr2 --in=epoch.ckpt --out=models/hmr2")
    source, output = pathlib.Path(str(_IN.value)), pathlib.Path(str(_OUT.value))
    start = time.perf_counter()
    record = convert_checkpoint.convert_checkpoint(
        str(_MODEL.value), source, output, may_replace=_OVERWRITE.value, vit_heads=_VIT_HEADS.value
    )
    seconds = time.perf_counter() - start
    title = regressors.ARCHITECTURES[record.model].title
    print(f"read {source} ({record.source_bytes / 1e6:.1f} MB): {title}, {record.num_parameters / 1e6:.2f} M numbers")
    counts: dict[str, int] = {}
    for reason in record.left_out.values():
        counts[reason] = counts.get(reason, 0) + 1
    for reason, count in counts.items():
        print(f"left out {count} {'entry' if count == 1 else 'entries'}: {reason}")
    print(f"wrote {output} in {seconds:.1f} s; SHA-256 of the checkpoint: {record.source_sha256}")
    print(
        f"use it: python -m tools.annotate --config=configs/normal.py --config.initialise.network={record.model} "
        f"--config.initialise.checkpoint={shlex.quote(str(output))} --input=..., "
        f"or regressor_file.load_converted({str(output)!r})"
    )
    return 0


if __name__ == "__main__":
    _cli.run(main)
