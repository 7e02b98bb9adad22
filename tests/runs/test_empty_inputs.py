"""Inputs without content get no output, and do not affect the others."""

import keras
import pytest

from rnn_topologies import tasks
from rnn_topologies.runs.trained_model import TrainedModel
from rnn_topologies.tasks.errors import UserError

WORDS = ["a good film", "a bad film", "the good one", "the bad one"]


def make(tmp_path, task_name, name, lines, **settings) -> TrainedModel:
    (tmp_path / name).write_text("\n".join(lines), "utf-8")
    keras.utils.set_random_seed(0)
    small = {"units": 4, "embedding_size": 4, "dataset": str(tmp_path / name)}
    model = TrainedModel.__new__(TrainedModel)
    model.task = tasks.get_task(task_name)(small | settings)
    model.data = model.task.load_data()
    model.model = model.task.build_model(model.data)
    return model


@pytest.fixture
def classifier(tmp_path):
    lines = [f"{WORDS[n % 4]},{n % 2}" for n in range(60)]
    lines += [f"text {n},{n % 2}" for n in range(40)]  # for all splits to have examples
    return make(tmp_path, "text_classification", "a.csv", ["text,label", *lines], tokens="words")


@pytest.fixture
def translator(tmp_path):
    lines = [f"{WORDS[n % 4]} {n}\tein Film {n}" for n in range(60)]
    return make(tmp_path, "translation", "a.tsv", lines, tokens="characters")


def test_texts_without_a_known_word_are_not_classified(classifier):
    inputs = ["a good film", "", "  \n", "xyzzy ⁂", "xyzzy film", "\u200b"]
    with pytest.warns(UserWarning, match="input") as caught:
        outputs = classifier.predict(inputs)
    assert [output is None for output in outputs] == [False, True, True, True, False, True]
    assert outputs[0] == classifier.predict(["a good film"])[0]
    messages = [str(warning.message) for warning in caught]
    assert messages[0] == "input 1 has no output: The text is empty."
    assert messages[2] == ("input 3 has no output: The model knows none of the words in 'xyzzy ⁂'.")
    with pytest.raises(UserError, match="The text is empty"):
        classifier.check_inputs(inputs)
    with pytest.warns(UserWarning, match="input 1"):
        explained = classifier.explain(inputs[:2])
    assert explained[0]["output"] == outputs[0]
    assert explained[1] == {"output": None}


def test_values_that_are_not_texts_have_no_class(classifier):
    with pytest.warns(UserWarning, match="Expected a text, got"):
        outputs = classifier.predict([None, float("nan"), "a good film"])
    assert [output is None for output in outputs] == [True, True, False]


def test_a_single_text_is_not_read_as_a_list_of_characters(classifier):
    with pytest.raises(TypeError, match=r"Expected a list of inputs, got 'a good film'. Pass \["):
        classifier.predict("a good film")


def test_sources_without_a_known_character_are_not_translated(translator):
    inputs = ["", "a film", "漢字", " "]
    with pytest.warns(UserWarning, match="knows none of the characters in '漢字'"):
        outputs = translator.predict(inputs)
    assert [output is None for output in outputs] == [True, False, True, True]
    with pytest.warns(UserWarning, match="The text is empty"):
        ranked = translator.n_best(inputs, 2)
    assert [len(outputs) for outputs in ranked] == [0, 2, 0, 0]


def test_text_that_cannot_be_encoded_gets_no_output(classifier):
    with pytest.warns(UserWarning, match=r"'a good \\udce9' is not valid Unicode"):
        assert classifier.predict(["a good \udce9", "a good film"])[0] is None


def test_only_empty_inputs_get_no_output(classifier):
    with pytest.warns(UserWarning, match="input 0"):
        assert classifier.predict([""]) == [None]
