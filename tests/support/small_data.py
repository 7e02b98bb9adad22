"""Little data: `python -m tests.support.small_data ARGUMENT...` runs the command line on it."""

import contextlib
import dataclasses
from collections.abc import Iterator
from unittest import mock

from rnn_topologies.cli import app
from rnn_topologies.tasks.data.source import Source
from rnn_topologies.tasks.data.sources.cldr_dates import cldr_dates_dataset_builder

SPLIT_SIZES = {"train": 128, "validation": 32, "test": 32}


@contextlib.contextmanager
def small_data() -> Iterator[None]:
    """Inside, the setting `limit` applies to every split, and the data of translation are few."""

    def limit(source: Source, count: int | None) -> Source:
        splits = {name: rows[:count] for name, rows in source.splits.items()}
        return dataclasses.replace(source, splits=splits)

    with (
        mock.patch.object(Source, "limit_train", limit),
        mock.patch.object(cldr_dates_dataset_builder, "SPLIT_SIZES", SPLIT_SIZES),
    ):
        yield


if __name__ == "__main__":
    with small_data():
        app.main()
