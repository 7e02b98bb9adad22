"""Date and time phrases from the Unicode CLDR, by way of Babel.

One moment, said in the source locale in any of its usual forms, and said in the target
locale in one form that follows from the source:

    en full   "Saturday, February 3, 2024 at 3:05 PM"
    de full   "Samstag, 3. Februar 2024 um 15:05", since the source names the weekday

    en short  "2/3/24"
    de long   "3. Februar 2024", since it does not

The target never asks for what the source does not say: a weekday would have to be computed
and a second to be guessed. Nor does it say less: a time stays a time, seconds stay seconds.
"""

import dataclasses
import datetime
import functools
import random
from collections.abc import Iterator

import babel
from babel import dates

# A hundred years: a year of two digits names one of them only.
FIRST_YEAR = 1950
YEARS = 100
DATE_FORMS = ("short", "medium", "long", "full")
TIME_FORMS = ("short", "medium")  # `long` and `full` add a time zone


@dataclasses.dataclass(frozen=True)
class Form:
    """How a moment is said: a date form, and a time form or None."""

    date: str
    time: str | None


def letters(pattern) -> set[str]:
    """Returns the fields that a CLDR pattern asks for, without quoted text."""
    return set("".join(pattern.pattern.split("'")[::2]))


def says_weekday(locale: babel.Locale, form: str) -> bool:
    """Whether a date in this form names the day of the week (CLDR fields E, e, c)."""
    return bool(letters(dates.get_date_format(form, locale)) & set("Eec"))


@functools.cache
def time_forms(locale: babel.Locale) -> tuple[str, ...]:
    """Returns the time forms in which every minute of a day reads differently."""
    minutes = [datetime.time(hour, minute) for hour in range(24) for minute in range(60)]
    return tuple(
        form
        for form in TIME_FORMS
        if len({dates.format_time(t, form, locale=locale) for t in minutes}) == len(minutes)
    )


@functools.cache
def date_forms(locale: babel.Locale) -> tuple[str, ...]:
    """Returns the date forms that name day, month and year."""
    return tuple(
        form
        for form in DATE_FORMS
        if all(
            letters(dates.get_date_format(form, locale)) & set(field) for field in ("d", "ML", "yu")
        )
    )


def say(moment: datetime.datetime, form: Form, locale: babel.Locale) -> str:
    """Returns the phrase for a moment, joined as the locale joins a date and a time."""
    date = dates.format_date(moment.date(), form.date, locale=locale)
    if form.time is None:
        return _plain_spaces(date)
    time = dates.format_time(moment.time(), form.time, locale=locale)
    joined = str(dates.get_datetime_format(form.date, locale))
    return _plain_spaces(joined.replace("'", "").replace("{0}", time).replace("{1}", date))


def _plain_spaces(text: str) -> str:
    # CLDR puts no-break and thin spaces between a time and its AM; nobody types them.
    return " ".join(text.split())


def target_form(source_form: Form, source: babel.Locale, target: babel.Locale) -> Form:
    """Returns the form in which the target says what the source says, no less and no more."""
    date = "full" if says_weekday(source, source_form.date) else "long"
    return Form(date, source_form.time)


def pairs(source: babel.Locale, target: babel.Locale, seed: int = 0) -> Iterator[tuple]:
    """Yields (day, source phrase, target phrase) for every day of the hundred years.

    One form is drawn for each day, date alone or date with time. A phrase that would have two
    different translations is left out wherever it occurs.
    """
    draw = random.Random(f"{source}-{target}-{seed}")
    times = [t for t in time_forms(source) if t in time_forms(target)]
    forms = [Form(date, time) for date in date_forms(source) for time in (None, *times)]
    if not forms:
        raise ValueError(f"No date form of {source} names day, month and year.")
    first = datetime.datetime(FIRST_YEAR, 1, 1)
    days = (datetime.datetime(FIRST_YEAR + YEARS, 1, 1) - first).days
    made, meanings = [], {}
    for index in range(days):
        form = forms[draw.randrange(len(forms))]
        moment = first + datetime.timedelta(days=index, seconds=draw.randrange(24 * 60 * 60))
        if form.time == "short":
            moment = moment.replace(second=0)
        text = say(moment, form, source)
        translation = say(moment, target_form(form, source, target), target)
        meanings.setdefault(text, set()).add(translation)
        made.append((moment.date(), text, translation))
    for day, text, translation in made:
        if len(meanings[text]) == 1:
            yield day, text, translation
