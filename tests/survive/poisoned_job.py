"""The command `tools.annotate --runner=local` over recorded inputs and broken files, with the command's exit status.

python -m tests.survive.poisoned_job INPUTS NUM_INPUTS BROKEN OUTPUT

A process of its own: tools define flags of the same names, which one process cannot hold twice.
"""

import pathlib
import runpy
import sys
from unittest import mock

from tests.survive.recorded_jobs import Recorded, RunOf, in_one_process


def main(inputs: str, num_inputs: str, broken: str, output: str) -> None:
    """Run the command; it ends the process."""
    recorded = Recorded(pathlib.Path(inputs), ((1,),) * int(num_inputs))
    sources = sorted([*recorded.paths, *pathlib.Path(broken).iterdir()])
    given = [f"--input={path}" for path in sources]
    sys.argv = ["annotate", "--config=configs/normal.py", "--runner=local", "--workers=1", f"--output_dir={output}"]
    sys.argv += given
    with in_one_process(recorded, RunOf(), rows_per_shard=200), mock.patch("os.fsync"):
        runpy.run_module("tools.annotate", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
