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
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence

import filelock
import numpy as np

from ..errors import UserError
from . import filesystem
from .source import Lazy, Source

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
    filesystem.check_writable(builder.data_path.parent, "--data-dir")
    with _alone(pathlib.Path(builder.data_dir_root), builder.name):
        builder = make()
        if not is_sound(folder):  # no other process has made it meanwhile
            if folder.exists():
                print(f"{folder} is incomplete or damaged: making it again.", file=sys.stderr)
                shutil.rmtree(folder)
                builder = make()
            _make(builder, manual_dir)
    return builder


@contextlib.contextmanager
def _alone(root: pathlib.Path, name: str):
    """Holds off other processes that would prepare the same data set.

    TFDS would not notice them, and with the same seed gives both the same temporary folder.
    """
    filesystem.make(root)
    lock = filelock.FileLock(root / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"waiting for another run that prepares {name}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _make(builder, manual_dir) -> None:
    """Prepares a data set that nobody else prepares."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import download_manager

    root = pathlib.Path(builder.data_dir_root) / builder.name
    folder = pathlib.Path(builder.data_path)
    for leftover in folder.parent.glob(f"incomplete.*_{folder.name}"):  # of a process that died
        shutil.rmtree(leftover)
    new = not root.exists()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS's lines about unknown sizes
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    manual_dir=manual_dir, force_checksums_validation=True
                )
            )
    except BaseException as error:
        if new:
            shutil.rmtree(root, ignore_errors=True)
        for leftover in (root, root.parent / "downloads"):
            filesystem.remove_empty(leftover)
        unchecked = isinstance(error, ValueError) and "Missing checksums" in str(error)
        if unchecked or isinstance(error, download_manager.NonMatchingChecksumError):
            raise UserError(f"A download is not what it should be, and is not used: {error}") from (
                error
            )
        raise
    _write_list(folder)


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
    text = json.dumps(files_of(folder), indent=1)
    with filesystem.replacing(folder / LIST) as beside:
        beside.write_text(text, "utf-8")


def read(builder, split: str, decoders=None) -> Sequence[Mapping]:
    """Returns the examples of a split, in the stored order, text as `str`.

    They are read from disk when they are asked for, so that a set may be larger than memory.

    Args:
        builder: of a prepared data set.
        split: name of a split.
        decoders: what TFDS shall not decode, as its `as_data_source` takes it.

    Raises:
        UserError: the data set has no such split.
    """
    if split not in builder.info.splits:
        raise UserError(
            f"{builder.info.full_name} has no split {split!r}. It has "
            f"{', '.join(sorted(builder.info.splits))}."
        )
    rows = builder.as_data_source(split, decoders=decoders)
    texts = text_features(builder.info.features)
    return Lazy(range(len(rows)), lambda index: _with_text(rows[index], texts))


def text_features(features) -> set[str]:
    """Returns the names of the features that hold text, or sequences of texts."""
    import tensorflow_datasets as tfds

    return {
        name
        for name, feature in features.items()
        if isinstance(getattr(feature, "feature", feature), tfds.features.Text)
    }


def _with_text(row: Mapping, texts: set[str]) -> dict:
    return {name: decoded(v) if name in texts else v for name, v in row.items()}


def decoded(value):
    """Returns bytes as text, also where they come in an array or a list."""
    values = np.asarray(value, dtype=object)
    if values.ndim:
        return [decoded(inner) for inner in values]
    text = values.item()
    return text.decode("utf-8") if isinstance(text, bytes) else text


def source(builder_class, config, *, builder_config=None) -> Source:
    """Returns a data set of ours, whose features are named and split as tasks want them.

    Args:
        builder_class: a TFDS builder class.
        config: of the task, for its folders.
        builder_config: of the builder, or None.
    """
    builder = prepare(
        builder_class, config=builder_config, data_dir=config.data_dir, manual_dir=config.manual_dir
    )
    features = builder.info.features
    labels = next((features[name] for name in ("label", "labels") if name in features), None)
    labels = getattr(labels, "feature", labels)
    return Source(
        name=builder.info.full_name,
        sha256=listed_hash(builder),
        splits={name: read(builder, name, undecoded(features)) for name in builder.info.splits},
        classes=tuple(labels.names) if labels is not None else (),
        notes=dict(builder.info.metadata or {}),
    )


def undecoded(features) -> dict | None:
    """Returns decoders that leave images as they are stored, to be decoded one by one."""
    import tensorflow_datasets as tfds

    return {
        name: tfds.decode.SkipDecoding()
        for name, feature in features.items()
        if isinstance(feature, tfds.features.Image)
    } or None


def listed_hash(builder) -> str:
    """Returns the SHA-256 of the list of a prepared data set's record files, in hexadecimal.

    Quick for sets of any size. It changes where TFDS comes to write other files.
    """
    listed = json.loads((pathlib.Path(builder.data_path) / LIST).read_text("utf-8"))
    records = {name: facts for name, facts in listed.items() if not name.endswith(".json")}
    return hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()
