"""How an LSTM remembers: three gates and a cell state, first by hand, then at work.

One step is worked out with numbers that can be checked on paper. Then a small LSTM reads real
text and says of every character whether it stands within brackets: its gates are drawn over a
sentence, and clamped open or shut one by one.
"""

import numpy as np

from rnn_topologies import layers

from . import _brackets

UNITS = 8
SHOWN = {
    "f": "forget gate",
    "i": "input gate",
    "g": "candidate",
    "c": "cell state",
    "o": "output gate",
    "h": "hidden state",
}


def run(sheet):
    _by_hand(sheet)
    model, text, seconds = _brackets.train("lstm", UNITS, sheet.seed)
    sheet.say(
        f"\nan LSTM of {UNITS} units, trained for {seconds:.0f} s on {_brackets.STEPS} batches"
    )
    maps, lines, means = _brackets.heat_maps(model, text, SHOWN, "c")
    sheet.picture("gates", maps)
    sheet.picture("unit", lines)
    places = list(means["f"])
    sheet.table(
        "The unit that remembers: means over a sentence",
        ["quantity", *places],
        [[f"{SHOWN[name]} ({name})", *means[name].values()] for name in SHOWN],
    )
    gates = {"f": "forget gate", "i": "input gate", "o": "output gate"}
    _brackets.ablation(sheet, model, text, gates)


def _by_hand(sheet):
    """Works out one step of one unit with one feature."""
    x, h, c = 1.0, 0.5, 2.0
    W = {"i": 1.0, "f": 0.5, "c": 2.0, "o": 1.0}  # noqa: N806 - as in the equations
    U = {"i": -1.0, "f": 1.0, "c": 1.0, "o": 0.0}  # noqa: N806
    b = {"i": 0.0, "f": 1.0, "c": -1.0, "o": 0.5}
    z = {gate: x * W[gate] + h * U[gate] + b[gate] for gate in W}
    f, i, o = (1 / (1 + np.exp(-z[gate])) for gate in "fio")
    g = np.tanh(z["c"])
    new_c = f * c + i * g
    new_h = o * np.tanh(new_c)

    def inner(gate, said):
        return f"{said}({x} * {W[gate]} + {h} * {U[gate]} + {b[gate]}) = {said}({z[gate]})"

    rows = [
        ["forget gate", f"f = {inner('f', 'sigmoid')}", float(f)],
        ["input gate", f"i = {inner('i', 'sigmoid')}", float(i)],
        ["candidate", f"g = {inner('c', 'tanh')}", float(g)],
        ["new cell state", f"c' = f c + i g = {f:.3f} * {c} + {i:.3f} * {g:.3f}", float(new_c)],
        ["output gate", f"o = {inner('o', 'sigmoid')}", float(o)],
        ["new hidden state", f"h' = o tanh(c') = {o:.3f} * {np.tanh(new_c):.3f}", float(new_h)],
    ]
    sheet.table(f"One step by hand: x = {x}, h = {h}, c = {c}", ["", "equation", "value"], rows)
    cell = layers.LSTMCell(1)
    cell.build((1, 1))
    cell.set_weights(
        [np.array([[w[g] for g in cell.gates]]) for w in (W, U)]
        + [np.array([b[g] for g in cell.gates])]
    )
    output, (_, state) = cell(np.array([[x]]), [np.array([[h]]), np.array([[c]])])
    np.testing.assert_allclose([float(output[0, 0]), float(state[0, 0])], [new_h, new_c], rtol=1e-5)
    sheet.say("The layer's own step gives the same h' and c'.")
