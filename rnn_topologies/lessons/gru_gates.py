"""How a GRU remembers with two gates and one state, compared with the LSTM.

One step by hand, gates over a sentence, and clamped gates, as in the lesson `lstm-gates`; then
both cells side by side: parameters, training time and accuracy.
"""

import numpy as np

from rnn_topologies import layers

from . import Sheet, _brackets

UNITS = 8
NAMES = {"z": "update gate", "r": "reset gate", "n": "candidate", "h": "hidden state"}


def run_lesson(sheet: Sheet) -> None:
    _step_by_hand(sheet)
    runs = {
        cell: [
            _brackets.train_tagger(cell, UNITS, sheet.seed + offset)
            for offset in range(_brackets.SEEDS)
        ]
        for cell in ("gru", "lstm")
    }
    model, text, _ = runs["gru"][0]
    drawn = _brackets.draw_gates(model, text, NAMES, "h")
    sheet.add_picture("gates", drawn.all_units)
    sheet.add_picture("unit", drawn.memory_unit)
    sheet.add_table(
        "The unit that remembers: means over a sentence",
        ["quantity", *drawn.means["z"]],
        [[f"{NAMES[name]} ({name})", *drawn.means[name].values()] for name in NAMES],
    )
    _brackets.report_ablation(sheet, model, text, {"z": "update gate", "r": "reset gate"})
    _compare_cells(sheet, runs, text)


def _compare_cells(
    sheet: Sheet, runs: dict[str, list[_brackets.TrainedTagger]], text: _brackets.TaggedText
) -> None:
    rows = []
    for cell, taggers in runs.items():
        scores = [_brackets.accuracy(tagger.model, text) for tagger in taggers]
        seconds = float(np.median([tagger.seconds for tagger in taggers]))
        parameters = taggers[0].model.recurrent.count_params()
        std = float(np.std(scores, ddof=1))
        rows.append([cell, parameters, seconds, float(np.mean(scores)), std])
    columns = ["cell", "parameters", "seconds (median)", "accuracy (mean)"]
    columns.append(f"std of {_brackets.SEEDS} seeds")
    sheet.add_table(f"GRU and LSTM of {UNITS} units", columns, rows)


def _step_by_hand(sheet: Sheet) -> None:
    """Works out one step of one unit with one feature, and checks it against `GRUCell`."""
    x, h = 1.0, 0.5
    W = {"z": 1.0, "r": 0.5, "h": 2.0}  # noqa: N806 - as in the equations
    U = {"z": 1.0, "r": -1.0, "h": 1.0}  # noqa: N806
    b = {"z": 0.5, "r": 0.0, "h": -1.0}
    z, r = (1 / (1 + np.exp(-(x * W[gate] + h * U[gate] + b[gate]))) for gate in "zr")
    n = np.tanh(x * W["h"] + b["h"] + r * (h * U["h"]))
    new_h = z * h + (1 - z) * n

    def sigmoid_of(gate: str) -> str:
        return f"sigmoid({x} * {W[gate]} + {h} * {U[gate]} + {b[gate]})"

    rows = [
        ["update gate", f"z = {sigmoid_of('z')}", float(z)],
        ["reset gate", f"r = {sigmoid_of('r')}", float(r)],
        ["candidate", f"n = tanh({x} * {W['h']} + {b['h']} + {r:.3f} * {h} * {U['h']})", float(n)],
        [
            "new state",
            f"h' = z h + (1 - z) n = {z:.3f} * {h} + {1 - z:.3f} * {n:.3f}",
            float(new_h),
        ],
    ]
    sheet.add_table(f"One step by hand: x = {x}, h = {h}", ["", "equation", "value"], rows)
    cell = layers.GRUCell(1)
    cell.build((1, 1))
    kernels = [np.array([[weights[gate] for gate in cell.gates]]) for weights in (W, U)]
    cell.set_weights([*kernels, np.array([[b[gate] for gate in cell.gates], [0.0] * 3])])
    output, _ = cell(np.array([[x]]), [np.array([[h]])])
    np.testing.assert_allclose(float(output[0, 0]), new_h, rtol=1e-5)
    sheet.print("GRUCell computes the same h'.")
