"""What texts are split into by default, and the matching baselines."""

import numpy as np
import pytest

from rnn_topologies.tasks import get_task, text_classification
from rnn_topologies.tasks.data import checks
from rnn_topologies.tasks.data.sources import cldr_languages
from rnn_topologies.tasks.data.token_units import choose_token_unit
from rnn_topologies.tasks.data.vocabulary import Vocabulary, build_vocabulary
from rnn_topologies.tasks.metrics import captions, translation

RANDOM = np.random.default_rng(0)
SYLLABLES = ["ka", "ro", "mi", "ta", "len", "sur", "ov", "ski", "son", "ber"]
SURNAMES = sorted({"".join(RANDOM.choice(SYLLABLES, 4)).capitalize() for _ in range(400)})
CHINESE = [
    "".join(RANDOM.choice(list("天地玄黄宇宙洪荒日月盈昃"), 9)) + ("好" if n % 2 else "坏")
    for n in range(300)
]
SENTENCES = [f"the {'good' if n % 2 else 'bad'} film number {n % 9}" for n in range(80)]


@pytest.mark.parametrize(
    ("texts", "unit"),
    [
        (SENTENCES, "words"),
        (CHINESE, "characters"),
        (["我 喜欢 这 部 电影"] * 5, "characters"),
        (["สวัสดีครับ ยินดีต้อนรับ"] * 5, "characters"),
        (["これは ペンです", "それは ほんです"] * 5, "characters"),
        (["나는 영화를 좋아한다", "나는 영화를 싫어한다"] * 5, "words"),
        (SURNAMES, "characters"),
        (["हिन्दी भाषा अच्छी है", "हिन्दी भाषा कठिन है"] * 5, "words"),
        (["हिन्दी", "भाषा", "अच्छी"], "characters"),
        ([f"{a} {b}" for a, b in zip(SURNAMES, SURNAMES[::-1], strict=True)][:150], "characters"),
        (["good", "bad"] * 20, "characters"),
        (["ein Satz ohne Paar", "nothing shared here at all"], "characters"),
        ([""], "characters"),
        (["...", "?!"], "characters"),
        (["good film, 好"] * 5, "words"),
    ],
)
def test_the_unit_suits_the_texts(texts, unit):
    assert choose_token_unit("auto", texts).unit == unit
    assert choose_token_unit("byte_pairs", texts).unit == "byte_pairs"


def test_scores_of_text_without_spaces_count_characters():
    outputs, references = ["我喜欢这部很好的电影。"], ["我喜欢这部很坏的电影。"]
    scores = translation.translation_scores(outputs, references)
    assert scores["bleu"] == pytest.approx(70.17, abs=0.01)  # 10 of 11 characters, sacreBLEU's "zh"
    assert "tok:zh" in translation.translation_signatures(references)["bleu"]
    assert "tok:char" in translation.translation_signatures(["これは悪いペンです。"])["bleu"]
    assert "tok:13a" in translation.translation_signatures(["ein Satz, 好"])["bleu"]
    assert captions.caption_words("一只狗 A dog's") == ["一", "只", "狗", "a", "dog's"]
    assert captions.caption_scores(outputs, [references])["bleu_1"] == pytest.approx(90.0)


def test_the_choice_agrees_with_that_of_our_own_names():
    names = [row["text"] for row in cldr_languages.read_cldr_languages().splits["train"]]
    assert choose_token_unit("auto", names).unit == "characters"


@pytest.mark.parametrize(
    ("task", "dataset", "tokens"),
    [
        ("text_classification", "cldr_languages", "characters"),
        ("text_classification", "imdb_reviews", "words"),
        ("text_classification", "files/a.csv", "auto"),
        ("image_captioning", "scenes", "words"),
        ("image_captioning", "flickr8k", "words"),
        ("image_captioning", "files/a", "auto"),
        ("translation", "cldr_dates/en-de", "characters"),
        ("translation", "multi30k/de-en", "byte_pairs"),
    ],
)
def test_our_own_data_sets_keep_their_units(task, dataset, tokens):
    assert get_task(task)({"dataset": dataset}).config.tokens == tokens


def load(folder, texts, **settings):
    rows = [f"{text},{'ab'[n % 2]}" for n, text in enumerate(texts)]
    (folder / "own.csv").write_text("\n".join(["text,label", *rows]), "utf-8")
    task = text_classification.TextClassificationTask(
        {"dataset": str(folder / "own.csv"), **settings}
    )
    return task, task.load_data()


@pytest.mark.parametrize("tokens", ["auto", "byte_pairs"])
def test_texts_without_spaces_are_learned_by_the_baselines(tmp_path, tokens):
    task, data = load(tmp_path, CHINESE, tokens=tokens, vocabulary_size=400)
    baselines = task.baseline(data)
    assert baselines["character n-gram logistic regression"]["accuracy"] > 0.9
    if tokens == "auto":
        assert data.notes["tokens"] == "characters"
        assert task.describe_data(data) == [
            "columns: text from column 1 (text), label from column 2 (label)",
            "tokens: characters (auto: the script has no spaces between words)",
        ]
        assert task.config.tokens == "auto"


def test_the_flag_overrides_the_choice_and_baselines_fit_words_that_occur_once(tmp_path):
    task, data = load(tmp_path, SURNAMES[:60], tokens="words")
    assert data.notes["tokens"] == "words"
    assert task.describe_data(data)[1] == "tokens: words (as set)"
    baselines = task.baseline(data)
    assert {"word n-gram naive Bayes", "word n-gram logistic regression"} <= set(baselines)


@pytest.mark.parametrize(
    ("unit", "known", "unknown"),
    [
        ("words", ["film", "x film", "FILM"], ["", " ", "xyz", "xyz !"]),
        ("characters", ["m", "漢m"], ["", "漢字"]),
        ("byte_pairs", ["film", "漢"], [""]),
    ],
)
def test_a_vocabulary_knows_what_it_has_seen(unit, known, unknown):
    built = build_vocabulary(unit, ["a film", "the film"], 300)
    for vocabulary in (built, Vocabulary.from_json(built.to_json())):
        assert all(map(vocabulary.is_known, vocabulary.encode(known)))
        assert not any(map(vocabulary.is_known, vocabulary.encode(unknown)))


@pytest.mark.parametrize(
    ("tokens", "others"),
    [("words", "characters or byte_pairs"), ("characters", "byte_pairs")],
)
def test_the_warning_about_unknown_tokens_names_other_units(tokens, others):
    (warning,) = checks.unknown_warnings({"train": 0.9, "test": 0.5}, tokens)
    assert warning.endswith(f"(--tokens {tokens}). Try --tokens {others}.")


def test_a_single_test_example_is_counted_in_the_singular():
    (warning,) = checks.size_warnings("the test split has", 1)
    assert warning.startswith("the test split has only 1 example, fewer")
