"""How own files lie in folders: by split, by class; and what every reader needs of them."""

import hashlib
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from ...errors import UserError
from ..source import Source
from ..splits import SHARES, SPLITS, by_group, share

NAMES = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# What systems leave in folders, and nobody put there.
LITTER = re.compile(r"\..*|Thumbs\.db|desktop\.ini|__MACOSX", re.IGNORECASE)


def entries(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns what is in a folder, in an order that counts: frame2 before frame10."""
    found = [path for path in folder.iterdir() if not LITTER.fullmatch(path.name)]
    return sorted(found, key=lambda path: natural(path.name))


def natural(name: str) -> list:
    """Returns a key to sort names by in which numbers count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), part) if part.isdecimal() else (0, part) for part in parts]


def split_places(path: pathlib.Path, suffixes: Sequence[str] = ()) -> dict[str, pathlib.Path]:
    """Returns `{split: folder or file}`, or of a path without splits `{"": path}`.

    Args:
        path: of the data set.
        suffixes: of files that a split may be; without them it is a folder.

    Raises:
        UserError: there is nothing, or splits without `train`.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder.")
    if not path.is_dir():
        return {"": path}
    found = {}
    for split, names in NAMES.items():
        places = [path / f"{name}{suffix}" for name in names for suffix in ("", *suffixes)]
        place = next(filter(pathlib.Path.exists, places), None)
        if place is not None:
            found[split] = place
    if "train" in found:
        return found
    if found:
        raise UserError(f"{path} has {', '.join(p.name for p in found.values())} but no train.")
    return {"": path}


def class_folders(place: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Returns the files of each class: one sub-folder a class, with files at any depth.

    Raises:
        UserError: a class is empty, or there are fewer than two.
    """
    if not place.is_dir():
        raise UserError(f"{place} is not a folder with a sub-folder for each class.")
    found = {}
    for folder in filter(pathlib.Path.is_dir, entries(place)):
        files = [path for path in walk(folder) if path.is_file()]
        if not files:
            raise UserError(f"{folder}: the class {folder.name!r} is empty.")
        found[folder.name] = files
    check_classes(found, place)
    return found


def walk(folder: pathlib.Path) -> Iterable[pathlib.Path]:
    """Yields the files in a folder and in those in it."""
    for path in entries(folder):
        if path.is_dir():
            yield from walk(path)
        else:
            yield path


def check_classes(classes: Iterable[str], place: pathlib.Path) -> None:
    """Refuses fewer than two classes."""
    classes = sorted(set(classes))
    if len(classes) < 2:
        found = f"a single class, {classes[0]!r}" if classes else "no class"
        raise UserError(f"{place} has {found}: there is nothing to tell apart.")


def read_text(path: pathlib.Path) -> str:
    """Returns the text of a file.

    Raises:
        UserError: it is not UTF-8; names the line.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line}: this is not UTF-8 (byte {content[error.start]:#04x}). Save the "
            "file as UTF-8."
        ) from error


def made(
    path: pathlib.Path,
    parts: Mapping[str, list],
    *,
    digest,
    group: Callable[..., str],
    classes: Sequence[str] = (),
    rows: Callable[[list], Sequence] = list,
) -> Source:
    """Returns the source of own files; splits that are missing are cut from train by a hash.

    Args:
        path: of the data set.
        parts: `{split: rows}`, or `{"": rows}`.
        digest: of the content.
        group: `(row) -> str`, what must not be torn apart.
        classes: names of the classes.
        rows: makes of the rows of a split what the source shall hold.
    """
    given = {split: found for split, found in parts.items() if split in SPLITS}
    whole = given.pop("train") if given else parts[""]
    missing = {split: width for split, width in SHARES.items() if split not in given}
    given |= by_group(whole, group, missing)
    if classes:  # files lie class by class, and the first of them shall be of all classes
        given["train"] = sorted(given["train"], key=lambda row: share(group(row)))
    said = {split: "given" if split in parts else "by a hash" for split in SPLITS}
    return Source(
        name=path.name,
        sha256=digest.hexdigest(),
        splits={split: rows(given[split]) for split in SPLITS},
        classes=tuple(classes),
        notes={"splits": said},
    )


def fingerprint(content: bytes) -> str:
    """Returns what tells one content from another."""
    return hashlib.sha256(content).hexdigest()


def same_classes(found: Mapping[str, Iterable[str]], path: pathlib.Path) -> list[str]:
    """Returns the classes of all splits, sorted.

    Raises:
        UserError: a split has a class that another has not.
    """
    sets = {split: set(names) for split, names in found.items()}
    everything = sorted(set().union(*sets.values()))
    for split, names in sets.items():
        for name in everything:
            if name not in names:
                other = next(other for other, known in sets.items() if name in known)
                raise UserError(
                    f"{path}: the class {name!r} of {other} has no example in {split}. Every "
                    "split must have every class."
                )
    return everything
