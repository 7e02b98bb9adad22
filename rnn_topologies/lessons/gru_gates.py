"""How a GRU remembers with two gates and one state, beside the LSTM.

One step by hand, gates over a sentence, gates clamped, as in the lesson `lstm-gates`; and what
it costs and gains to merge what the LSTM keeps apart: weights, seconds and score of both.
"""

import numpy as np

from rnn_topologies import layers

from . import _brackets

UNITS = 8
SHOWN = {"z": "update gate", "r": "reset gate", "n": "candidate", "h": "hidden state"}


def run(sheet):
    _by_hand(sheet)
    found = {
        cell: [
            _brackets.train(cell, UNITS, sheet.seed + number) for number in range(_brackets.SEEDS)
        ]
        for cell in ("gru", "lstm")
    }
    model, text, _ = found["gru"][0]
    maps, lines, means = _brackets.heat_maps(model, text, SHOWN, "h")
    sheet.picture("gates", maps)
    sheet.picture("unit", lines)
    sheet.table(
        "The unit that remembers: means over a sentence",
        ["quantity", *means["z"]],
        [[f"{SHOWN[name]} ({name})", *means[name].values()] for name in SHOWN],
    )
    _brackets.ablation(sheet, model, text, {"z": "update gate", "r": "reset gate"})
    rows = []
    for cell, runs in found.items():
        scores = [_brackets.accuracy(one, text) for one, text, _ in runs]
        seconds = [spent for *_, spent in runs]
        weights = runs[0][0].recurrent.count_params()
        spread = float(np.std(scores, ddof=1))
        rows.append([cell, weights, float(np.median(seconds)), float(np.mean(scores)), spread])
    columns = ["cell", "weights", "seconds (median)", "accuracy (mean)", "std of 3 seeds"]
    sheet.table(f"GRU and LSTM of {UNITS} units", columns, rows)


def _by_hand(sheet):
    """Works out one step of one unit with one feature."""
    x, h = 1.0, 0.5
    W = {"z": 1.0, "r": 0.5, "h": 2.0}  # noqa: N806 - as in the equations
    U = {"z": 1.0, "r": -1.0, "h": 1.0}  # noqa: N806
    b = {"z": 0.5, "r": 0.0, "h": -1.0}
    z, r = (1 / (1 + np.exp(-(x * W[gate] + h * U[gate] + b[gate]))) for gate in "zr")
    n = np.tanh(x * W["h"] + b["h"] + r * (h * U["h"]))
    new = z * h + (1 - z) * n

    def inner(gate):
        return f"sigmoid({x} * {W[gate]} + {h} * {U[gate]} + {b[gate]})"

    rows = [
        ["update gate", f"z = {inner('z')}", float(z)],
        ["reset gate", f"r = {inner('r')}", float(r)],
        ["candidate", f"n = tanh({x} * {W['h']} + {b['h']} + {r:.3f} * {h} * {U['h']})", float(n)],
        ["new state", f"h' = z h + (1 - z) n = {z:.3f} * {h} + {1 - z:.3f} * {n:.3f}", float(new)],
    ]
    sheet.table(f"One step by hand: x = {x}, h = {h}", ["", "equation", "value"], rows)
    cell = layers.GRUCell(1)
    cell.build((1, 1))
    bias = np.array([[b[g] for g in cell.gates], [0.0] * 3])
    cell.set_weights([*(np.array([[w[g] for g in cell.gates]]) for w in (W, U)), bias])
    output, _ = cell(np.array([[x]]), [np.array([[h]])])
    np.testing.assert_allclose(float(output[0, 0]), new, rtol=1e-5)
    sheet.say("The layer's own step gives the same h'.")
