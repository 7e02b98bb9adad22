"""How a sweep chooses: what to try next, and what to give up."""

from rnn_topologies import tasks
from rnn_topologies.tasks.errors import UserError

from . import plan

GRACE = 2  # epochs before a run may be stopped as hopeless
LOSS = "best_validation_loss"  # what runs are chosen by


def scheduler(asked: plan.Asked):
    """Stops runs that after so many epochs are not among the best third.

    Reference: Li et al., 2020, "A system for massively parallel hyperparameter tuning" (ASHA).
    """
    from ray.tune.schedulers import ASHAScheduler

    epochs = tasks.get_task(asked.tasks[0])({}).config.epochs
    given = plan.values_of(asked, asked.tasks[0]).get("epochs")
    most = max(given) if given else epochs
    return ASHAScheduler(time_attr="epoch", max_t=most + 1, grace_period=GRACE, reduction_factor=3)


def optuna(asked: plan.Asked, done):
    """Returns a search that proposes settings after what earlier ones came to.

    Args:
        asked: the sweep.
        done: records of runs that it knows from the beginning.

    Reference: Akiba et al., 2019, "Optuna: a next-generation hyperparameter optimization
    framework".
    """
    try:
        import optuna as library
        from ray.tune.search.optuna import OptunaSearch
    except ImportError as error:
        raise UserError("--search optuna needs it: pip install 'rnn-topologies[sweep]'.") from error
    library.logging.set_verbosity(library.logging.ERROR)
    values = {"cell": list(asked.cells), **plan.values_of(asked, asked.tasks[0])}
    space = {
        name: _distribution(library.distributions, choices) for name, choices in values.items()
    }
    known = [record for record in done if "validation/loss" in record.metrics]
    return OptunaSearch(
        space,
        metric=LOSS,
        mode="min",
        seed=len(done),  # the draws of an earlier call would come once more
        points_to_evaluate=[{name: one.config[name] for name in space} for one in known] or None,
        evaluated_rewards=[one.metrics["validation/loss"] for one in known] or None,
    )


def _distribution(distributions, choices):
    if not isinstance(choices, plan.Range):
        return distributions.CategoricalDistribution(choices)
    if isinstance(choices.low, int):
        return distributions.IntDistribution(*choices)
    return distributions.FloatDistribution(*choices, log=True)
