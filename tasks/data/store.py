"""Data sets on disk: prepared once with TFDS, verified, and read back without TensorFlow.

TFDS writes a data set to a temporary folder and renames it when it is complete, but it does not
notice files that are truncated or changed later. We therefore write a manifest of the files with
their sizes and SHA-256 as the last step. A data set that does not match its manifest, or that has
none, is prepared again.
"""

import contextlib
import functools
import hashlib
import io
import json
import logging
import pathlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

from ..errors import UserError
from . import filesystem
from .source import LazyExamples, Source

if TYPE_CHECKING:
    from ..base import TaskConfig

MANIFEST = "files.json"


def file_sha256(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_files(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns `{name: {"bytes", "sha256"}}` for all files in a folder except the manifest."""
    return {
        path.name: {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }


def is_intact(folder: pathlib.Path) -> bool:
    """Whether the folder contains a data set that matches its manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return manifest == describe_files(folder)


def prepare_dataset(
    builder_class: Any,
    *,
    config: Any,
    data_dir: str | pathlib.Path | None = None,
    manual_dir: str | pathlib.Path | None = None,
) -> Any:
    """Returns a TFDS builder whose data set is on disk and intact, preparing it if necessary.

    Args:
        builder_class: a TFDS builder class.
        config: a config of the builder, the name of one, or None.
        data_dir: folder of prepared data sets; None uses the default of TFDS.
        manual_dir: folder with original files that the user provides, or None.

    Raises:
        UserError: the folder is not writable, or a file cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    if manual_dir is not None and not pathlib.Path(manual_dir).is_dir():
        raise UserError(f"--manual-dir {manual_dir} is not a folder.")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    # TFDS logs a warning about every config that is not built in.
    logging.getLogger("absl").setLevel(logging.ERROR)
    make_builder = functools.partial(
        builder_class, config=config, data_dir=data_dir, file_format="array_record"
    )
    builder = make_builder()
    folder = pathlib.Path(builder.data_path)
    if is_intact(folder):
        return builder
    filesystem.check_writable(builder.data_path.parent, "--data-dir")
    with _preparation_lock(pathlib.Path(builder.data_dir_root), builder.name):
        builder = make_builder()
        if not is_intact(folder):  # no other process has prepared it in the meantime
            if folder.exists():
                print(f"{folder} is incomplete or damaged: preparing it again.", file=sys.stderr)
                shutil.rmtree(folder)
                builder = make_builder()
            _download_and_prepare(builder, manual_dir)
    return builder


@contextlib.contextmanager
def _preparation_lock(root: pathlib.Path, name: str) -> Iterator[None]:
    """Keeps other processes from preparing the same data set.

    TFDS does not check for them, and with the same seed it gives both the same temporary folder.
    """
    filesystem.make_folder(root)
    lock = filelock.FileLock(root / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"waiting for another run that is preparing {name}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download_and_prepare(builder: Any, manual_dir: str | pathlib.Path | None) -> None:
    """Prepares a data set, while the lock is held."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import download_manager

    root = pathlib.Path(builder.data_dir_root) / builder.name
    folder = pathlib.Path(builder.data_path)
    for leftover in folder.parent.glob(f"incomplete.*_{folder.name}"):  # of a killed process
        shutil.rmtree(leftover)
    is_new = not root.exists()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints that sizes are unknown
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    manual_dir=manual_dir, force_checksums_validation=True
                )
            )
    except BaseException as error:
        if is_new:
            shutil.rmtree(root, ignore_errors=True)
        for leftover in (root, root.parent / "downloads"):
            filesystem.remove_empty_folders(leftover)
        has_no_checksum = isinstance(error, ValueError) and "Missing checksums" in str(error)
        if has_no_checksum or isinstance(error, download_manager.NonMatchingChecksumError):
            raise UserError(
                f"A downloaded file failed its checksum test and is not used: {error}"
            ) from error
        raise
    _write_manifest(folder)


