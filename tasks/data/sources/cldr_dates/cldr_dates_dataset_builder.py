"""The TFDS builder of `cldr_dates`."""

import dataclasses
import datetime
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import babel
import tensorflow_datasets as tfds

from . import phrases

# Out of 36,525 days: enough to learn from, and few enough to train on in two minutes.
SPLIT_SIZES = {"train": 20_000, "validation": 1_000, "test": 1_000}


@dataclasses.dataclass(eq=False)
class CldrDatesConfig(tfds.core.BuilderConfig):
    """A pair of locales, each with its CLDR name: `en`, `de`, `pt_BR`, `zh_Hant`."""

    source: str = "en"
    target: str = "de"


def locale_pair_config(source: str, target: str) -> CldrDatesConfig:
    """Returns the config of a pair of locales.

    Raises:
        babel.UnknownLocaleError, ValueError: Babel does not know one of them.
    """
    for name in (source, target):
        babel.Locale.parse(name)
    return CldrDatesConfig(name=f"{source}-{target}", source=source, target=target)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Phrases for the same date and time in two locales.

    Every pair of locales has a config: `Builder(config=locale_pair_config("en", "de"))`.
    """

    # TFDS would look in the folder of the top-level package, which an editable install lacks.
    pkg_dir_path = tfds.core.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=(
                "Phrases for the same date and time in two locales, from the Unicode CLDR through "
                "Babel. No calendar day is in two splits."
            ),
            features=tfds.features.FeaturesDict(
                {"source": tfds.features.Text(), "target": tfds.features.Text()}
            ),
            supervised_keys=("source", "target"),
            homepage="https://cldr.unicode.org",
            license="Unicode License v3",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        assert isinstance(self.builder_config, CldrDatesConfig)
        source = babel.Locale.parse(self.builder_config.source)
        target = babel.Locale.parse(self.builder_config.target)
        # One phrase per day, with the days in hash order: consecutive slices share no day, and
        # each covers the whole calendar.
        pairs = sorted(
            phrases.generate_phrase_pairs(source, target),
            key=lambda pair: hashlib.sha256(pair[0].isoformat().encode()).digest(),
        )
        generators, start = {}, 0
        for name, count in SPLIT_SIZES.items():
            generators[name] = self._generate_examples(pairs[start : start + count])
            start += count
        return generators

    def _generate_examples(
        self, pairs: Iterable[tuple[datetime.date, str, str]]
    ) -> Iterator[tuple[str, dict[str, str]]]:
        for day, source, target in pairs:
            yield day.isoformat(), {"source": source, "target": target}
