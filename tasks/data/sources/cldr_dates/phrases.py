"""Date and time phrases from the Unicode CLDR, through Babel.

The source is a moment in any of the usual formats of its locale. The target is the same moment in
one format, which depends on that of the source:

    en full   "Saturday, February 3, 2024 at 3:05 PM"
    de full   "Samstag, 3. Februar 2024 um 15:05", because the source names the weekday

    en short  "2/3/24"
    de long   "3. Februar 2024", because it does not

The target never needs what the source does not say: a model would have to compute the weekday, or
guess the seconds. Nor does it say less: times and seconds are kept.
"""

import dataclasses
import datetime
import random
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import babel
from babel import dates

FormName: TypeAlias = Literal["short", "medium", "long", "full"]

# A hundred years, so that a two-digit year is unambiguous.
FIRST_YEAR = 1950
YEARS = 100
DATE_FORMS: tuple[FormName, ...] = ("short", "medium", "long", "full")
TIME_FORMS: tuple[FormName, ...] = ("short", "medium")  # `long` and `full` add a time zone


@dataclasses.dataclass(frozen=True)
class PhraseForm:
    """The format of a phrase: a CLDR date format, and a CLDR time format or None."""

    date: FormName
    time: FormName | None


def pattern_fields(pattern: Any) -> set[str]:
    """Returns the letters of a CLDR pattern that stand for fields, without quoted text."""
    return set("".join(pattern.pattern.split("'")[::2]))


def names_weekday(locale: babel.Locale, form: FormName) -> bool:
    """Whether this date format contains the day of the week (CLDR fields E, e, c)."""
    return bool(pattern_fields(dates.get_date_format(form, locale)) & set("Eec"))


def time_forms(locale: babel.Locale) -> tuple[FormName, ...]:
    """Returns the time formats that distinguish all minutes of a day."""
    minutes = [datetime.time(hour, minute) for hour in range(24) for minute in range(60)]
    return tuple(
        form
        for form in TIME_FORMS
        if len({dates.format_time(t, form, locale=locale) for t in minutes}) == len(minutes)
    )


def date_forms(locale: babel.Locale) -> tuple[FormName, ...]:
    """Returns the date formats that contain day, month and year."""
    return tuple(
        form
        for form in DATE_FORMS
        if all(
            pattern_fields(dates.get_date_format(form, locale)) & set(field)
            for field in ("d", "ML", "yu")
        )
    )


def format_phrase(moment: datetime.datetime, form: PhraseForm, locale: babel.Locale) -> str:
    """Returns the phrase for a moment, with date and time joined as is usual in the locale."""
    date = dates.format_date(moment.date(), form.date, locale=locale)
    if form.time is None:
        return _normalize_spaces(date)
    time = dates.format_time(moment.time(), form.time, locale=locale)
    joined = str(dates.get_datetime_format(form.date, locale))
    return _normalize_spaces(joined.replace("'", "").replace("{0}", time).replace("{1}", date))


def _normalize_spaces(text: str) -> str:
    # CLDR puts no-break and thin spaces between a time and its AM, which nobody types.
    return " ".join(text.split())


def target_form(source_form: PhraseForm, source: babel.Locale) -> PhraseForm:
    """Returns the format in which a target says exactly what the source says."""
    date = "full" if names_weekday(source, source_form.date) else "long"
    return PhraseForm(date, source_form.time)


def generate_phrase_pairs(
    source: babel.Locale, target: babel.Locale, seed: int = 0
) -> Iterator[tuple[datetime.date, str, str]]:
    """Yields (day, source phrase, target phrase) for every day of the hundred years.

    The format of each day, with or without a time, is random. Source phrases with two different
    translations are left out wherever they occur.

    Raises:
        ValueError: no date format of the source locale contains day, month and year.
    """
    rng = random.Random(f"{source}-{target}-{seed}")
    source_times, target_times = time_forms(source), time_forms(target)
    forms = [
        PhraseForm(date, time)
        for date in date_forms(source)
        for time in (None, *source_times)
        if time is None or time in target_times
    ]
    if not forms:
        raise ValueError(f"No date format of {source} contains day, month and year.")
    first = datetime.datetime(FIRST_YEAR, 1, 1)
    days = (datetime.datetime(FIRST_YEAR + YEARS, 1, 1) - first).days
    pairs: list[tuple[datetime.date, str, str]] = []
    translations: dict[str, set[str]] = {}
    for index in range(days):
        form = forms[rng.randrange(len(forms))]
        moment = first + datetime.timedelta(days=index, seconds=rng.randrange(24 * 60 * 60))
        if form.time == "short":
            moment = moment.replace(second=0)
        text = format_phrase(moment, form, source)
        translation = format_phrase(moment, target_form(form, source), target)
        translations.setdefault(text, set()).add(translation)
        pairs.append((moment.date(), text, translation))
    for day, text, translation in pairs:
        if len(translations[text]) == 1:
            yield day, text, translation
