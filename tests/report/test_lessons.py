import json

import keras
import numpy as np
import pytest

from rnn_topologies import layers, lessons
from rnn_topologies.cli import app
from rnn_topologies.lessons import _brackets, bidirectional, long_memory, unrolling
from rnn_topologies.tasks.errors import UserError

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="lessons take gradients with TensorFlow"
)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Lessons of a few steps: what they show is another thing than that they run."""
    monkeypatch.setattr(_brackets, "STEPS", 3)
    monkeypatch.setattr(bidirectional, "STEPS", 3)
    monkeypatch.setattr(bidirectional, "SEEDS", 2)
    monkeypatch.setattr(_brackets, "SEEDS", 2)
    monkeypatch.setattr(long_memory, "DISTANCES", (3, 6))
    monkeypatch.setattr(
        long_memory,
        "PROBLEMS",
        {
            name: (make, features, outputs, 2, (3, 6), chance)
            for name, (make, features, outputs, _, _, chance) in long_memory.PROBLEMS.items()
        },
    )


@pytest.mark.parametrize("name", lessons.names())
def test_every_lesson_runs_and_leaves_pictures_and_figures(name, tmp_path, capfd):
    app.build_main_app()(["lesson", name, "--results-dir", str(tmp_path)], standalone_mode=False)
    folder = tmp_path / "lessons" / name
    figures = json.loads((folder / "figures.json").read_text("utf-8"))
    out = capfd.readouterr().out
    assert figures
    for title, rows in figures.items():
        assert title.split()[0] in out
        assert rows
    assert len(list(folder.glob("*.png"))) == 2


def test_lessons_are_listed_and_named(capfd):
    assert lessons.names() == [
        *("bidirectional", "gru-gates", "long-memory", "lstm-gates", "unrolling")
    ]
    app.build_main_app()(["lesson"], standalone_mode=False)
    assert len(capfd.readouterr().out.splitlines()) == 5
    with pytest.raises(UserError, match="Did you mean 'gru-gates'"):
        lessons.run("gru-gate", "results")


def test_networks_side_by_side_are_those_that_stand_alone():
    keras.utils.set_random_seed(0)
    model = long_memory.SideBySide(4, 2)
    random = np.random.default_rng(0)
    trainer = long_memory.Trainer(model, lambda r, d, n: made(r, d, n), random, 3)
    trainer.train([5])  # the constraint has to hold in training, too
    inputs = random.normal(size=(2, 5, 4)).astype("float32")
    outputs = keras.ops.convert_to_numpy(model(inputs))
    units, seeds = long_memory.UNITS, long_memory.SEEDS
    for kind, layer in enumerate(model.recurrent):
        gates = len(layer.cell.gates)
        for seed in range(seeds):
            own = slice(seed * units, (seed + 1) * units)
            kernel, recurrent, bias = (
                w.reshape(*w.shape[:-1], gates, seeds * units)[..., own]
                for w in layer.get_weights()
            )
            alone = layers.CELLS[list(long_memory.KINDS.values())[kind]].layer(
                units, return_sequences=True
            )
            alone.build((None, None, 4))
            given = [kernel, recurrent[own], bias]
            shapes = [weight.shape for weight in alone.get_weights()]
            alone.set_weights([w.reshape(s) for w, s in zip(given, shapes, strict=True)])
            answer = keras.ops.convert_to_numpy(model.answers[kind][seed](alone(inputs)))
            np.testing.assert_allclose(answer, outputs[:, :, kind * seeds + seed], atol=1e-5)


def made(random, distance, count):
    inputs = random.normal(size=(count, distance, 4)).astype("float32")
    targets = random.integers(0, 2, (count, distance))
    return inputs, targets, np.ones((count, distance), "float32")


def test_training_anew_begins_with_the_first_weights():
    keras.utils.set_random_seed(0)
    model = long_memory.SideBySide(4, 2)
    found = []
    trainer = long_memory.Trainer(model, made, None, 4)
    for _ in range(2):
        trainer.random = np.random.default_rng(1)
        trainer.train([5])
        found.append(model.get_weights())
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_the_problems_ask_for_what_was_given():
    random = np.random.default_rng(0)
    inputs, targets, weights = long_memory.recall(random, 6, 8)
    assert inputs.shape == (8, 7, 16)
    np.testing.assert_array_equal(inputs[:, 0].argmax(-1), targets[:, -1])
    assert (inputs[:, 1:].argmax(-1) >= 8).all()
    assert weights.sum() == 8
    inputs, targets, weights = long_memory.copy(random, 6, 8)
    count = long_memory.COPIED
    np.testing.assert_array_equal(inputs[:, :count].argmax(-1), targets[:, -count:])
    np.testing.assert_array_equal(weights.sum(axis=1), count)
    inputs, targets, _ = long_memory.adding(random, 10, 8)
    np.testing.assert_allclose((inputs[..., 0] * inputs[..., 1]).sum(axis=1), targets[:, -1])
    np.testing.assert_array_equal(inputs[..., 1].sum(axis=1), 2)


def test_what_depends_on_what_is_found_by_changing_it():
    array = np.arange(4.0)
    depends = unrolling.influence(np.cumsum, array, array + 1)
    np.testing.assert_array_equal(depends, np.tril(np.ones((4, 4), bool)))


def test_brackets_are_followed():
    assert _brackets.inside("a (b) c") == [0, 0, 1, 1, 0, 0, 0]
    train, test = _brackets.names()
    assert not set(train) & set(test)
    assert sum("(" in name for name in train) * 2 == len(train)


@pytest.mark.parametrize(("cell", "gates"), [("lstm", "ifo"), ("gru", "zr")])
def test_a_clamped_gate_is_open_or_shut_and_comes_back(cell, gates):
    model = _brackets.Follower(cell, 3, 9)
    tokens = np.random.default_rng(0).integers(1, 9, (2, 6))
    before = model.get_weights()
    for gate in gates:
        for is_open in (True, False):
            undo = _brackets.clamped(model, gate, is_open=is_open)
            values = layers.trace_gates(model.recurrent, model.read(tokens))[gate]
            np.testing.assert_array_equal(values, float(is_open))
            undo()
    for first, second in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_times_say_whether_it_is_after_noon():
    texts, late = bidirectional.phrases(np.random.default_rng(0), 50)
    for text, is_late in zip(texts, late, strict=True):
        assert text.endswith("PM" if is_late else "AM")
