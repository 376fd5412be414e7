"""Records of runs without the names of sources that were removed.

A path, a checksum and a file name with its suffix are mentions wherever they stand. A name without a suffix may be any
word or number, such as `1`: it is one only where a record has paths.
"""

import pathlib
import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Any

from hardmo_jax.pipelines.exports.removal_places import SourceName, as_composed

_REMOVED = "(removed)"
#: Keys, and options of command lines, whose values are photos and videos, or mappings and lists of them.
_PATH_KEYS = frozenset(
    ("source", "sources", "source_path", "source_sha256", "source_name", "input", "inputs", "path", "paths", "file",
     "files", "picture", "pictures", "photo", "photos", "image", "images", "video", "videos", "labels")
)  # fmt: skip
_COMMAND_KEY = "command"
_OPTION = re.compile(r"-{1,2}(?P<name>[\w.]+)(?P<value>=.*)?", re.DOTALL)


def without_mentions(record: Any, sources: Collection[SourceName]) -> Any:
    """A record in which sources are named nowhere: neither path, file name nor checksum.

    Entries of lists and mappings that are one of these go; text in which one stands is kept without it.

    Args:
        record: As JSON.
        sources: Photos and videos.
    """
    mentions = _Mentions(sources)
    if not mentions.words:
        return record
    cleaned = mentions.cleaned(record, "")
    results = cleaned.get("results") if isinstance(cleaned, dict) else None
    if isinstance(results, dict) and results.get("sources") == {} and cleaned != record:
        # Cameras and floors of shots are those of the one video that this was.
        results.pop("shots", None)
    return cleaned


class _Mentions:
    """What some sources are called, and how to be rid of it."""

    def __init__(self, sources: Collection[SourceName]) -> None:
        paths = {source.comparable_path for source in sources}
        every = {source.sha256 for source in sources} | paths | {pathlib.PurePosixPath(path).name for path in paths}
        self.words = every - {""}
        #: Those that cannot be anything else.
        self._certain = {word for word in self.words if _is_certain(word)}
        plain = self.words - self._certain
        self._certain_mention = re.compile(rf"(?<!\w)(?:{_any_of(self._certain)})(?!\w)")
        # A part of a path, or what a warning is about.
        self._plain_mention = re.compile(
            rf"(?:(?<=[/\\])(?:{_any_of(plain)})(?![\w.-])|\A(?:{_any_of(plain)})(?=: |/|\\))"
        )

    def cleaned(self, value: Any, key: str) -> Any:
        """A value of a record without mentions.

        Args:
            value: As JSON.
            key: Under which it, or the list that it is in, stands.
        """
        is_path = key in _PATH_KEYS
        if isinstance(value, dict):
            return {
                self._text(name): self.cleaned(item, name)
                for name, item in value.items()
                if not self._is_mention(name, is_path=is_path)
                and not self._is_mention(item, is_path=is_path or name in _PATH_KEYS)
            }
        if isinstance(value, list) and key == _COMMAND_KEY:
            return list(self._command(value))
        if isinstance(value, list):
            return [self.cleaned(item, key) for item in value if not self._is_mention(item, is_path=is_path)]
        return self._text(value) if isinstance(value, str) else value

    def _command(self, arguments: list[Any]) -> Iterable[Any]:
        """Arguments, of which those that are no option's, or that of an option of paths, may be sources."""
        before = ""
        for argument in arguments:
            text = argument if isinstance(argument, str) else ""
            option, is_of = _OPTION.fullmatch(text), _OPTION.fullmatch(before)
            if option is not None and option["value"] is not None and option["name"] in _PATH_KEYS:
                value = option["value"][1:]
                is_one = self._is_mention(value, is_path=True)
                yield text[: option.start("value") + 1] + (_REMOVED if is_one else self._text(value))
            elif not self._is_mention(argument, is_path=is_of is None or is_of["name"] in _PATH_KEYS):
                yield self.cleaned(argument, "")
            before = text

    def _is_mention(self, value: Any, *, is_path: bool) -> bool:
        return isinstance(value, str) and as_composed(value) in (self.words if is_path else self._certain)

    def _text(self, text: str) -> str:
        for mention in (self._certain_mention, self._plain_mention):
            text = mention.sub(_REMOVED, text)
        return text


def _is_certain(word: str) -> bool:
    return "/" in word or bool(re.fullmatch(r"[0-9a-f]{64}", word)) or bool(re.search(r"\.[^\W\d]\w*\Z", word))


def _any_of(words: Collection[str]) -> str:
    """A pattern of words, with accents as one letter or as two; of none it never matches."""
    forms = {unicodedata.normalize(form, word) for word in words for form in ("NFC", "NFD")}
    return "|".join(map(re.escape, sorted(forms, key=lambda form: (-len(form), form)))) or r"(?!)"
