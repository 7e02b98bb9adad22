"""Any suitable data set of TensorFlow Datasets (TFDS), by name.

A task states which kinds of features it reads. The features that TFDS lists as the input and
target of the data set are tried first, then all others in order. The record's notes say which
features were read.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import UserError, unknown_name
from .. import store
from ..source import LazyExamples, Source
from ..splits import SPLIT_FRACTIONS, SPLITS, assign_split

if TYPE_CHECKING:
    from ...base import TaskConfig

SPLIT_ALIASES = {"validation": ("validation", "val", "valid", "dev"), "test": ("test",)}
HIDDEN_LABEL = -1  # some data sets keep the labels of their test split secret


class FeatureKind(NamedTuple):
    """A kind of feature that a task can read.

    Attributes:
        name: what messages call it.
        matches: `(TFDS feature) -> bool`, whether a feature is of this kind.
        inner: for a sequence of several features, the one to read.
    """

    name: str
    matches: Callable[[Any], bool]
    inner: str | None = None


def _has_type(*names: str) -> Callable[[Any], bool]:
    """Returns a function that checks for a class of `tfds.features`, and imports TFDS lazily."""

    def matches(feature: Any) -> bool:
        import tensorflow_datasets as tfds

        return isinstance(feature, tuple(getattr(tfds.features, name) for name in names))

    return matches


def _is_text_sequence(feature: Any) -> bool:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import dtype_utils

    if not isinstance(feature, tfds.features.Sequence):
        return False
    inner: Any = feature.feature
    if isinstance(inner, tfds.features.FeaturesDict):
        if "text" not in inner:
            return False
        inner = inner["text"]
    return dtype_utils.is_string(inner.np_dtype)


IMAGE = FeatureKind("an image", _has_type("Image"))
LABEL = FeatureKind("a class label", _has_type("ClassLabel"))
TEXT = FeatureKind("a text", _has_type("Text"))
VIDEO = FeatureKind("a video", _has_type("Video"))
CAPTIONS = FeatureKind("a sequence of captions", _is_text_sequence, inner="text")


@functools.cache
def public_dataset_names() -> frozenset[str]:
    """Returns the names of all data sets in TFDS, without community data sets."""
    import tensorflow_datasets as tfds

    return frozenset(tfds.list_builders(with_community_datasets=False))


def is_public_dataset(name: str) -> bool:
    """Whether TFDS has a data set of this name."""
    return name in public_dataset_names()


def read_public_dataset(config: "TaskConfig", **kinds: FeatureKind) -> Source:
    """Returns the TFDS data set that `config.dataset` names, as `NAME` or `NAME/CONFIG`.

    Args:
        config: the task's config.
        kinds: the kind of each feature that the task reads, by the name that the task gives it.

    Raises:
        UserError: the data set lacks a feature of one of these kinds, or cannot be downloaded.
    """
    builder_class, builder_config = _find_builder(config.dataset)
    make_builder = functools.partial(builder_class, config=builder_config, data_dir=config.data_dir)
    features = match_features(make_builder().info, kinds)
    _check_downloads(make_builder())
    builder = store.prepare_dataset(
        builder_class,
        config=builder_config,
        data_dir=config.data_dir,
        manual_dir=config.manual_dir,
    )
    splits, origins = _build_splits(builder, features, kinds)
    label = _label_role(kinds)
    classes = builder.info.features[features[label]].names if label else ()
    return Source(
        name=builder.info.full_name,
        sha256=store.manifest_hash(builder),
        splits=splits,
        classes=tuple(classes),
        notes={"reads": features, "splits": origins},
        image_shape=_image_shape(builder, features.get("image", features.get("frames"))),
    )


def _image_shape(builder: Any, feature: str | None) -> tuple[int | None, int | None, int] | None:
    """Returns the (height, width, channels) that a data set declares for an image or a video."""
    if feature is None:
        return None
    height, width, channels = builder.info.features[feature].shape[-3:]
    return height, width, 1 if channels == 1 else 3  # transparency is composited on white


def _label_role(kinds: Mapping[str, FeatureKind]) -> str | None:
    return next((role for role, kind in kinds.items() if kind is LABEL), None)


def _find_builder(dataset: str) -> tuple[Any, str | None]:
    """Returns the builder class and the config name of `NAME` or `NAME/CONFIG`."""
    import tensorflow_datasets as tfds

    name, _, config = dataset.partition("/")
    builder_class = tfds.builder_cls(name)
    known = sorted(builder_class.builder_configs)
    if config and config not in known:
        raise UserError(unknown_name(f"config of {name}", config, known or ["none"]))
    return builder_class, config or None


def match_features(info: Any, kinds: Mapping[str, FeatureKind]) -> dict[str, str]:
    """Returns the TFDS feature that fills each role, such as `{"text": "sentence"}`.

    Args:
        info: a `tfds.core.DatasetInfo`.
        kinds: the kind of feature that each role needs.

    Raises:
        UserError: the data set has no feature of one of the kinds.
    """
    keys = info.supervised_keys or ()
    candidates = [key for key in keys if isinstance(key, str) and key in info.features]
    candidates += [name for name in info.features if name not in candidates]
    features: dict[str, str] = {}
    for role, kind in kinds.items():
        matching = [
            name
            for name in candidates
            if kind.matches(info.features[name]) and name not in features.values()
        ]
        if not matching:
            raise UserError(
                f"{info.full_name} does not fit this task, which reads "
                f"{' and '.join(kind.name for kind in kinds.values())}: it has no feature that is "
                f"{kind.name}. Its features: {', '.join(info.features)}."
            )
        features[role] = matching[0]
    return features


def _check_downloads(builder: Any) -> None:
    """Checks that the server can be reached, if files still have to be downloaded."""
    from tensorflow_datasets.core.download import resource

    if pathlib.Path(builder.data_path).exists():
        return
    downloads = pathlib.Path(builder.data_dir_root) / "downloads"
    for url, url_info in builder.url_infos.items():
        name = resource.get_dl_fname(url, url_info.checksum)
        if not any((folder / name).exists() for folder in (downloads, downloads / builder.name)):
            store.check_reachable(url)
            return


def _build_splits(
    builder: Any, features: Mapping[str, str], kinds: Mapping[str, FeatureKind]
) -> tuple[dict[str, Sequence[Any]], dict[str, str]]:
    """Returns train, validation and test, and where each comes from.

    Splits that the data set lacks are cut from train.
    """
    decoders = store.skip_image_decoding(builder.info.features)
    rows = {
        name: _rename_features(store.read_split(builder, name, decoders), features, kinds)
        for name in builder.info.splits
    }
    if "train" not in rows:
        raise UserError(
            f"{builder.info.full_name} has no split train, only {', '.join(rows)}. Choose another "
            "data set or config."
        )
    label = _label_role(kinds)
    existing = {
        split: next(
            (
                name
                for name in aliases
                if name in rows and not _has_hidden_labels(rows[name], label)
            ),
            None,
        )
        for split, aliases in SPLIT_ALIASES.items()
    }
    if existing["test"] is None:  # its labels are secret: test on validation, and cut a new one
        existing = {"validation": None, "test": existing["validation"]}
    missing = {split: part for split, part in SPLIT_FRACTIONS.items() if existing[split] is None}
    indices: dict[str, list[int]] = {"train": [], **{split: [] for split in missing}}
    for index in range(len(rows["train"])):
        indices[assign_split(str(index), missing)].append(index)
    splits, origins = {}, {}
    for split in SPLITS:
        name = existing.get(split)
        splits[split] = rows[name] if name else _select_rows(rows["train"], indices[split])
        origins[split] = name or (f"{len(indices[split])} of train" if missing else "train")
    return splits, origins


def _has_hidden_labels(rows: Sequence[Mapping[str, Any]], label: str | None) -> bool:
    return label is not None and len(rows) > 0 and rows[0][label] == HIDDEN_LABEL


def _select_rows(rows: Sequence[Any], indices: Sequence[int]) -> Sequence[Any]:
    return rows if len(indices) == len(rows) else LazyExamples(indices, rows.__getitem__)


def _rename_features(
    rows: Sequence[Mapping[str, Any]],
    features: Mapping[str, str],
    kinds: Mapping[str, FeatureKind],
) -> LazyExamples:
    """Returns the rows with the features that the task reads, under the task's names for them."""

    def read(index: int) -> dict[str, Any]:
        row, values = rows[index], {}
        for role, name in features.items():
            value, inner = row[name], kinds[role].inner
            if inner is not None and isinstance(value, Mapping):
                value = value[inner]
            values[role] = store.decode_text(value) if kinds[role] is CAPTIONS else value
        return values

    return LazyExamples(range(len(rows)), read)
