"""A process of the local runner that obeys scripts, and looks at all other files in truth."""

import json
import os
import pathlib

from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.runners import worker
from hardmo_jax.pipelines.runners.messages import receive_message, send_message
from hardmo_jax.pipelines.runners.stages import Looker
from tests.pipelines.runners import fake_worker
from tests.survive.recorded_jobs import pipe_of


def main() -> None:
    source, goal = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    first = receive_message(source)
    if first is None:
        return
    if first[0]["role"] == "label":
        send_message(goal, {"kind": "ready"})
    looker = Looker(AnnotateOptions(), first[0]["model_folder"])
    while (message := receive_message(source)) is not None:
        asked, payload = message
        if first[0]["role"] == "look" and _is_script(pathlib.Path(asked["source"])):
            fake_worker._look(asked, goal)
        elif first[0]["role"] == "look":
            worker._look(pipe_of(asked), lambda header, payload=b"": send_message(goal, header, payload), looker)
        elif asked["kind"] == "label":
            fake_worker._label(asked, json.loads(payload), goal)


def _is_script(path: pathlib.Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    main()
