"""Which runs share a data set: the same content and the same test examples, not the same name."""

import collections
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rnn_topologies.tasks.base import FILES
from rnn_topologies.tasks.errors import UserError

from .record import Record

HASH_DIGITS = 7
# Their hash is that of one prepared copy, see `tasks.data.store.manifest_hash`. The originals are
# verified by checksum, so that name and version identify the content.
PREPARED = ("flickr8k", "gesture_phase", "utkinect")


class DatasetId(NamedTuple):
    """The data that a run was trained and tested on; scores are comparable if all fields are equal.

    Attributes:
        content: SHA-256 of the examples, or name and version of a data set in `PREPARED` or TFDS.
        folds: number of folds of a cross-validation; 0 without.
        splits: how the test split was created.
        tests: number of test examples; 0 in a cross-validation, where it differs between folds.
        limit: value of `--limit` if it also reduced the test split; 0 without.
    """

    content: str
    folds: int
    splits: str
    tests: int
    limit: int


class DatasetUse(NamedTuple):
    """The data set of a run: its name and its identity.

    `identity` is None if the run ended before the data was read; `folds` is that of `DatasetId`.
    """

    task: str
    name: str
    folds: int
    identity: DatasetId | None


def dataset_use(record: Record) -> DatasetUse:
    """Returns the data set of a run."""
    folds, data = to_integer(record.config.get("folds")), record.data or {}
    is_prepared = "reads" in data or record.dataset in PREPARED
    content = data.get("name") if is_prepared else data.get("content_sha256") or data.get("sha256")
    if not content:
        return DatasetUse(record.task, record.dataset, folds, None)
    identity = DatasetId(
        content=str(content),
        splits="" if folds else _split_rule(data),
        folds=folds,
        tests=0 if folds else to_integer(_entry(data, "examples", "test")),
        limit=to_integer(record.config.get("limit")) if "sampled_from" in data else 0,
    )
    return DatasetUse(record.task, record.dataset, folds, identity)


def _split_rule(data: Mapping[str, Any]) -> str:
    """Returns how the test split was created, without spaces."""
    rule = str(_entry(data, "splits", "test") or "")
    if rule == "by hash":  # without `split_rule` up to version 0.2: not stratified
        rule = str(data.get("split_rule", rule))
    return _slug(rule)


def _entry(data: Mapping[str, Any], name: str, key: str) -> Any:
    entries = data.get(name)
    return entries.get(key) if isinstance(entries, Mapping) else None


def to_integer(value: Any) -> int:
    """Returns a value of a record, which is untrusted input; 0 if it is not an integer."""
    return value if isinstance(value, int) else 0


def _slug(text: str) -> str:
    """Returns a text that can be typed in a shell without quotes."""
    return re.sub(r"-+(?=@|$)", "", re.sub(r"[^\w./@,+-]+", "-", text)).lstrip("-")


def label_datasets(uses: Iterable[DatasetUse]) -> dict[DatasetUse, str]:
    """Returns labels that are equal for equal data sets, and different for others of the same task.

    A label is a name or, where names are ambiguous, `name@suffix` with as many of these parts as
    needed: first digits of the content hash, how the splits were created, number of folds (always
    shown), limit, number of test examples.

    Args:
        uses: the data sets of some runs. One with several names is labelled with the first name;
            one without identity gets the label of the only data set of its name.
    """
    uses = list(dict.fromkeys(uses))
    names: dict[tuple[str, DatasetId], str] = {}
    for use in uses:
        if use.identity is not None:
            names.setdefault((use.task, use.identity), use.name)
    same_name: dict[tuple[str, str], list[DatasetId]] = collections.defaultdict(list)
    for (task, identity), name in names.items():
        same_name[task, name].append(identity)
    return {use: _label(use, names, same_name) for use in uses}


def _label(
    use: DatasetUse,
    names: Mapping[tuple[str, DatasetId], str],
    same_name: Mapping[tuple[str, str], Sequence[DatasetId]],
) -> str:
    if use.identity is not None:
        name = names[use.task, use.identity]
        return name + _suffix(use.identity, same_name[use.task, name])
    known = same_name.get((use.task, use.name), ())
    candidates = [identity for identity in known if identity.folds == use.folds]
    if len(candidates) == 1:
        return use.name + _suffix(candidates[0], known)
    return use.name + (f"@{use.folds}-folds" if use.folds else "")


def _suffix(identity: DatasetId, same_name: Sequence[DatasetId]) -> str:
    """Returns what distinguishes a data set from others with the same name."""
    parts = []
    if any(other.content != identity.content for other in same_name):
        parts.append(identity.content.rpartition("/")[2][:HASH_DIGITS])
    same_content = [other for other in same_name if other.content == identity.content]
    size = (identity.folds, identity.limit)
    rivals = [other for other in same_content if (other.folds, other.limit) == size]
    if any(other.splits != identity.splits for other in rivals):
        parts.append(identity.splits or "other-splits")
    if any(other.tests != identity.tests for other in rivals if other.splits == identity.splits):
        parts.append(f"{identity.tests}-tests")
    if identity.folds:
        parts.append(f"{identity.folds}-folds")
    if identity.limit and len(same_content) > 1:
        parts.append(f"limit-{identity.limit}")
    return f"@{','.join(parts)}" if parts else ""


def match_dataset(text: str, labels: Iterable[tuple[str, str]]) -> list[str]:
    """Returns the labels that a text matches, sorted; exact matches take precedence.

    Args:
        text: a label, a unique prefix of one, a recorded name, or the path of files; `files/` may
            be omitted.
        labels: recorded name and label of the data sets of some runs.
    """
    labels, own = [(_slug(name), label) for name, label in labels], f"{FILES}/"
    texts = [_slug(t) for t in (text, own + text, own + pathlib.PurePath(text).name)]
    by_label = [label for _, label in labels if _slug(label) in texts]
    by_name = [label for name, label in labels if name in texts]
    by_start = [label for _, label in labels if _slug(label).startswith(tuple(texts[:2]))]
    return sorted(set(by_label or by_name or by_start))


def choose_dataset(text: str, labels: Iterable[tuple[str, str]], selector: str) -> str:
    """Returns the label of one data set.

    Args:
        text: see `match_dataset`; empty if there is only one data set.
        labels: recorded name and label of the data sets of some runs.
        selector: what precedes `/DATASET`, for error messages.

    Raises:
        UserError: no data set matches, or several do; lists them.
    """
    labels = list(labels)
    known = sorted({label for _, label in labels})
    matches = match_dataset(text, labels) if text else known
    if len(matches) == 1:
        return matches[0]
    choices = ", ".join(f"{selector}/{_slug(label)}" for label in matches or known)
    if matches:
        what = f"{text!r} matches" if text else "There are runs on"
        raise UserError(f"{what} {len(matches)} data sets. Choose one: {choices}.")
    raise UserError(f"No completed run on {text!r}. Choose one: {choices}.")
