"""Data sets on disk: prepared once by TFDS, checked, and read back without TensorFlow.

TFDS writes a set beside its place and renames the folder when it is done. What it does not do
is notice later that a file was cut short or changed. So a list of the files with their sizes
and SHA-256 is written last of all; a copy that does not agree with its list, or has none, is
not read but made again.
"""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import shutil
import socket
import sys
import urllib.error
from collections.abc import Mapping, Sequence

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

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    # TFDS notes there that a config is not one of its own.
    logging.getLogger("absl").setLevel(logging.ERROR)
    with _told(builder_class.name, data_dir):
        builder = builder_class(config=config, data_dir=data_dir, file_format="array_record")
        folder = pathlib.Path(builder.data_path)
        if is_sound(folder):
            return builder
        if folder.exists():
            print(f"{folder} is incomplete or damaged: making it again.", file=sys.stderr)
            shutil.rmtree(folder)
            builder = builder_class(config=config, data_dir=data_dir, file_format="array_record")
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=manual_dir, verify_ssl=True, register_checksums=False
            )
        )
        _write_list(folder)
    return builder


def _write_list(folder: pathlib.Path) -> None:
    beside = folder / f"{LIST}.{os.getpid()}"
    beside.write_text(json.dumps(files_of(folder), indent=1), "utf-8")
    beside.rename(folder / LIST)


@contextlib.contextmanager
def _told(name, data_dir):
    """Turns what goes wrong outside of our hands into one line."""
    import requests

    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"Cannot write the data set {name} into {error.filename or data_dir}: permission "
            "denied. Choose another folder with --data-dir."
        ) from error
    except (requests.RequestException, urllib.error.URLError, socket.gaierror) as error:
        address = getattr(getattr(error, "request", None), "url", None) or "its address"
        raise UserError(
            f"{name} has to be downloaded, and {address} cannot be reached. Check the network, "
            "or put the original files into a folder and name it with --manual-dir."
        ) from error
    except (NotADirectoryError, FileExistsError) as error:
        raise UserError(
            f"Cannot write the data set {name}: {error.filename or data_dir} is not a folder."
        ) from error


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
