"""Own images: with a class each, or with captions."""

import hashlib
import pathlib

from ...errors import UserError
from .. import images
from ..source import Source
from . import layout, tables


def read_classes(dataset: str) -> Source:
    """Returns images with classes.

    Args:
        dataset: a folder with a sub-folder of images for each class; or with folders train,
            validation and test of that kind.

    Raises:
        UserError: something is missing or cannot be read; names the file.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    parts, labels = {}, {}
    for split, place in layout.split_places(path).items():
        folders = layout.class_folders(place)
        labels[split] = folders
        parts[split] = [
            {"name": str(file.relative_to(path)), "image": file, "label": label, "key": key}
            for label, files in folders.items()
            for file, key in ((file, _checked(file)) for file in files)
        ]
        for row in parts[split]:
            digest.update(f"{row['name']}\0{row['key']}\0".encode())
    classes = layout.same_classes(labels, path)
    for row in (row for rows in parts.values() for row in rows):
        row["label"] = classes.index(row["label"])
    return layout.made(path, parts, digest=digest, group=lambda row: row["key"], classes=classes)


def read_captions(dataset: str) -> Source:
    """Returns images with captions.

    Args:
        dataset: a folder of images, or with a folder `images`, and `captions.csv` with columns
            `image` and `caption`: as many rows an image as there are captions; or with folders
            train, validation and test of that kind.

    Raises:
        UserError: something is missing or cannot be read; names file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    parts = {split: _captioned(place, digest) for split, place in layout.split_places(path).items()}
    return layout.made(path, parts, digest=digest, group=lambda row: row["key"])


def _captioned(place: pathlib.Path, digest) -> list[dict]:
    table = place / "captions.csv"
    if not table.is_file():
        raise UserError(f"{place} is not a folder with images and captions.csv.")
    found = {}
    for line, values in tables.rows(table, ("image", "caption")):
        name = values["image"]
        if name not in found:
            file = _image(place, name)
            if file is None:
                raise UserError(f"{table}, line {line}: there is no image {name!r} in {place}.")
            found[name] = {"name": name, "image": file, "captions": [], "key": _checked(file)}
        found[name]["captions"].append(values["caption"])
    for row in found.values():
        digest.update("\0".join([row["name"], row["key"], *row["captions"], ""]).encode())
    return list(found.values())


def _image(place: pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns the file of an image, which must lie inside of the folder."""
    for folder in (place, place / "images", place / "Images"):
        file = folder / name
        if file.is_file() and file.resolve().is_relative_to(place.resolve()):
            return file
    return None


def _checked(file: pathlib.Path) -> str:
    """Reads an image once, so that a bad one is told before training; returns its fingerprint."""
    if file.suffix.lower() not in layout.IMAGES:
        raise UserError(f"{file} is no image: expected one of {', '.join(layout.IMAGES)}.")
    content = file.read_bytes()
    images.of(content, str(file))
    return layout.fingerprint(content)
