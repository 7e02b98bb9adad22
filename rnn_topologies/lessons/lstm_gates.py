"""How an LSTM remembers: three gates and a cell state, first by hand, then at work.

One step is worked out with numbers that you can check on paper. Then a small LSTM reads real text
and labels every character inside brackets; the lesson draws its gates over a sentence, and clamps
each gate open and shut.
"""

import numpy as np

from rnn_topologies import layers

from . import Sheet, _brackets

UNITS = 8
NAMES = {
    "f": "forget gate",
    "i": "input gate",
    "g": "candidate",
    "c": "cell state",
    "o": "output gate",
    "h": "hidden state",
}


def run_lesson(sheet: Sheet) -> None:
    _step_by_hand(sheet)
    model, text, seconds = _brackets.train_tagger("lstm", UNITS, sheet.seed)
    sheet.print(
        f"\nAn LSTM of {UNITS} units, trained for {seconds:.0f} s on {_brackets.STEPS} batches"
    )
    drawn = _brackets.draw_gates(model, text, NAMES, "c")
    sheet.add_picture("gates", drawn.all_units)
    sheet.add_picture("unit", drawn.memory_unit)
    sheet.add_table(
        "The unit that remembers: means over a sentence",
        ["quantity", *drawn.means["f"]],
        [[f"{NAMES[name]} ({name})", *drawn.means[name].values()] for name in NAMES],
    )
    gates = {"f": "forget gate", "i": "input gate", "o": "output gate"}
    _brackets.report_ablation(sheet, model, text, gates)


def _step_by_hand(sheet: Sheet) -> None:
    """Works out one step of one unit with one feature, and checks it against `LSTMCell`."""
    x, h, c = 1.0, 0.5, 2.0
    W = {"i": 1.0, "f": 0.5, "c": 2.0, "o": 1.0}  # noqa: N806 - as in the equations
    U = {"i": -1.0, "f": 1.0, "c": 1.0, "o": 0.0}  # noqa: N806
    b = {"i": 0.0, "f": 1.0, "c": -1.0, "o": 0.5}
    z = {gate: x * W[gate] + h * U[gate] + b[gate] for gate in W}
    f, i, o = (1 / (1 + np.exp(-z[gate])) for gate in "fio")
    g = np.tanh(z["c"])
    new_c = f * c + i * g
    new_h = o * np.tanh(new_c)

    def applied(function: str, gate: str) -> str:
        arguments = f"{x} * {W[gate]} + {h} * {U[gate]} + {b[gate]}"
        return f"{function}({arguments}) = {function}({z[gate]})"

    rows = [
        ["forget gate", f"f = {applied('sigmoid', 'f')}", float(f)],
        ["input gate", f"i = {applied('sigmoid', 'i')}", float(i)],
        ["candidate", f"g = {applied('tanh', 'c')}", float(g)],
        ["new cell state", f"c' = f c + i g = {f:.3f} * {c} + {i:.3f} * {g:.3f}", float(new_c)],
        ["output gate", f"o = {applied('sigmoid', 'o')}", float(o)],
        ["new hidden state", f"h' = o tanh(c') = {o:.3f} * {np.tanh(new_c):.3f}", float(new_h)],
    ]
    sheet.add_table(f"One step by hand: x = {x}, h = {h}, c = {c}", ["", "equation", "value"], rows)
    cell = layers.LSTMCell(1)
    cell.build((1, 1))
    kernels = [np.array([[weights[gate] for gate in cell.gates]]) for weights in (W, U)]
    cell.set_weights([*kernels, np.array([b[gate] for gate in cell.gates])])
    output, (_, state) = cell(np.array([[x]]), [np.array([[h]]), np.array([[c]])])
    np.testing.assert_allclose([float(output[0, 0]), float(state[0, 0])], [new_h, new_c], rtol=1e-5)
    sheet.print("LSTMCell computes the same h' and c'.")
