"""Search algorithms of a sweep: what to try next (Optuna), and what to stop early (ASHA)."""

from collections.abc import Sequence
from typing import Any

from rnn_topologies import tasks

from ..runs.record import Record
from . import plan

GRACE_PERIOD = 2  # epochs that every run gets before it may be stopped
LOSS = "best_validation_loss"  # what runs are compared by


def asha_scheduler(spec: plan.SweepSpec) -> Any:
    """Returns a Ray scheduler that stops runs outside the best third at exponential milestones.

    Reference: Li et al., 2020, "A system for massively parallel hyperparameter tuning" (ASHA).
    """
    from ray.tune.schedulers import ASHAScheduler

    task = spec.tasks[0]
    epochs = plan.parse_settings(spec, task).get("epochs")
    max_epochs = int(max(epochs)) if epochs else tasks.get_task(task)({}).config.epochs
    return ASHAScheduler(
        time_attr="epoch", max_t=max_epochs + 1, grace_period=GRACE_PERIOD, reduction_factor=3
    )


def optuna_search(spec: plan.SweepSpec, finished: Sequence[Record]) -> Any:
    """Returns a Ray search algorithm that suggests settings based on the results so far.

    Args:
        spec: the sweep.
        finished: records of its runs that finished before it was resumed.

    Reference: Akiba et al., 2019, "Optuna: a next-generation hyperparameter optimization
    framework".
    """
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    values = {"cell": list(spec.cells), **plan.parse_settings(spec, spec.tasks[0])}
    space = {name: _distribution(choices) for name, choices in values.items()}
    scored = [record for record in finished if "validation/loss" in record.metrics]
    return OptunaSearch(
        space,
        metric=LOSS,
        mode="min",
        seed=len(finished),  # with the same seed, a resumed sweep would repeat suggestions
        points_to_evaluate=[{name: record.config[name] for name in space} for record in scored]
        or None,
        evaluated_rewards=[record.metrics["validation/loss"] for record in scored] or None,
    )


def _distribution(choices: plan.Range | Sequence[Any]) -> Any:
    from optuna import distributions

    if not isinstance(choices, plan.Range):
        return distributions.CategoricalDistribution(choices)
    if isinstance(choices.low, int):
        return distributions.IntDistribution(choices.low, int(choices.high))
    return distributions.FloatDistribution(choices.low, choices.high, log=True)
