import datetime
import gzip
import json
import pathlib
import shutil

import babel
import pytest

from rnn_topologies.tasks import translation
from rnn_topologies.tasks.data import store
from rnn_topologies.tasks.data.source import content_hash
from rnn_topologies.tasks.data.sources.cldr_dates import cldr_dates_dataset_builder as cldr_dates
from rnn_topologies.tasks.data.sources.cldr_dates import phrases
from rnn_topologies.tasks.data.sources.multi30k import multi30k_dataset_builder as multi30k
from rnn_topologies.tasks.data.vocabulary import (
    END,
    PAD,
    START,
    Vocabulary,
    build_byte_pair_vocabulary,
    build_character_vocabulary,
    build_vocabulary,
)
from rnn_topologies.tasks.errors import UserError

MOMENT = datetime.datetime(2024, 2, 3, 15, 5, 7)
PAIRS = [("en", "de"), ("en", "zh"), ("de", "fr"), ("pt_BR", "ja")]


def locales(pair):
    return tuple(babel.Locale.parse(name) for name in pair)


@pytest.fixture(scope="module")
def small_data_dir(tmp_path_factory):
    """The folder in which small splits are prepared, once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def data_dir(small_data_dir, monkeypatch):
    """The same folder, with small splits while a test runs."""
    monkeypatch.setattr(cldr_dates, "SPLIT_SIZES", {"train": 90, "validation": 20, "test": 20})
    return small_data_dir


def dates(data_dir, source="en", target="de"):
    return store.prepare_dataset(
        cldr_dates.Builder, config=cldr_dates.locale_pair_config(source, target), data_dir=data_dir
    )


@pytest.mark.parametrize(
    ("form", "phrase"),
    [
        (("short", None), "2/3/24"),
        (("medium", "short"), "Feb 3, 2024, 3:05 PM"),
        (("long", None), "February 3, 2024"),
        (("full", "medium"), "Saturday, February 3, 2024, 3:05:07 PM"),
    ],
)
def test_a_moment_is_formatted_as_in_english(form, phrase):
    assert phrases.format_phrase(MOMENT, phrases.PhraseForm(*form), babel.Locale("en")) == phrase


def test_the_target_names_the_weekday_only_where_the_source_does():
    english, german = babel.Locale("en"), babel.Locale("de")
    for date in phrases.DATE_FORMS:
        form = phrases.target_form(phrases.PhraseForm(date, "short"), english)
        phrase = phrases.format_phrase(MOMENT, form, german)
        assert ("Samstag" in phrase) == (date == "full")
        assert "15:05" in phrase
        assert "15:05:07" not in phrase


@pytest.mark.parametrize("pair", PAIRS)
def test_no_phrase_has_two_translations_and_no_day_is_in_two_splits(pair):
    rows = list(phrases.generate_phrase_pairs(*locales(pair)))
    assert len(rows) > sum(cldr_dates.SPLIT_SIZES.values())
    meanings = {}
    for _, source, target in rows:
        assert meanings.setdefault(source, target) == target
    assert len({day for day, _, _ in rows}) == len(rows)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_phrase_determines_its_day(pair):
    # No two days of the hundred years read the same, neither in the source nor in the target.
    source, target = locales(pair)
    first = datetime.datetime(phrases.FIRST_YEAR, 1, 1)
    days = [first + datetime.timedelta(days=day) for day in range(0, 100 * 365, 7)]
    for locale, forms in ((source, phrases.date_forms(source)), (target, ("long", "full"))):
        for date in forms:
            form = phrases.PhraseForm(date, None)
            distinct = {phrases.format_phrase(day, form, locale) for day in days}
            assert len(distinct) == len(days), (locale, date)


def check_prepared_splits(data_dir):
    builder = dates(data_dir)
    splits = {name: store.read_split(builder, name) for name in cldr_dates.SPLIT_SIZES}
    assert {name: len(rows) for name, rows in splits.items()} == cldr_dates.SPLIT_SIZES
    sources = [{row["source"] for row in rows} for rows in splits.values()]
    assert not (sources[0] & sources[1] | sources[0] & sources[2] | sources[1] & sources[2])


def test_the_prepared_splits_share_no_phrase_and_have_the_promised_sizes(data_dir):
    check_prepared_splits(data_dir)


@pytest.mark.slow
def test_the_full_splits_share_no_phrase_and_have_the_promised_sizes(tmp_path):
    check_prepared_splits(tmp_path)


def test_a_prepared_set_is_read_back_and_not_prepared_again(data_dir, monkeypatch):
    before = list(store.read_split(dates(data_dir), "test"))

    def never(*_, **__):
        raise AssertionError("prepared twice")

    monkeypatch.setattr(cldr_dates.Builder, "download_and_prepare", never)
    assert list(store.read_split(dates(data_dir), "test")) == before


@pytest.mark.parametrize("damage", ["cut", "changed", "file gone", "list gone", "half prepared"])
def test_a_damaged_copy_is_noticed_and_prepared_again(tmp_path, data_dir, damage, capsys):
    shutil.copytree(dates(data_dir).data_path, tmp_path / "cldr_dates/en-de/1.0.0")
    folder = tmp_path / "cldr_dates/en-de/1.0.0"
    file = next(folder.glob("*train*"))
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        content[len(content) // 3] ^= 1
        file.write_bytes(content)
    elif damage == "file gone":
        file.unlink()
    elif damage == "list gone":
        (folder / store.MANIFEST).unlink()
    else:
        for path in folder.iterdir():
            if path != file:
                path.unlink()
    assert not store.is_intact(folder)
    builder = dates(tmp_path)
    assert "preparing it again" in capsys.readouterr().err
    assert store.is_intact(folder)
    assert list(store.read_split(builder, "train")) == list(
        store.read_split(dates(data_dir), "train")
    )


def test_an_unknown_split_is_named(data_dir):
    with pytest.raises(
        UserError, match="has no split 'tset'. Available splits: test, train, validation"
    ):
        store.read_split(dates(data_dir), "tset")


def test_the_content_hash_depends_on_content_alone():
    rows = [{"source": "a", "target": "b"}]
    assert content_hash({"test": rows, "train": rows}) == content_hash(
        {"train": [dict(reversed(rows[0].items()))], "test": rows}
    )
    assert content_hash({"test": rows}) != content_hash({"train": rows})


def tiny_multi30k(folder: pathlib.Path, monkeypatch) -> dict:
    """Writes originals of five lines and replaces the expected checksums by theirs."""
    folder.mkdir()
    infos = {}
    for url in multi30k.Builder.url_infos:
        name = url.rpartition("/")[2]
        lines = "\n".join(f"{name} sentence {line}" for line in range(5))
        (folder / name).write_bytes(gzip.compress(lines.encode(), mtime=0))
        infos[url] = multi30k.tfds.core.download.checksums.compute_url_info(folder / name)
    monkeypatch.setattr(multi30k.Builder, "url_infos", infos)
    return infos


@pytest.mark.parametrize("inside", [True, False])
def test_multi30k_reads_original_files_from_the_manual_folder(tmp_path, monkeypatch, inside):
    folder = tmp_path / "multi30k"
    tiny_multi30k(folder, monkeypatch)
    builder = store.prepare_dataset(
        multi30k.Builder,
        config="fr-de",
        data_dir=tmp_path / "data",
        manual_dir=folder if inside else tmp_path,
    )
    assert set(builder.info.splits) == set(multi30k.FILE_STEMS)
    rows = store.read_split(builder, "test_2017_mscoco")
    assert sorted(row["source"] for row in rows)[0] == "test_2017_mscoco.fr.gz sentence 0"
    assert all(row["target"] == row["source"].replace(".fr.", ".de.") for row in rows)


def test_a_changed_or_missing_original_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "multi30k"
    tiny_multi30k(folder, monkeypatch)
    settings = {"config": "de-en", "data_dir": tmp_path / "data", "manual_dir": tmp_path}
    (folder / "val.de.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(UserError, match=r"val.de.gz is not the original file: .* expected"):
        store.prepare_dataset(multi30k.Builder, **settings)
    (folder / "val.de.gz").unlink()
    with pytest.raises(UserError, match=r"val.de.gz is missing"):
        store.prepare_dataset(multi30k.Builder, **settings)
    assert not list((tmp_path / "data").glob("multi30k/de-en/1*"))


def test_czech_has_the_test_sets_that_exist():
    config = multi30k.Builder.builder_configs["cs-en"]
    assert set(config.split_files()) == {"train", "validation", "test_2016_flickr"}
    assert len(multi30k.Builder.builder_configs) == 12


@pytest.mark.parametrize("pair", ["de-en", "cs-fr"])
def test_the_original_multi30k_is_read_completely(tmp_path, manual_dir, pair):
    builder = store.prepare_dataset(
        multi30k.Builder, config=pair, data_dir=tmp_path, manual_dir=manual_dir
    )
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert counts["train"] == 29_000
    assert counts["validation"] == 1_014
    assert counts["test_2016_flickr"] == 1_000
    assert counts.get("test_2017_mscoco") == (None if "cs" in pair else 461)


@pytest.mark.slow
def test_every_sentence_of_multi30k_survives_byte_pairs(tmp_path, manual_dir):
    builder = store.prepare_dataset(
        multi30k.Builder, config="de-en", data_dir=tmp_path, manual_dir=manual_dir
    )
    vocabulary = build_byte_pair_vocabulary(
        [row["source"] for row in store.read_split(builder, "train")], 4000
    )
    for split in builder.info.splits:
        sources = [row["source"] for row in store.read_split(builder, split)]
        assert vocabulary.decode(vocabulary.encode(sources)) == sources


def test_every_phrase_survives_characters():
    phrase_pairs = phrases.generate_phrase_pairs(*locales(("en", "zh")))
    targets = [target for _, _, target in phrase_pairs]
    vocabulary = build_character_vocabulary(targets[: len(targets) // 2])
    assert vocabulary.decode(vocabulary.encode(targets)) == targets


@pytest.mark.parametrize("unit", ["characters", "byte_pairs"])
@pytest.mark.parametrize(
    "sentence", ["", " two  spaces ", "<end> <pad>", "never seen: ☃ ñ 漢字 \U0001f600", "a\nb\tc"]
)
def test_any_text_survives_even_if_unseen(unit, sentence):
    vocabulary = build_vocabulary(unit, ["the training split", "knows few letters"], 300)
    assert vocabulary.decode(vocabulary.encode([sentence])) == [sentence]
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.encode([sentence]) == vocabulary.encode([sentence])


def test_decoding_stops_at_the_end_token_and_drops_special_tokens():
    vocabulary = build_character_vocabulary(["abc"])
    (tokens,) = vocabulary.encode(["abc"])
    padded = [START, *tokens[:2], END, tokens[2], PAD]
    assert vocabulary.decode([padded]) == ["ab"]
    assert vocabulary.token_texts(padded[:4]) == ["<start>", "a", "b", "<end>"]


def test_a_vocabulary_has_the_requested_size():
    sentences = [f"word{number} and word{number + 1}" for number in range(2000)]
    assert len(build_byte_pair_vocabulary(sentences, 500)) == 500
    with pytest.raises(UserError, match="--vocabulary-size must be at least 259"):
        build_byte_pair_vocabulary(sentences, 100)
    with pytest.raises(UserError, match="not a vocabulary"):
        Vocabulary.from_json(json.dumps({"model": 1}))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("cldr_dates/en-xx", "Unknown locale: 'xx'"),
        ("cldr_dates/en-zh_hans_", "Unknown locale"),
        ("cldr_dates/en", "must name a direction"),
        ("multi30k/en-ru", "Unknown direction of multi30k: 'en-ru'. Available: cs-de"),
        ("multi30", "Did you mean|Available"),
    ],
)
def test_a_wrong_data_set_is_named(dataset, message, tmp_path):
    with pytest.raises(UserError, match=message):
        translation.TranslationTask({"dataset": dataset, "data_dir": str(tmp_path)}).load_data()
    assert not list(tmp_path.iterdir())
