"""Data sets on disk: prepared once by TFDS, checked, and read back without TensorFlow.

TFDS writes a set beside its place and renames the folder when it is done. What it does not do
is notice later that a file was cut short or changed. So a list of the files with their sizes
and SHA-256 is written last of all; a copy that does not agree with its list, or has none, is
not read but made again.
"""

import contextlib
import functools
import hashlib
import io
import json
import logging
import os
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence

from ..parts import folders
from ..parts.errors import UserError

LIST = "files.json"


def checksum(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(folder: pathlib.Path) -> dict[str, dict]:
    """Returns `{name: {"bytes", "sha256"}}` of the files in a folder, the list itself left out."""
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": checksum(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != LIST
    }


def is_sound(folder: pathlib.Path) -> bool:
    """Whether the folder holds a data set that agrees with its list of files."""
    try:
        listed = json.loads((folder / LIST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return listed == files_of(folder)


def prepare(builder_class, *, config, data_dir=None, manual_dir=None):
    """Returns a builder whose data set is on disk and sound, making it first if need be.

    Args:
        builder_class: a TFDS builder class.
        config: its config, or None.
        data_dir: TFDS's folder of data sets; TFDS's own default if None.
        manual_dir: folder in which the user keeps original files, or None.

    Raises:
        UserError: the folder cannot be written, or a file cannot be had.
    """
    import tensorflow_datasets as tfds

    if manual_dir is not None and not pathlib.Path(manual_dir).is_dir():
        raise UserError(f"--manual-dir {manual_dir} is not a folder.")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    # TFDS notes there that a config is not one of its own.
    logging.getLogger("absl").setLevel(logging.ERROR)
    make = functools.partial(
        builder_class, config=config, data_dir=data_dir, file_format="array_record"
    )
    builder = make()
    folder = pathlib.Path(builder.data_path)
    if is_sound(folder):
        return builder
    folders.check_writable(builder.data_path.parent, "--data-dir")
    if folder.exists():
        print(f"{folder} is incomplete or damaged: making it again.", file=sys.stderr)
        shutil.rmtree(folder)
        builder = make()
    new = not (root := pathlib.Path(builder.data_dir_root) / builder.name).exists()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS's lines about unknown sizes
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
            )
    except BaseException:
        if new:
            shutil.rmtree(root, ignore_errors=True)
        for leftover in (root, root.parent / "downloads"):
            folders.remove_empty(leftover)
        raise
    _write_list(folder)
    return builder


def check_reachable(address: str) -> None:
    """Asks for an address once; TFDS would ask for minutes before it gave up.

    Raises:
        UserError: it does not answer.
    """
    import requests

    try:
        requests.head(address, timeout=20, allow_redirects=True).raise_for_status()
    except requests.RequestException as error:
        raise UserError(
            f"{address} cannot be reached, and this data set has to be downloaded. Check the "
            "network, or put the original files into a folder and name it with --manual-dir."
        ) from error


def _write_list(folder: pathlib.Path) -> None:
    beside = folder / f"{LIST}.{os.getpid()}"
    beside.write_text(json.dumps(files_of(folder), indent=1), "utf-8")
    beside.rename(folder / LIST)


def read(builder, split: str) -> list[Mapping]:
    """Returns the examples of a split, in the stored order, text as `str`.

    Raises:
        UserError: the data set has no such split.
    """
    if split not in builder.info.splits:
        raise UserError(
            f"{builder.info.full_name} has no split {split!r}. It has "
            f"{', '.join(sorted(builder.info.splits))}."
        )
    source = builder.as_data_source(split)
    rows = source.__getitems__(range(len(source)))
    return [
        {name: v.decode("utf-8") if isinstance(v, bytes) else v for name, v in row.items()}
        for row in rows
    ]


def content_hash(splits: Mapping[str, Sequence[Mapping]]) -> str:
    """Returns the SHA-256 of examples of text and numbers, in hexadecimal.

    Unlike that of the files, it does not change with the version of TFDS.
    """
    digest = hashlib.sha256()
    for name, rows in sorted(splits.items()):
        for row in rows:
            digest.update(json.dumps([name, row], sort_keys=True).encode())
    return digest.hexdigest()
