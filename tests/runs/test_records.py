import dataclasses
import json
import pathlib
from collections import Counter

import pytest

from rnn_topologies import tasks
from rnn_topologies.runs import model_io, store
from rnn_topologies.runs.record import RENAMED_SETTINGS, SCHEMA, current_settings
from rnn_topologies.sweeps import plan
from rnn_topologies.training import checkpoint

REFERENCE = pathlib.Path(__file__).parents[2] / "results/reference"


def config_fields(task):
    return {field.name for field in dataclasses.fields(tasks.get_task(task).Config)}


def test_renamed_settings_exist_under_their_new_names_only():
    fields = set().union(*map(config_fields, tasks.task_names()))
    assert set(RENAMED_SETTINGS.values()) <= fields
    assert not set(RENAMED_SETTINGS) & fields


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_settings_of_older_schemas_get_their_current_names(schema):
    stored = {"width": 24, "units": 8, "embedding": 4}
    current = {"filters": 24, "units": 8, "embedding_size": 4}
    assert current_settings(stored, schema) == current


def test_settings_of_the_current_schema_are_not_renamed():
    # A task of a user may have a setting that was once the name of another.
    assert current_settings({"width": 24}, SCHEMA) == {"width": 24}


def test_committed_records_of_older_schemas_still_load():
    old_names = set()
    for folder in store.list_run_folders(REFERENCE):
        stored = json.loads((folder / "record.json").read_text("utf-8"))
        record = store.read_record(folder)
        assert set(record.config) <= config_fields(record.task)
        assert Counter(map(repr, record.config.values())) == Counter(
            map(repr, stored["config"].values())
        )
        assert record.metrics == stored["metrics"]
        task, _ = model_io.restore_task(record, {})
        assert task.dataset == record.dataset
        old_names |= set(RENAMED_SETTINGS) & set(stored["config"])
    assert old_names == set(RENAMED_SETTINGS)


def test_an_interrupted_run_with_settings_of_an_older_schema_can_be_resumed(tmp_path):
    folder = checkpoint.checkpoint_folder(tmp_path, "run")
    folder.mkdir(parents=True)
    request = {
        "run_id": "run",
        "started_at": "2026-01-01T00:00:00+00:00",
        "task": "classification",
        "settings": {"width": 24},
        "backend": "tensorflow",
        "checkpoint_steps": 200,
        "environment": {},
        "git": None,
        "strategy": None,
    }
    (folder / checkpoint.REQUEST).write_text(json.dumps(request), "utf-8")
    manager = checkpoint.find_checkpoint("run", tmp_path)
    assert manager.request.settings == {"filters": 24}
    manager.close(keep=True)
    assert checkpoint.read_request(tmp_path, "run") == manager.request


def test_a_sweep_with_settings_of_an_older_schema_can_be_resumed(tmp_path):
    spec = plan.SweepSpec(
        sweep_id="20260101T000000Z-sweep-abcd",
        tasks=["classification"],
        cells=["gru"],
        seeds=1,
        settings=["filters=8,16", "batch_size=32"],
        search="grid",
        trials=1,
        stop_early=False,
        backend="tensorflow",
        cpus_per_run=1,
        max_concurrent=None,
        address=None,
    )
    fields = dataclasses.asdict(spec)
    del fields["settings"]
    fields["given"] = ["width=8,16", "batch-size=32"]
    path = plan.sweep_file(tmp_path, spec.sweep_id)
    path.parent.mkdir()
    path.write_text(json.dumps(fields), "utf-8")
    assert plan.find_sweep("last", tmp_path) == spec
