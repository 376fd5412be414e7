"""A process of the local runner that obeys scripts instead of looking at videos: what kills, hangs and fails on cue.

A script is a JSON file: `takes` holds the number of people of each; `die_at`, `hang_at`, `fail_at` say before which
take something happens, and `once` names a file whose presence means that it has happened already.
"""

import datetime
import hashlib
import json
import os
import pathlib
import time

from hardmo_jax.labels import store
from hardmo_jax.pipelines.runners.manifest import PartRecord
from hardmo_jax.pipelines.runners.messages import receive_message, send_message
from hardmo_jax.whole_files import file_sha256
from tests.labels.test_schema import make_row

FRAMES_OF_A_TAKE = 10
_TIME = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


def main() -> None:
    source, goal = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    first = receive_message(source)
    if first is None:
        return
    if first[0]["role"] == "label":
        send_message(goal, {"kind": "ready"})
    while (message := receive_message(source)) is not None:
        asked, payload = message
        if first[0]["role"] == "look":
            _look(asked, goal)
        elif asked["kind"] == "label":
            _label(asked, json.loads(payload), goal)


def _look(asked, goal) -> None:
    path = pathlib.Path(asked["source"])
    script = json.loads(path.read_text())
    facts = {"path": str(path), "kind": "video", "fps": 30.0, "frame_count": FRAMES_OF_A_TAKE * len(script["takes"])}
    skip = asked["skip_takes"] if script.get("can_go_on", True) else 0
    send_message(goal, {"kind": "begun", "facts": facts, "skip_takes": skip})
    done = 0
    for number, people in enumerate(script["takes"]):
        if number < skip:
            continue
        _happen(script, number, goal)
        if script.get("failed"):
            return
        time.sleep(script.get("seconds", 0.0))
        done += FRAMES_OF_A_TAKE
        send_message(goal, {"kind": "at", "stage": "perceive", "done": done, "total": facts["frame_count"]})
        payload = json.dumps({"people": people, "label": script.get("label"), "once": script.get("once")}).encode()
        told = {"number": number, "facts": facts, "end": FRAMES_OF_A_TAKE * (number + 1), "next_track": number + 1}
        send_message(goal, {"kind": "take", **told, "seconds": {"perceive": 0.01}}, payload)
    send_message(goal, {"kind": "looked", "told": {"warnings": [], "num_unusable": script.get("num_unusable", 0)}})


def _happen(script, number, goal) -> None:
    once = script.get("once")
    if once is not None and pathlib.Path(once).exists():
        return
    for what in ("die_at", "hang_at", "fail_at"):
        if script.get(what) != number:
            continue
        if once is not None:
            pathlib.Path(once).touch()
        if what == "die_at":
            os._exit(9)
        if what == "hang_at":
            time.sleep(3600)
        script["failed"] = True
        send_message(goal, {"kind": "failed", "reason": "no video at all", "trace": ""})


def _label(asked, take, goal) -> None:
    once = take["once"]
    if take["label"] == "die" and not (once and pathlib.Path(once).exists()):
        if once:
            pathlib.Path(once).touch()
        os._exit(3)
    if take["label"] == "fail":
        send_message(goal, {"kind": "failed", "reason": "nobody can be fitted", "trace": "somewhere"})
        return
    path = pathlib.Path(asked["path"])
    name = pathlib.Path(asked["facts"]["path"]).name
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    rows = [
        make_row(
            seed=person, source_path=name,
            source_sha256=sha256, frame_index=asked["end"] - FRAMES_OF_A_TAKE, track_id=person,
            created_utc=_TIME,
        )
        for person in range(take["people"])
    ]  # fmt: skip
    store.write_labels(path, rows)
    part = PartRecord(
        file=path.name, num_rows=len(rows), num_bytes=path.stat().st_size, sha256=file_sha256(path),
        num_pictures=FRAMES_OF_A_TAKE, end=asked["end"], next_track=asked["next_track"], seconds={"fit": 0.01},
        told={"people": len(rows), "filled": 0, "status": {}, "warnings": [], "source_sha256": sha256},
    )  # fmt: skip
    send_message(goal, {"kind": "part", "part": part.to_json()})


if __name__ == "__main__":
    main()
