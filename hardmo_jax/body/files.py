"""Finding body-model files: which file a name means, and what a name says about its contents."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from hardmo_jax.body import compact
from hardmo_jax.body.array_files import WHERE, BodyFileError
from hardmo_jax.body.families import GENDERS, HAND_SIDES

ENDINGS = (".npz", ".pkl")
"""Endings of body-model files; of two files with the same name the first is taken, it is the faster one."""
FAMILY_WORDS = ("smpl", "smplh", "smplx", "mano")
"""Families that can be asked for."""

_MAX_LISTED = 8
_MAX_DEPTH = 6
_MAX_SEARCHED = 50_000  # entries of a folder; takes a tenth of a second
_MAX_SCANNED = 32  # files that are looked into when their names do not decide
_CHUNK_BYTES = 1 << 20
#: What a file has in it, in any of its formats, if it is a body model: a key as published, or one of our own.
_MARKS = (b"kintree_table", compact.FORMAT_KEY.encode())
#: Words that name a family; a model of the last ones is never what is meant.
_FAMILIES = {word: word for word in (*FAMILY_WORDS, "flame", "skel", "smal", "smil", "star", "supr")}
_FAMILIES |= {"basicmodel": "smpl"}
_GENDERS = {word: word for word in GENDERS}
_GENDER_LETTERS = {"f": "female", "m": "male"}
_SIDES = {word: word for word in HAND_SIDES}
_PLAIN_WORDS = {"body", "lbs", "model", "models", "v"}
_KNOWN_WORDS = {*_FAMILIES, *_GENDERS, *_SIDES, *_PLAIN_WORDS}


def find_body_file(
    path: str | os.PathLike[str], *, family: str | None = None, gender: str | None = None, side: str | None = None
) -> Path:
    """The file that a path means: itself, or the fitting one in a folder, or one whose name says the same.

    A folder is searched six levels deep, so that the folders of the published archives and of smplx
    (`smplx/SMPLX_NEUTRAL.npz`, `smplh/female/model.npz`) work as they are. Of several fitting files one that
    `tools.prepare_body` wrote is taken. A name without an ending, such as
    `body_models/smplx_female`, is that file with an ending, or else is taken for the words in it. Hidden files and
    folders are not looked at.

    Args:
        path: File, folder or name.
        family: `smpl`, `smplh`, `smplx` or `mano`; None if the path says it or there is no choice.
        gender: Gender to look for in a folder; None takes neutral, or the only one there is.
        side: `left` or `right`, of MANO.

    Raises:
        FileNotFoundError: If nothing fits; the message lists what was found.
        IsADirectoryError: If several files of a folder fit, or it is too large to be searched; the message lists them.
        ValueError: If family, gender or side is unknown, or contradicts the name.
    """
    check_words(family, gender, side)
    path = Path(path)
    if path.is_dir():
        return _search(path, path, family or _word(_own_name(path), _FAMILIES), gender, side)
    if path.exists() or path.suffix.lower() in ENDINGS or not path.parent.is_dir():
        return path
    for ending in ENDINGS:
        with_ending = path.with_name(path.name + ending)
        if with_ending.is_file():
            return with_ending
    named = _word(path.name, _FAMILIES)
    if named is None or not _KNOWN_WORDS.issuperset(_tokens(path.name)):
        return path
    wanted = {"family": family, "gender": gender, "side": side}
    says = {"family": named, "gender": _gender_of(path.name, {}), "side": _word(path.name, _SIDES)}
    for what, word in wanted.items():
        if None not in (word, says[what]) and word != says[what]:
            raise ValueError(f"{path} says {says[what]}, and {what}={word!r} was asked for; leave one of them out")
    return _search(path.parent, path, named, gender or says["gender"], side or says["side"])


def check_words(family: str | None, gender: str | None, side: str | None) -> None:
    """Raise `ValueError` unless each word is None or a known one."""
    for what, word, known in (
        ("family", family, FAMILY_WORDS), ("gender", gender, GENDERS), ("side", side, HAND_SIDES),
    ):  # fmt: skip
        if word is not None and word not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)} or None, got {word!r}")


def read_file(path: Path, max_file_bytes: int) -> memoryview:
    """Bytes of a body-model file, read-only.

    Raises:
        FileNotFoundError: If nothing is at `path`; the message lists the model files beside it.
        BodyFileError: If it is empty, too large or no regular file.
    """
    if not path.exists():
        beside = _candidates(path.parent)[0] if path.parent.is_dir() else []
        hint = f"{_listing(path.parent, beside)}; " if beside else ""
        raise FileNotFoundError(
            f"no body model at {path} (an SMPL, SMPL-H, SMPL-X or MANO .npz or .pkl file is expected); {hint}{WHERE}"
        )
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise BodyFileError(f"{path.name}: not a regular file; copy it to one first")
    if status.st_size > max_file_bytes:
        raise BodyFileError(
            f"{path.name}: {status.st_size} bytes, more than the cap of {max_file_bytes}; "
            "raise max_file_bytes if the file is really meant to be that large"
        )
    # NumPy asks the system for large pages; bytes objects of this size take five times as long to fill.
    data = np.empty(status.st_size, np.uint8).data
    count = 0
    with path.open("rb", buffering=0) as file:
        while count < len(data) and (more := file.readinto(data[count:])):
            count += more
    if not count:
        raise BodyFileError(f"{path.name}: the file is empty; download or copy it again")
    return data[:count].toreadonly()


def family_of_name(path: Path) -> str | None:
    """Family that the name of the file says, or else the name of the nearest folder above it that says one.

    It may be one that this package does not read. A name such as `SMPLify` says nothing, whatever its folder says.
    """
    for name in (path.stem, *reversed(path.parts[:-1])):
        word = _word(name, _FAMILIES)
        if word is not None or any(token.startswith(("smpl", "mano")) for token in _tokens(name)):
            return word
    return None


def gender_of_name(path: Path) -> str | None:
    """Gender that the name of the file says, or else the name of its folder if that says nothing else."""
    letters = _GENDER_LETTERS if _word(path.stem, _FAMILIES) else {}
    return _gender_of(path.stem, letters) or _word_of_folder(path, _GENDERS)


def side_of_name(path: Path) -> str | None:
    """Side of a hand that the name of the file says, or else the name of its folder if that says nothing else."""
    return _word(path.stem, _SIDES) or _word_of_folder(path, _SIDES)


def checked_gender(path: Path, gender: str | None) -> str:
    """Gender by argument or file name; `unknown` if neither says.

    Raises:
        ValueError: If the argument contradicts the name.
    """
    named = gender_of_name(path)
    if gender and named and gender != named:
        raise ValueError(
            f"{path} is a {named} model by its name, and gender={gender!r} was asked for; leave gender out or rename it"
        )
    return gender or named or "unknown"


def _search(folder: Path, asked: Path, family: str | None, gender: str | None, side: str | None) -> Path:
    found, is_complete = _candidates(folder)
    wanted = " ".join(word for word in (family or "body", gender, side) if word)
    if not is_complete:
        raise IsADirectoryError(
            f"{folder} holds more than {_MAX_SEARCHED} files and folders, too many to look for a {wanted} model in; "
            "give the folder of the models, or the file"
        )
    names = {file: Path(_own_name(folder)) / file.relative_to(folder) for file in found}
    families = {file: family_of_name(names[file]) for file in found}
    genders = {file: gender_of_name(names[file]) for file in found}
    matching = [
        file
        for file in found
        if families[file] in ((family,) if family else (None, *FAMILY_WORDS))
        # Hands have no gender.
        and (gender in (None, genders[file]) or families[file] == "mano")
        and side in (None, side_of_name(names[file]))
    ]

    def neutral_first(files: list[Path]) -> list[Path]:
        if gender is not None or len({families[file] for file in files}) > 1:
            return files
        return [file for file in files if genders[file] == "neutral"] or files

    matching = neutral_first(_distinct(matching))
    if 1 < len(matching) <= _MAX_SCANNED:
        # Names do not decide: tables and fits of bodies lie beside the models and are called like them.
        matching = neutral_first([file for file in matching if _mentions(file, _MARKS)] or matching)
    if 1 < len(matching) <= _MAX_SCANNED:
        prepared = [file for file in matching if file.suffix == ".npz" and _mentions(file, _MARKS[1:])]
        matching = prepared if len(prepared) == 1 else matching
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise FileNotFoundError(f"no {wanted} model for {asked}; {_listing(folder, found)}; {WHERE}")
    raise IsADirectoryError(
        f"{asked} means no single body-model file, several fit ({wanted}): {_listing(folder, matching)}; "
        "give family=, gender= or side=, or the file"
    )


def _own_name(folder: Path) -> str:
    """Name of a folder, also of `.` and `..`."""
    return folder.name if folder.name not in ("", "..") else folder.resolve().name


def _distinct(files: Iterable[Path]) -> list[Path]:
    """Without second names of the same file, and without the slower format where both have the same name."""
    by_target = {os.path.realpath(file): file for file in sorted(files, reverse=True)}
    by_stem: dict[tuple[Path, str], list[Path]] = {}
    for file in sorted(by_target.values()):
        by_stem.setdefault((file.parent, file.stem.lower()), []).append(file)
    kept = []
    for same in by_stem.values():
        endings = [file.suffix.lower() for file in same]
        kept += [file for file in same if file.suffix.lower() == min(endings, key=ENDINGS.index)]
    return kept


def _mentions(file: Path, marks: tuple[bytes, ...]) -> bool:
    """Whether the bytes of a file have one of the marks in them."""
    overlap = max(map(len, marks))
    tail = b""
    try:
        with file.open("rb") as opened:
            if file.suffix.lower() == ".npz":  # names its arrays at its end
                opened.seek(max(opened.seek(0, os.SEEK_END) - _CHUNK_BYTES, 0))
            while chunk := opened.read(_CHUNK_BYTES):
                if any(mark in tail + chunk for mark in marks):
                    return True
                tail = chunk[-overlap:]
    except OSError:
        return False
    return False


def _word_of_folder(path: Path, words: dict[str, str]) -> str | None:
    """Word that the folder of a file says; `female`, but not `female_dancer`, says what the files in it are."""
    tokens = _tokens(path.parent.name)
    return _word(path.parent.name, words) if _KNOWN_WORDS.issuperset(tokens) else None


def _gender_of(name: str, letters: dict[str, str]) -> str | None:
    if any(token in _GENDERS for token in _tokens(name)):
        return _word(name, _GENDERS)
    # A letter is a word between marks only: not the f of `f32`.
    found = {letters[token] for token in re.split(r"[^a-z0-9]+", name.lower()) if token in letters}
    return found.pop() if len(found) == 1 else None


def _word(name: str, words: dict[str, str]) -> str | None:
    """The one word that a name says; None if it says none, or two that contradict each other."""
    found = {words[token] for token in _tokens(name) if token in words}
    return found.pop() if len(found) == 1 else None


def _tokens(name: str) -> list[str]:
    """Words of a name: SMPL-X, SMPL+H and SMPL_H are one each, and 36 of `h36m` is none."""
    joined = re.sub(r"smpl[-_+ ]?(x(?![a-z])|h(?![a-z0-9]))", r"smpl\1", name.lower())
    return [token for token in re.split(r"[^a-z]+", joined) if token]


def _candidates(folder: Path) -> tuple[list[Path], bool]:
    """Model files in a folder and the levels below it, by name; and whether all of it was looked at."""
    found: list[Path] = []
    level, seen, count = [folder], set(), 0
    for _ in range(_MAX_DEPTH):
        # Real folders before links to them, so that each is looked into once and under its own name.
        level.sort(key=lambda path: (path.is_symlink(), path))
        below: list[Path] = []
        for parent in level:
            if (target := os.path.realpath(parent)) in seen:
                continue
            seen.add(target)
            for entry in _entries(parent, must_exist=parent == folder):
                count += 1
                if count > _MAX_SEARCHED:
                    return sorted(found), False
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if _is(entry.is_dir):
                    below.append(parent / entry.name)
                elif os.path.splitext(entry.name)[1].lower() in ENDINGS and _is(entry.is_file):
                    found.append(parent / entry.name)
        level = below
    return sorted(found), True


def _entries(folder: Path, *, must_exist: bool) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        if must_exist:
            raise
        # A folder below that may not be read holds nothing for this user.


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link that leads to itself, or an entry that may not be looked at
        return False


def _listing(folder: Path, found: list[Path]) -> str:
    if not found:
        return f"{folder} holds no {' or '.join(ENDINGS)} file"
    names = [str(file.relative_to(folder)) for file in found[:_MAX_LISTED]]
    return f"it holds {', '.join(names)}{', ...' if len(found) > _MAX_LISTED else ''}"