def check_reachable(url: str) -> None:
    """Checks once that a URL answers; TFDS would retry for minutes before giving up.

    Raises:
        UserError: the URL does not answer.
    """
    import requests

    try:
        requests.head(url, timeout=20, allow_redirects=True).raise_for_status()
    except requests.RequestException as error:
        raise UserError(
            f"{url} cannot be reached, and this data set has to be downloaded. Check your network "
            "connection, or put the original files into a folder and pass it with --manual-dir."
        ) from error


def _write_manifest(folder: pathlib.Path) -> None:
    text = json.dumps(describe_files(folder), indent=1)
    with filesystem.atomic_write(folder / MANIFEST) as temporary:
        temporary.write_text(text, "utf-8")


def read_split(builder: Any, split: str, decoders: Mapping[str, Any] | None = None) -> LazyExamples:
    """Returns the examples of a split in the stored order, with text as `str`.

    Examples are read from disk on access, so a data set may be larger than memory.

    Args:
        builder: TFDS builder of a prepared data set.
        split: name of a split.
        decoders: decoders for `as_data_source`, for example to leave images encoded.

    Raises:
        UserError: the data set has no such split.
    """
    if split not in builder.info.splits:
        raise UserError(
            f"{builder.info.full_name} has no split {split!r}. Available splits: "
            f"{', '.join(sorted(builder.info.splits))}."
        )
    rows = builder.as_data_source(split, decoders=decoders)
    texts = text_features(builder.info.features)
    return LazyExamples(range(len(rows)), lambda index: _decode_row(rows[index], texts))


def text_features(features: Any) -> set[str]:
    """Returns the names of the TFDS features that contain text or sequences of text."""
    import tensorflow_datasets as tfds

    return {
        name
        for name, feature in features.items()
        if isinstance(getattr(feature, "feature", feature), tfds.features.Text)
    }


def _decode_row(row: Mapping[str, Any], texts: set[str]) -> dict[str, Any]:
    return {name: decode_text(value) if name in texts else value for name, value in row.items()}


def decode_text(value: Any) -> Any:
    """Returns UTF-8 bytes as text, and arrays or lists of them as lists of text."""
    values = np.asarray(value, dtype=object)
    if values.ndim:
        return [decode_text(inner) for inner in values]
    text = values.item()
    return text.decode("utf-8") if isinstance(text, bytes) else text


def load_source(builder_class: Any, config: "TaskConfig", *, builder_config: Any = None) -> Source:
    """Returns one of our own data sets, whose features and splits have the names tasks expect.

    Args:
        builder_class: a TFDS builder class.
        config: the task's config, for its folders.
        builder_config: a config of the builder, the name of one, or None.
    """
    builder = prepare_dataset(
        builder_class, config=builder_config, data_dir=config.data_dir, manual_dir=config.manual_dir
    )
    features = builder.info.features
    labels = next((features[name] for name in ("label", "labels") if name in features), None)
    labels = getattr(labels, "feature", labels)
    decoders = skip_image_decoding(features)
    return Source(
        name=builder.info.full_name,
        sha256=manifest_hash(builder),
        splits={name: read_split(builder, name, decoders) for name in builder.info.splits},
        classes=tuple(labels.names) if labels is not None else (),
        notes=dict(builder.info.metadata or {}),
    )


def skip_image_decoding(features: Any) -> dict[str, Any] | None:
    """Returns TFDS decoders that leave images encoded, to be decoded one at a time on access."""
    import tensorflow_datasets as tfds

    return {
        name: tfds.decode.SkipDecoding()
        for name, feature in features.items()
        if isinstance(feature, tfds.features.Image)
    } or None


def manifest_hash(builder: Any) -> str:
    """Returns the SHA-256 of the manifest entries of a data set's record files, in hexadecimal.

    It is fast for data sets of any size, but identifies one prepared copy: preparing the same data
    again may give another hash, because TFDS serializes the features of an example in any order.
    """
    manifest = json.loads((pathlib.Path(builder.data_path) / MANIFEST).read_text("utf-8"))
    records = {name: entry for name, entry in manifest.items() if not name.endswith(".json")}
    return hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()
