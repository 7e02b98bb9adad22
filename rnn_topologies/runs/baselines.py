"""The baselines of all runs on one data set."""

import math
from typing import Any, NamedTuple

from .record import ALL_BASELINES

Frame = Any  # a `pandas.DataFrame`: its type hints do not know what the columns contain

# Prefixes of columns of `store.load_runs`: scores of baselines, and errors of those that failed.
SCORES, ERRORS = "baseline/", "baseline_error/"


def averaged_over(runs: Frame) -> str:
    """Returns the column over whose values the scores of these runs are averaged."""
    return "fold" if runs["folds"].gt(0).any() else "config/seed"


class Baseline(NamedTuple):
    """A baseline on a data set.

    Attributes:
        name: its name.
        score: mean over seeds or folds, with the best settings; NaN if it failed.
        worst: the same with the worst settings.
        error: why it failed, in the latest run.
    """

    name: str
    score: float
    worst: float
    error: str = ""


def summarize_baselines(runs: Frame, *, higher_is_better: bool) -> list[Baseline]:
    """Returns the baselines of the runs on one data set, best first, failed ones last.

    A baseline may depend on the seed, and on settings such as how texts are split. Its scores are
    averaged over seeds or folds for each setting, or over all runs if settings make no difference.

    Args:
        runs: runs with the columns of `store.load_runs` and `setting`.
        higher_is_better: whether a higher score is better.
    """
    unit = averaged_over(runs)
    columns = [c for c in runs if c.startswith(SCORES)]
    baselines = []
    for column in columns:
        scored = runs[(runs["status"] == "ok") & runs[column].notna()]
        if scored.empty:
            continue
        scores = _scores_by_setting(scored.assign(score=scored[column].round(9)), unit)
        best, worst = (max, min) if higher_is_better else (min, max)
        baselines.append(Baseline(column.removeprefix(SCORES), best(scores), worst(scores)))
    baselines.sort(key=lambda b: -b.score if higher_is_better else b.score)
    names = {baseline.name for baseline in baselines}
    if names:
        names.add(ALL_BASELINES)  # in the runs that could not list them
    failed = {
        name: str(runs[column].dropna().iloc[-1])
        for column in runs
        if column.startswith(ERRORS) and runs[column].notna().any()
        if (name := column.removeprefix(ERRORS)) not in names
    }
    return baselines + [Baseline(name, math.nan, math.nan, failed[name]) for name in sorted(failed)]


def _scores_by_setting(runs: Frame, unit: str) -> list[float]:
    """Returns the mean score over seeds or folds, for each setting that makes a difference."""
    differs = runs.groupby(["config/seed", "fold"])["score"].nunique().gt(1).any()
    groups = [group for _, group in runs.groupby("setting")] if differs else [runs]
    # Folds differ more than settings: a mean over only some of them could win by chance.
    counts = [group[unit].nunique() for group in groups]
    complete = max(counts) if unit == "fold" else 0
    return [
        float(group.groupby(unit)["score"].mean().mean())
        for group, count in zip(groups, counts, strict=True)
        if count >= complete
    ]


def format_baseline(baseline: Baseline) -> str:
    """Formats the name and score of a baseline, with the worst score if it depends on settings."""
    if math.isnan(baseline.score):
        return f"{baseline.name} failed: {baseline.error}"
    score, worst = format_number(baseline.score), format_number(baseline.worst)
    note = f" ({worst} with other settings)" if worst != score else ""
    return f"{baseline.name} {score}{note}"


def format_number(value: float) -> str:
    """Formats a score with three decimals below 10 and one decimal otherwise; `-` if missing."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
