import json

import keras
import numpy as np
import pytest

from rnn_topologies import layers, lessons
from rnn_topologies.cli import app
from rnn_topologies.lessons import _brackets, bidirectional, long_memory, unrolling
from rnn_topologies.tasks.errors import UserError

from ..support import training

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="lessons take gradients with TensorFlow"
)


@pytest.fixture(autouse=True)
def short_training(monkeypatch, eagerly):
    """Lessons of a few steps: these tests check that lessons run, not what networks learn."""
    monkeypatch.setattr(_brackets, "STEPS", 3)
    monkeypatch.setattr(bidirectional, "STEPS", 3)
    monkeypatch.setattr(bidirectional, "SEEDS", 2)
    monkeypatch.setattr(_brackets, "SEEDS", 2)
    monkeypatch.setattr(long_memory, "DISTANCES", (3, 6))
    monkeypatch.setattr(
        long_memory,
        "PROBLEMS",
        {
            name: problem._replace(training_steps=2, distances=(3, 6))
            for name, problem in long_memory.PROBLEMS.items()
        },
    )


@pytest.mark.parametrize("eager", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", lessons.lesson_names())
def test_every_lesson_writes_its_tables_and_pictures(name, eager, tmp_path, capfd):
    arguments = ["lesson", name, "--results-dir", str(tmp_path)]
    with training.execution(eager=eager):
        app.build_main_app()(arguments, standalone_mode=False)
    folder = tmp_path / "lessons" / name
    tables = json.loads((folder / "figures.json").read_text("utf-8"))
    out = capfd.readouterr().out
    assert tables
    for title, rows in tables.items():
        assert title.split()[0] in out
        assert rows
    assert len(list(folder.glob("*.png"))) == 2


def test_lessons_are_listed_by_name(capfd):
    assert lessons.lesson_names() == [
        *("bidirectional", "gru-gates", "long-memory", "lstm-gates", "unrolling")
    ]
    app.build_main_app()(["lesson"], standalone_mode=False)
    assert len(capfd.readouterr().out.splitlines()) == 5
    with pytest.raises(UserError, match="Did you mean 'gru-gates'"):
        lessons.run_lesson("gru-gate", "results")


def random_batch(random, distance, count):
    inputs = random.normal(size=(count, distance, 4)).astype("float32")
    targets = random.integers(0, 2, (count, distance))
    return long_memory.Batch(inputs, targets, np.ones((count, distance), "float32"))


RANDOM_PROBLEM = long_memory.Problem(random_batch, 4, 2, 3, (5,), 0.5)


def test_networks_that_share_a_layer_stay_independent():
    keras.utils.set_random_seed(0)
    model = long_memory.NetworkGrid(4, 2)
    random = np.random.default_rng(0)
    # The constraint has to hold during training, too.
    long_memory.Trainer(model, RANDOM_PROBLEM, random).train([5])
    inputs = random.normal(size=(2, 5, 4)).astype("float32")
    outputs = keras.ops.convert_to_numpy(model(inputs))
    units, seeds = long_memory.UNITS, long_memory.SEEDS
    for kind, (layer, network) in enumerate(
        zip(model.recurrent, long_memory.NETWORKS.values(), strict=True)
    ):
        gates = len(layer.cell.gates)
        for seed in range(seeds):
            own_units = slice(seed * units, (seed + 1) * units)
            kernel, recurrent_kernel, bias = (
                w.reshape(*w.shape[:-1], gates, seeds * units)[..., own_units]
                for w in layer.get_weights()
            )
            single = layers.CELLS[network.cell].layer(units, return_sequences=True)
            single.build((None, None, 4))
            weights = [kernel, recurrent_kernel[own_units], bias]
            shapes = [weight.shape for weight in single.get_weights()]
            single.set_weights([w.reshape(s) for w, s in zip(weights, shapes, strict=True)])
            expected = keras.ops.convert_to_numpy(model.heads[kind][seed](single(inputs)))
            np.testing.assert_allclose(expected, outputs[:, :, kind * seeds + seed], atol=1e-5)


def test_each_training_starts_from_the_initial_weights():
    keras.utils.set_random_seed(0)
    model = long_memory.NetworkGrid(4, 2)
    problem = RANDOM_PROBLEM._replace(training_steps=4)
    trainer = long_memory.Trainer(model, problem, np.random.default_rng(1))
    trained = []
    for _ in range(2):
        trainer.random = np.random.default_rng(1)
        trainer.train([5])
        trained.append(model.get_weights())
    for first, second in zip(*trained, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_targets_follow_from_the_inputs():
    random = np.random.default_rng(0)
    inputs, targets, weights = long_memory.sample_recall(random, 6, 8)
    assert inputs.shape == (8, 7, 16)
    np.testing.assert_array_equal(inputs[:, 0].argmax(-1), targets[:, -1])
    assert (inputs[:, 1:].argmax(-1) >= 8).all()
    assert weights.sum() == 8
    inputs, targets, weights = long_memory.sample_copy(random, 6, 8)
    count = long_memory.COPIED
    np.testing.assert_array_equal(inputs[:, :count].argmax(-1), targets[:, -count:])
    np.testing.assert_array_equal(weights.sum(axis=1), count)
    inputs, targets, _ = long_memory.sample_adding(random, 10, 8)
    np.testing.assert_allclose((inputs[..., 0] * inputs[..., 1]).sum(axis=1), targets[:, -1])
    np.testing.assert_array_equal(inputs[..., 1].sum(axis=1), 2)


def test_influence_is_found_by_changing_inputs():
    array = np.arange(4.0)
    influence = unrolling.find_influence(np.cumsum, array, array + 1)
    np.testing.assert_array_equal(influence, np.tril(np.ones((4, 4), bool)))


def test_characters_inside_brackets_are_labeled():
    assert _brackets.bracket_labels("a (b) c") == [0, 0, 1, 1, 0, 0, 0]
    train, test = _brackets.currency_names()
    assert not set(train) & set(test)
    assert sum("(" in name for name in train) * 2 == len(train)


@pytest.mark.parametrize(("cell", "gates"), [("lstm", "ifo"), ("gru", "zr")])
def test_a_gate_is_clamped_within_the_with_block_only(cell, gates):
    model = _brackets.BracketTagger(cell, 3, 9)
    tokens = np.random.default_rng(0).integers(1, 9, (2, 6))
    before = model.get_weights()
    for gate in gates:
        for is_open in (True, False):
            with _brackets.clamp_gate(model, gate, is_open=is_open):
                values = layers.trace_gates(model.recurrent, model.one_hot(tokens))[gate]
            np.testing.assert_array_equal(values, float(is_open))
    for first, second in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_times_are_labeled_by_am_and_pm():
    texts, afternoon = bidirectional.sample_times(np.random.default_rng(0), 50)
    for text, is_afternoon in zip(texts, afternoon, strict=True):
        assert text.endswith("PM" if is_afternoon else "AM")
