"""The TFDS builder of `cldr_dates`."""

import dataclasses
import hashlib
import pathlib

import babel
import tensorflow_datasets as tfds

from . import phrases

# Of 36,525 days: enough to learn from, few enough to train on in two minutes.
PARTS = {"train": 20_000, "validation": 1_000, "test": 1_000}


@dataclasses.dataclass(eq=False)
class CldrDatesConfig(tfds.core.BuilderConfig):
    """A pair of locales, each named as the CLDR names it: `en`, `de`, `pt_BR`, `zh_Hant`."""

    source: str = "en"
    target: str = "de"


def config(source: str, target: str) -> CldrDatesConfig:
    """Returns the config of a pair of locales.

    Raises:
        babel.UnknownLocaleError, ValueError: Babel does not know one of them.
    """
    for name in (source, target):
        babel.Locale.parse(name)
    return CldrDatesConfig(name=f"{source}-{target}", source=source, target=target)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Date and time phrases of the same moment in two locales.

    There is a config for every pair of locales: `Builder(config=config("en", "de"))`.
    """

    # TFDS would look for it under the folder of the top package, where an editable install has not.
    pkg_dir_path = pathlib.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self):
        return self.dataset_info_from_configs(
            description=(
                "Date and time phrases of the same moment in two locales, from the Unicode "
                "CLDR by way of Babel. No calendar day is in two splits."
            ),
            features=tfds.features.FeaturesDict(
                {"source": tfds.features.Text(), "target": tfds.features.Text()}
            ),
            supervised_keys=("source", "target"),
            homepage="https://cldr.unicode.org",
            license="Unicode License v3",
        )

    def _split_generators(self, dl_manager):
        source = babel.Locale.parse(self.builder_config.source)
        target = babel.Locale.parse(self.builder_config.target)
        # One phrase a day, days in an order that has nothing to do with the calendar: splits
        # cut from it share no day.
        made = sorted(
            phrases.pairs(source, target),
            key=lambda pair: hashlib.sha256(pair[0].isoformat().encode()).digest(),
        )
        generators, start = {}, 0
        for name, count in PARTS.items():
            generators[name] = self._generate_examples(made[start : start + count])
            start += count
        return generators

    def _generate_examples(self, pairs):
        for day, source, target in pairs:
            yield day.isoformat(), {"source": source, "target": target}
