"""The user's own images, with classes or captions."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...errors import UserError
from ..filesystem import printable
from ..image_reader import holds_several_images
from ..images import to_image_array, typical_shape
from ..source import Source
from . import class_folders, layout, splitting, tables
from .entries import find_entry

CAPTIONS_FILE = "captions.csv"
DARK = 32  # of 255: without any brighter pixel, images probably use fewer bits than their files


class ImageFacts(NamedTuple):
    """Facts about an image, known after reading it once.

    Attributes:
        shape: (height, width, channels).
        peak: the largest value of any pixel, 0 to 255.
        has_more: whether the file contains further images, which are not read.
    """

    shape: tuple[int, ...]
    peak: int
    has_more: bool


def read_image_classes(dataset: str) -> Source:
    """Returns images with classes.

    Args:
        dataset: path of a folder with a sub-folder of images for each class, or of a folder with
            such a folder for each of train, validation and test.

    Raises:
        UserError: something is missing or cannot be read; names the file.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    splits: dict[str, list[dict[str, Any]]] = {}
    classes_of = {}
    for split, folder in layout.find_split_paths(path).items():
        files_of = class_folders.list_class_files(folder)
        classes_of[split] = files_of
        splits[split] = [
            {
                "name": printable(file.relative_to(path)),
                "image": file,
                "label": label,
                **_check_image(file),
            }
            for label, files in files_of.items()
            for file in files
        ]
        for row in splits[split]:
            digest.update(f"{row['name']}\0{row['key']}\0".encode())
    classes = layout.merge_classes(classes_of, path)
    # Single letters may differ only in case: A and a.
    tables.check_labels((name for name in map(printable, classes) if len(name) > 1), path)
    for row in (row for rows in splits.values() for row in rows):
        row["label"] = classes.index(row["label"])
    source = splitting.build_source(
        path, splits, digest=digest, group_of=lambda row: row["key"], classes=classes
    )
    return add_image_facts(source, (row["facts"] for rows in splits.values() for row in rows))


def read_image_captions(dataset: str) -> Source:
    """Returns images with captions.

    Args:
        dataset: path of a folder with images, directly or in a sub-folder `images`, and with
            `captions.csv`, which has columns `image` and `caption` and one row per caption; or of
            a folder with such a folder for each of train, validation and test.

    Raises:
        UserError: something is missing or cannot be read; names the file and line.
    """
    path = pathlib.Path(dataset).expanduser()
    digest = hashlib.sha256()
    splits = {
        split: _read_captions_folder(folder, digest)
        for split, folder in layout.find_split_paths(path).items()
    }
    source = splitting.build_source(path, splits, digest=digest, group_of=lambda row: row["key"])
    return add_image_facts(source, (row["facts"] for rows in splits.values() for row in rows))


def _read_captions_folder(folder: pathlib.Path, digest: Any) -> list[dict[str, Any]]:
    table = find_entry(folder, CAPTIONS_FILE)
    if not table.is_file():
        raise UserError(
            f"{folder} is not a folder with {CAPTIONS_FILE}. Expected images and a table with "
            "columns image and caption."
        )
    rows: dict[str, dict[str, Any]] = {}
    for line, values in tables.read_rows(table, ("image", "caption")):
        name = values["image"]
        if name not in rows:
            file = _find_image(folder, name)
            if file is None:
                raise UserError(f"{table}, line {line}: there is no image {name!r} in {folder}.")
            rows[name] = {
                "name": name,
                "image": file,
                "captions": [],
                **_check_image(file),
            }
        rows[name]["captions"].append(values["caption"])
    for row in rows.values():
        digest.update("\0".join([row["name"], row["key"], *row["captions"], ""]).encode())
    return list(rows.values())


def _find_image(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns the path of an image, or None if it does not exist or is outside the folder.

    The name comes from a table and must not lead out of the folder, but links in the folder may.
    """
    path = pathlib.PurePath(name)
    if path.is_absolute() or ".." in path.parts:
        return None
    files = (parent / path for parent in (folder, folder / "images", folder / "Images"))
    return next(filter(os.path.isfile, files), None)


def add_image_facts(source: Source, images: Iterable[ImageFacts]) -> Source:
    """Returns the source with the typical shape of its images, and with warnings about them."""
    images = list(images)
    if not images:
        return source
    warnings = []
    if animated := sum(image.has_more for image in images):
        warnings.append(
            f"{animated} of {len(images)} image files are animations or have several pages: only "
            "the first image of each is read"
        )
    if (peak := max(image.peak for image in images)) < DARK:
        warnings.append(
            f"the brightest pixel of all images is {peak} of 255: if they use fewer bits than "
            "their files have, such as 12 of 16, scale them to the full range"
        )
    shape = typical_shape(image.shape for image in images)
    return dataclasses.replace(source.warn(warnings, of_folds=True), image_shape=shape)


def read_checked_image(file: pathlib.Path) -> tuple[bytes, ImageFacts]:
    """Returns the content of an image file, and facts about the image.

    The image is decoded once, so that a damaged one is reported before training starts.

    Raises:
        UserError: the image cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    pixels = to_image_array(content, str(file))
    has_more = holds_several_images(content)
    return content, ImageFacts(pixels.shape, int(pixels.max()), has_more)


def _check_image(file: pathlib.Path) -> dict[str, Any]:
    """Returns the hash of an image file that can be read, and facts about the image."""
    content, facts = read_checked_image(file)
    return {"key": layout.sha256_hex(content), "facts": facts}
