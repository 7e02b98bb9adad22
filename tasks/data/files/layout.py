"""Folder layouts of the user's own data sets, and what all their readers share.

A data set is one folder or file, or a folder with train, validation and test. Splits that are
missing are split off from train, see `splitting`.
"""

import hashlib
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from ...errors import UserError
from ..splits import SPLITS
from .entries import list_entries, list_folders, skip_wrapper

# Names of splits, case-insensitive: train, Valid.csv, test_set, imdb_dev.tsv.
SPLIT_NAME = re.compile(
    r"(?P<prefix>.*[\W_])??"
    r"(?:(?P<train>train(?:ing)?|trn)"
    r"|(?P<validation>val(?:id(?:ation)?)?|dev(?:elopment)?|eval(?:uation)?)"
    r"|(?P<test>test(?:ing)?|tst))"
    r"[\W_]*(?:sets?|data(?:set)?|split|images|texts|clips)?[\W_]*\d*",
    re.IGNORECASE,
)


def find_split_paths(path: pathlib.Path, suffixes: Sequence[str] = ()) -> dict[str, pathlib.Path]:
    """Returns `{split: folder or file}`, or `{"": path}` for a data set without splits.

    Args:
        path: path of the data set.
        suffixes: file name suffixes, if a split may be a file; otherwise it is a folder.

    Raises:
        UserError: the path does not exist, a split is duplicated, there are splits but no train,
            train may be a class, or another folder may be a split.
    """
    if not os.path.exists(path):  # `Path.exists` would raise an error if the name is too long
        raise UserError(f"{path}: there is no such file or folder.")
    if not path.is_dir():
        return {"": path}
    path = skip_wrapper(path)
    candidates = [
        entry for entry in list_entries(path) if entry.is_dir() or entry.suffix.lower() in suffixes
    ]
    split_paths = _match_splits(path, candidates)
    if split_paths and "train" not in split_paths:
        names = ", ".join(split_path.name for split_path in split_paths.values())
        raise UserError(
            f"{path} has {names} but no train. Add train, or move all examples out of the splits "
            "to have them split automatically."
        )
    others = [entry.name for entry in candidates if entry.is_dir()]
    if len(split_paths) == 1 and len(others) > 1:
        raise UserError(
            f"{path} has the folders {', '.join(others[:5])}, but no validation or test: is "
            f"{split_paths['train'].name} a split or a class? If it is a split, move the other "
            "folders away; if it is a class, rename it."
        )
    if split_paths:
        _refuse_other_splits(split_paths, candidates)
    return split_paths or {"": path}


def _refuse_other_splits(
    split_paths: Mapping[str, pathlib.Path], candidates: Iterable[pathlib.Path]
) -> None:
    """Checks that no folder next to the splits contains the same folders as train.

    Raises:
        UserError: one does.
    """
    train = split_paths["train"]
    names = {folder.name for folder in list_folders(train)} if train.is_dir() else set()
    for entry in candidates:
        is_other = entry.is_dir() and entry not in split_paths.values()
        if is_other and names and names == {folder.name for folder in list_folders(entry)}:
            raise UserError(
                f"{entry} contains the same folders as {train.name}, but its name is not that of a "
                "split. Name it validation or test, or move it away."
            )


def has_split_files(folder: pathlib.Path, suffixes: Sequence[str]) -> bool:
    """Whether a folder has files named like at least two different splits.

    Args:
        folder: the folder, or a file, which has none.
        suffixes: file name suffixes.
    """
    files = [path for path in list_entries(folder) if path.is_file()] if folder.is_dir() else []
    stems = [path.stem for path in files if path.suffix.lower() in suffixes]
    matches = filter(None, map(SPLIT_NAME.fullmatch, stems))
    return len({match.lastgroup for match in matches if not match["prefix"]}) > 1


def find_split_names(names: Iterable[str]) -> list[str]:
    """Returns the names that mean a split, without a prefix, sorted."""
    matches = {name: SPLIT_NAME.fullmatch(name) for name in sorted(names)}
    return [name for name, match in matches.items() if match and not match["prefix"]]


def _match_splits(
    path: pathlib.Path, candidates: Iterable[pathlib.Path]
) -> dict[str, pathlib.Path]:
    """Returns `{split: folder or file}` for the candidates that are named like splits.

    Names may have a prefix if all splits share it: seg_train and seg_test are splits,
    positive_test and negative_test are not.
    """
    found: dict[str, dict[str, list[pathlib.Path]]] = {}  # {prefix: {split: paths}}
    for entry in candidates:
        match = SPLIT_NAME.fullmatch(entry.name if entry.is_dir() else entry.stem)
        if match is not None:
            prefix = (match["prefix"] or "").lower()
            split = next(split for split in SPLITS if match[split])
            found.setdefault(prefix, {}).setdefault(split, []).append(entry)
    groups = [splits for prefix, splits in found.items() if not prefix or len(splits) > 1]
    if len(groups) > 1:
        names = ", ".join(str(p.name) for splits in groups for p, *_ in splits.values())
        raise UserError(f"{path} has the splits of several data sets: {names}. Keep one of them.")
    for split, paths in groups[0].items() if groups else ():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise UserError(f"{path} has {split} more than once: {names}. Keep one of them.")
    return {split: groups[0][split][0] for split in SPLITS if groups and split in groups[0]}


def check_classes(classes: Iterable[str], path: pathlib.Path) -> None:
    """Checks that there are at least two classes.

    Raises:
        UserError: there are fewer.
    """
    classes = sorted(set(classes))
    if len(classes) < 2:
        count = f"only one class, {classes[0]!r}" if classes else "no classes"
        raise UserError(f"{path} has {count}. At least two classes are needed.")


def sha256_hex(content: bytes) -> str:
    """Returns the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def merge_classes(classes_of: Mapping[str, Iterable[str]], path: pathlib.Path) -> list[str]:
    """Returns the class names of all splits, sorted.

    Args:
        classes_of: `{split: class names}`.
        path: path of the data set.

    Raises:
        UserError: a split lacks a class that another split has.
    """
    sets = {split: set(names) for split, names in classes_of.items()}
    merged = sorted(set().union(*sets.values()))
    for split, names in sets.items():
        for name in merged:
            if name not in names:
                other = next(other for other, known in sets.items() if name in known)
                raise UserError(
                    f"{path}: the class {name!r} of {other} has no example in {split}. Every "
                    "split must have every class: add examples, or remove the class."
                )
    return merged
