"""`loop.json`: which stages of a loop are finished, what they counted, and by which options."""

import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from hardmo_jax.options import to_mapping
from hardmo_jax.pipelines.loop_options import LoopError, LoopOptions
from hardmo_jax.whole_files import replacing

#: Version of the keys of the file.
_FORMAT_VERSION = 1
#: What may be another in a later run of the same loop.
_FREE = ("rounds", "least_labels", "train.loader_threads")
_TOLD = 4
_MOST_BYTES = 1 << 24
#: Lists and objects in each other, of which few are written. Python reads ones that it then cannot write again.
_MOST_DEPTH = 16
_KEY = re.compile(r"round_[0-9]{1,6}/[a-z_]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopStage:
    """One stage of one round."""

    number: int
    """Of the round, from 1; 0 for what is done once at the beginning."""
    name: str

    @property
    def key(self) -> str:
        """Name in the record."""
        return f"round_{self.number}/{self.name}"

    def place(self, rounds: int) -> str:
        """How people are told where it is done: a round, or the folder behind the last one; empty for the beginning.

        Args:
            rounds: Of the loop.
        """
        if self.number > rounds:
            return f"after the last round (round_{self.number})"
        return f"round {self.number}" if self.number else ""


class LoopRecord:
    """The record of a folder; every change is on disk, whole, before the call returns.

    Args:
        path: Of the file.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._content: dict[str, Any] = {"format_version": _FORMAT_VERSION, "options": {}, "stages": {}}
        if path.exists():
            self._content = _read(path)

    def check(self, made_of: Mapping[str, Any], options: LoopOptions) -> None:
        """Refuse to go on with the loop of other options, and write down those of a new one.

        Args:
            made_of: What the loop works on, by the flags that name it.
            options: Of the loop.

        Raises:
            LoopError: If the folder holds another loop, or one of more rounds.
        """
        given = {**{f"--{name}": value for name, value in made_of.items()}, **_flat(to_mapping(options))}
        del given["--config.render.people"]  # `people` stands for it
        if made_of.get("input") is not None:
            given = {name: value for name, value in given.items() if not name.startswith("--config.render.")}
            del given["--config.people"]
        given = json.loads(json.dumps(given))
        is_begun = any("counted" in entry for entry in self._content["stages"].values())
        if not is_begun and not self.has_begun_store():  # nothing depends on other options yet
            self._content |= {"options": given, "stages": {}}
            self._write()
            return
        held, absent = self._content["options"], object()
        free = {f"--config.{name}" for name in _FREE}
        other = [
            f"{name} was {_told(held, name)}, and is {_told(given, name)}"
            for name in sorted(set(held) | set(given), key=lambda name: (name.startswith("--config"), name))
            if name not in free and held.get(name, absent) != given.get(name, absent)
        ]
        if other:
            more = f" (and {len(other) - _TOLD} more)" if len(other) > _TOLD else ""
            raise LoopError(
                f"{self.path.parent} holds a loop with other options: {'; '.join(other[:_TOLD])}{more}; give them as "
                "they were, or another --output_dir"
            )
        finished = self.finished_rounds()
        if options.rounds < finished:
            raise LoopError(
                f"{self.path.parent} holds {finished} finished rounds, and {options.rounds} are asked for; give "
                f"--config.rounds={finished} or more, or another --output_dir"
            )
        if held["--config.rounds"] != options.rounds:
            self._content["options"] = {**held, "--config.rounds": options.rounds}
            self._write()

    def has_begun_store(self) -> bool:
        """Whether the copy of the labels that the loop begins from was begun, finished or not."""
        return LoopStage(number=0, name="begin").key in self._content["stages"]

    def finished_rounds(self) -> int:
        """Rounds whose network is trained."""
        number = 0
        while self.done(LoopStage(number=number + 1, name="train")) is not None:
            number += 1
        return number

    def done(self, stage: LoopStage) -> dict[str, Any] | None:
        """What a finished stage counted; None if it is not finished."""
        return self._content["stages"].get(stage.key, {}).get("counted")

    def notes(self, stage: LoopStage) -> list[str]:
        """What was said of a finished stage."""
        return self._content["stages"].get(stage.key, {}).get("notes", [])

    def seconds(self, number: int | None = None) -> dict[str, float]:
        """That finished stages took, by name, in one round or in all."""
        found: dict[str, float] = {}
        for key, entry in self._content["stages"].items():
            own, _, name = key.partition("/")
            if "seconds" in entry and number in (None, int(own.removeprefix("round_"))):
                found[name] = found.get(name, 0.0) + entry["seconds"]
        return found

    def begin(self, stage: LoopStage, before: Mapping[str, Any]) -> dict[str, Any]:
        """Write down what there was before a stage, and that it has begun.

        Returns:
            What there was before its first try: one that was cut off may have changed the store already.
        """
        entry = self._content["stages"].setdefault(stage.key, {})
        if "before" not in entry:
            entry["before"] = dict(before)
            self._write()
        return entry["before"]

    def finish(self, stage: LoopStage, counted: Mapping[str, Any], notes: list[str], seconds: float) -> None:
        """Write down that a stage is finished."""
        entry = self._content["stages"].setdefault(stage.key, {})
        entry |= {"counted": dict(counted), "notes": notes, "seconds": round(seconds, 3)}
        self._write()

    def _write(self) -> None:
        with replacing(self.path) as scratch:
            scratch.write_text(json.dumps(self._content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not _is_shallow(content):
            raise ValueError("too deep")
        version, stages, options = content["format_version"], content["stages"], content["options"]
        is_whole = isinstance(stages, dict) and isinstance(options, dict) and isinstance(version, int)
        is_whole = is_whole and all(_is_entry(key, entry) for key, entry in stages.items())
        is_whole = is_whole and (not stages or "--config.rounds" in options)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        is_whole, version = False, 0
        content = {}
    if not is_whole:
        raise LoopError(f"{path}: no record of a loop, or damaged; give another --output_dir")
    if version > _FORMAT_VERSION:
        raise LoopError(f"{path}: written by a newer hardmo_jax (format {version}); update hardmo_jax to go on")
    return content


def _is_shallow(content: Any) -> bool:
    """Whether lists and objects lie in each other as deep as they may, and no deeper; asked without recursion."""
    layer = [content]
    for _ in range(_MOST_DEPTH + 1):
        layer = [
            inner
            for value in layer
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return not layer


def _is_entry(key: str, entry: Any) -> bool:
    """Whether a stage of a file is written as `LoopRecord` does it."""
    if not _KEY.fullmatch(key) or not isinstance(entry, dict):
        return False
    seconds, notes = entry.get("seconds", 0.0), entry.get("notes", [])
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)
    are_texts = isinstance(notes, list) and all(isinstance(note, str) for note in notes)
    are_counts = all(isinstance(entry.get(name, {}), dict) for name in ("before", "counted"))
    return is_number and are_texts and are_counts


def _flat(options: Any, above: str = "--config") -> dict[str, Any]:
    """Options by their flags; as deep as the classes of options nest, never as deep as a file."""
    if not isinstance(options, dict):
        return {above: options}
    return {name: value for key, own in options.items() for name, value in _flat(own, f"{above}.{key}").items()}


def _told(options: Mapping[str, Any], name: str) -> str:
    return json.dumps(options[name], ensure_ascii=False) if name in options else "not given"
