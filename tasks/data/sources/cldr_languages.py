"""`cldr_languages`: names of things, and the language that each is in.

Names of territories, languages, currencies and scripts in twenty languages that are written in
Latin letters, from the Unicode CLDR by way of Babel (Unicode License v3):

    "Vereinigte Arabische Emirate"  de        territories/AE
    "Zjednoczone Emiraty Arabskie"  pl        territories/AE

A name that several of the languages share is in none of them. The split is by the thing named:
no translation of a name of the test split is in training.
"""

import functools

from .. import splits
from ..source import Source, content_hash

LANGUAGES = {
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fi": "Finnish",
    "fr": "French",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "sk": "Slovak",
    "sv": "Swedish",
    "tr": "Turkish",
    "vi": "Vietnamese",
}
KINDS = ("territories", "languages", "currencies", "scripts")


@functools.cache
def names() -> list[dict]:
    """Returns `{"text", "label", "thing"}` of every name that one language alone has."""
    import babel

    found = {}
    for label, language in enumerate(LANGUAGES):
        locale = babel.Locale.parse(language)
        for kind in KINDS:
            for code, name in getattr(locale, kind).items():
                found.setdefault(name, []).append((label, f"{kind}/{code}"))
    return [
        {"text": name, "label": uses[0][0], "thing": uses[0][1]}
        for name, uses in sorted(found.items())
        if len({label for label, _ in uses}) == 1
    ]


def read(config) -> Source:
    """Returns the names in splits."""
    import babel

    rows = splits.by_group(names(), lambda row: row["thing"])
    return Source(
        name=f"cldr_languages (Babel {babel.__version__})",
        sha256=content_hash(rows),
        splits=rows,
        classes=list(LANGUAGES.values()),
        notes={"split": "by the thing named, 80, 10 and 10 percent"},
    )
