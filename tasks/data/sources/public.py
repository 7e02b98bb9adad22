"""Any suitable data set of TensorFlow Datasets, by its name.

A task says which kinds of features it reads; those that the set itself calls its input and target
are taken first, and else the first of the kind. What is taken is said in the record's notes.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ...errors import UserError, unknown_name
from .. import store
from ..source import Lazy, Source
from ..splits import SHARES, SPLITS, split_of

# What other names of these splits there are.
ALSO = {"validation": ("validation", "val", "valid", "dev"), "test": ("test",)}
HIDDEN = -1  # the label that some sets give to a test split whose labels are kept secret


class Kind(NamedTuple):
    """A kind of feature: how it is called in messages, and whether a feature is of it."""

    name: str
    fits: Callable[[object], bool]
    inner: str | None = None  # of a sequence of several features, the one to read


def _is(*names: str):
    def fits(feature) -> bool:
        import tensorflow_datasets as tfds

        return isinstance(feature, tuple(getattr(tfds.features, name) for name in names))

    return fits


def _is_sequence_of_text(feature) -> bool:
    import tensorflow_datasets as tfds

    if not isinstance(feature, tfds.features.Sequence):
        return False
    inner = feature.feature
    if isinstance(inner, tfds.features.FeaturesDict):
        if "text" not in inner:
            return False
        inner = inner["text"]
    return tfds.core.utils.dtype_utils.is_string(inner.np_dtype)


IMAGE = Kind("an image", _is("Image"))
LABEL = Kind("a class label", _is("ClassLabel"))
TEXT = Kind("a text", _is("Text"))
VIDEO = Kind("a video", _is("Video"))
CAPTIONS = Kind("a sequence of captions", _is_sequence_of_text, inner="text")


@functools.cache
def names() -> frozenset[str]:
    """Returns the names of all data sets of TensorFlow Datasets itself."""
    import tensorflow_datasets as tfds

    return frozenset(tfds.list_builders(with_community_datasets=False))


def is_known(name: str) -> bool:
    return name in names()


def read(config, **kinds: Kind) -> Source:
    """Returns the data set that `config.dataset` names, as `NAME` or `NAME/CONFIG`.

    Args:
        config: of the task.
        kinds: what the task calls each feature that it reads, and of which kind it is.

    Raises:
        UserError: the set has no feature of a kind, or cannot be had.
    """
    builder_class, builder_config = _builder(config.dataset)
    make = functools.partial(builder_class, config=builder_config, data_dir=config.data_dir)
    found = features(make().info, kinds)
    _check_downloads(make())
    builder = store.prepare(
        builder_class,
        config=builder_config,
        data_dir=config.data_dir,
        manual_dir=config.manual_dir,
    )
    splits, said = _splits(builder, found, kinds)
    classes = next(
        (builder.info.features[found[role]].names for role in kinds if kinds[role] is LABEL), ()
    )
    return Source(
        name=builder.info.full_name,
        sha256=store.listed_hash(builder),
        splits=splits,
        classes=tuple(classes),
        notes={"reads": found, "splits": said},
    )


def _builder(dataset: str):
    import tensorflow_datasets as tfds

    name, _, config = dataset.partition("/")
    builder_class = tfds.builder_cls(name)
    known = sorted(builder_class.builder_configs)
    if config and config not in known:
        raise UserError(unknown_name(f"config of {name}", config, known or ["none"]))
    return builder_class, config or None


def features(info, kinds: Mapping[str, Kind]) -> dict[str, str]:
    """Returns the name of the feature that each role reads.

    Raises:
        UserError: there is none of the kind.
    """
    keys = info.supervised_keys or ()
    order = [key for key in keys if isinstance(key, str) and key in info.features]
    order += [name for name in info.features if name not in order]
    found = {}
    for role, kind in kinds.items():
        fitting = [name for name in order if kind.fits(info.features[name])]
        fitting = [name for name in fitting if name not in found.values()]
        if not fitting:
            raise UserError(
                f"{info.full_name} does not fit: this task reads "
                f"{' and '.join(kind.name for kind in kinds.values())}, and it has no feature "
                f"that is {kind.name}. Its features: {', '.join(info.features)}."
            )
        found[role] = fitting[0]
    return found


def _check_downloads(builder) -> None:
    """Finds out at once that a set cannot be downloaded, if that is still to be done."""
    from tensorflow_datasets.core.download import resource

    if pathlib.Path(builder.data_path).exists():
        return
    downloads = pathlib.Path(builder.data_dir_root) / "downloads"
    for address, facts in builder.url_infos.items():
        name = resource.get_dl_fname(address, facts.checksum)
        if not any((place / name).exists() for place in (downloads, downloads / builder.name)):
            store.check_reachable(address)
            return


def _splits(builder, found, kinds) -> tuple[dict, dict]:
    """Returns the splits, those that the set lacks cut from train, and where each comes from."""
    rows = {
        name: _renamed(
            store.read(builder, name, store.undecoded(builder.info.features)), found, kinds
        )
        for name in builder.info.splits
    }
    if "train" not in rows:
        raise UserError(f"{builder.info.full_name} has no split train; it has {', '.join(rows)}.")
    label = next((role for role in kinds if kinds[role] is LABEL), None)
    given = {
        split: next(
            (name for name in also if name in rows and not _hidden(rows[name], label)), None
        )
        for split, also in ALSO.items()
    }
    if given["test"] is None:  # its labels are secret: what is left is tested on
        given = {"validation": None, "test": given["validation"]}
    missing = {split: share for split, share in SHARES.items() if given[split] is None}
    parts = {"train": [], **{split: [] for split in missing}}
    for index in range(len(rows["train"])):
        parts[split_of(str(index), missing)].append(index)
    splits, said = {}, {}
    for split in SPLITS:
        whole = given.get(split)
        splits[split] = rows[whole] if whole else _chosen(rows["train"], parts[split])
        said[split] = whole or ("train" if not missing else f"{len(parts[split])} of train")
    return splits, said


def _hidden(rows: Sequence[Mapping], label: str | None) -> bool:
    return label is not None and len(rows) > 0 and rows[0][label] == HIDDEN


def _chosen(rows: Sequence, indices: Sequence[int]) -> Sequence:
    return rows if len(indices) == len(rows) else Lazy(indices, rows.__getitem__)


def _renamed(rows: Sequence[Mapping], found: Mapping[str, str], kinds: Mapping[str, Kind]):
    """Returns the rows with the features that are read, under the names that the task has."""

    def renamed(index: int) -> dict:
        row, values = rows[index], {}
        for role, name in found.items():
            value, inner = row[name], kinds[role].inner
            if inner is not None and isinstance(value, Mapping):
                value = value[inner]
            values[role] = store.decoded(value) if kinds[role] is CAPTIONS else value
        return values

    return Lazy(range(len(rows)), renamed)
