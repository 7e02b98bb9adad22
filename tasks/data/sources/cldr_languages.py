"""`cldr_languages`: names of countries, languages and other things, and the language they are in.

Names of territories, languages, currencies and scripts in twenty languages that use the Latin
alphabet, from the Unicode CLDR through Babel (Unicode License v3):

    "Vereinigte Arabische Emirate"  de        territories/AE
    "Zjednoczone Emiraty Arabskie"  pl        territories/AE

A name that several languages share is left out. Splits are by the thing named: if a name is in the
test split, none of its translations is in training.
"""

import functools
from typing import Any

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
def list_cldr_names() -> list[dict[str, Any]]:
    """Returns `{"text", "label", "thing"}` for every name that occurs in exactly one language."""
    import babel

    uses_of: dict[str, list[tuple[int, str]]] = {}
    for label, language in enumerate(LANGUAGES):
        locale = babel.Locale.parse(language)
        for kind in KINDS:
            for code, name in getattr(locale, kind).items():
                uses_of.setdefault(name, []).append((label, f"{kind}/{code}"))
    return [
        {"text": name, "label": uses[0][0], "thing": uses[0][1]}
        for name, uses in sorted(uses_of.items())
        if len({label for label, _ in uses}) == 1
    ]


def read_cldr_languages() -> Source:
    """Returns the names in splits."""
    import babel

    rows = splits.split_by_group(list_cldr_names(), lambda row: row["thing"])
    return Source(
        name=f"cldr_languages (Babel {babel.__version__})",
        sha256=content_hash(rows),
        splits=rows,
        classes=list(LANGUAGES.values()),
        notes={"split": "80/10/10 percent, by the thing named"},
    )
