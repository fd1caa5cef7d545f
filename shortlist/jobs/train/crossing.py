"""Cross-validate a recipe over few labelled queries: each is scored once, by what others made and chose.

Steps at the beginning that learn from no label run once, and each fold decides for itself whether they stay. All that
learns or chooses runs in every fold anew. What is left for a build is then made from all labels by the same procedure,
which is what the folds have measured; none of its own answers is scored.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from shortlist.jobs.train.attacks import pooled_attacks
from shortlist.jobs.train.bench import Bench
from shortlist.jobs.train.measure import Measured
from shortlist.jobs.train.running import Hits, Row, last_hits, made_once, run_steps, step_folder
from shortlist.jobs.train.steps import Made, Ranker, Step
from shortlist.progress import say


class Shared:
    """A step that learned from no label and ran once: each fold finds it made, and decides whether it stays."""

    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()  # nothing in a fold's folder
    labels = False

    def __init__(self, step: Step, made: Row) -> None:
        """Stand for a step that made this."""
        self.name, self.decides = step.name, step.decides
        self._step, self._made = step, made

    def run(self, bench: Bench, folder: Path) -> Made:
        """Return what was made."""
        return Made(self._made.artefacts(bench))

    def rankers(self, bench: Bench) -> Mapping[str, Ranker]:
        """As the step's."""
        return self._step.rankers(bench)


def run_crossed(bench: Bench, steps: Sequence[Step]) -> tuple[list[Row], Bench, Hits]:
    """Run a recipe in every fold of the bench's ground and, where asked for, on all labels.

    Args:
        bench: Nothing learned yet; its ground has folds.
        steps: The recipe.

    Returns:
        A row for the untrained systems and for each step, its figures pooled over the folds; the bench of all labels,
        with the artefacts for a build, or with none; and the first hits of the whole recipe.
    """
    ground, out = bench.ground, bench.out
    shared = _shared(bench.on(ground), steps)
    own: list[Step] = [Shared(step, shared[step.name]) if step.name in shared else step for step in steps]
    runs: list[list[Row]] = []
    for fold in range(ground.folds):
        part = ground.fold(fold)
        counts = ", ".join(f"{role} {len(part.queries[role])}" for role in part.queries)
        say(f"== fold {fold + 1} of {ground.folds}: {counts}")
        runs.append(run_steps(bench.on(part), own, out / "folds" / str(fold + 1)))
    last, final = bench.on(ground.whole()), list[Row]()
    if bench.config.refit:
        say("== all labels, for a build")
        final = run_steps(last, [step for step in own if step.name in shared or step.makes], out / "final")
    return pooled(runs, shared, final), last, _pooled_hits(runs)


def _shared(bench: Bench, steps: Sequence[Step]) -> dict[str, Row]:
    """Run the steps before the first that needs labels, each on what the one before made."""
    found: dict[str, Row] = {}
    for number, step in enumerate(steps, start=1):
        if step.labels:
            break
        if step.makes:
            row = made_once(bench, step, step_folder(bench.out, number, step))
            if row.kept:
                found[step.name] = row
                bench.artefacts |= row.artefacts(bench)
                bench.rankers |= step.rankers(bench)
    return found


def pooled(runs: Sequence[Sequence[Row]], shared: Mapping[str, Row], final: Sequence[Row]) -> list[Row]:
    """Return the rows of all folds as one for each step.

    Args:
        runs: The rows of every fold, the same steps in each.
        shared: Step -> the row of the one run that all folds share.
        final: The rows of the run on all labels; what it keeps counts as kept. Empty for none: then most folds decide.
    """
    made = {row.step: row for row in final}
    rows = []
    for folds in zip(*runs, strict=True):
        step, times = folds[0].step, [row for row in (shared.get(folds[0].step),) if row is not None]
        whole = made.get(step)
        kept = sum(row.kept for row in folds)
        rows.append(
            Row(
                step=step,
                kept=whole.kept if whole is not None else 2 * kept > len(folds),
                reason=whole.reason if whole is not None else "" if kept else folds[0].reason,
                seconds=sum(row.seconds for row in (*folds, *times, *([whole] if whole else []))),
                measuring=sum(row.measuring for row in (*folds, *([whole] if whole else []))),
                record=_record(folds, shared.get(step), whole),
                scored=_pooled([_with_step(row) for row in folds]) if any(row.scored for row in folds) else {},
                kept_in=f"{kept} of {len(folds)}",
                stands=_pooled([row.stands for row in folds]),
            )
        )
    return rows


def _with_step(row: Row) -> Mapping[str, Measured]:
    """Return what a fold says of the step; where it could not run, what it says without."""
    return row.scored or row.stands


def _pooled(parts: Sequence[Mapping[str, Measured]]) -> dict[str, Measured]:
    """Join the folds' queries, system by system; in a fold without a reranker the first stage answers."""
    found = {}
    for system in dict.fromkeys(name for part in parts for name in part):
        each = [part.get(system) or (part["hybrid"] if system.startswith("hybrid_") else None) for part in parts]
        values = [of.values for of in each if of is not None]
        if len(values) == len(parts):
            found[system] = Measured(
                {label: {name: of for part in values for name, of in part[label].items()} for label in values[0]}
            )
    return found


def _pooled_hits(runs: Sequence[Sequence[Row]]) -> Hits:
    found: dict[str, dict[str, Sequence[str]]] = {}
    for rows in runs:
        for system, hits in last_hits(rows).items():
            found.setdefault(system, {}).update(hits)
    return found


def _record(folds: Sequence[Row], shared: Row | None, final: Row | None) -> dict[str, object]:
    """Return what the run for a build says of itself, and what each fold does."""
    if folds[0].step == "attacks":
        return dict(pooled_attacks([row.record for row in folds if row.kept]))
    told = dict(shared.record if shared is not None else {}) | dict(final.record if final is not None else {})
    each = [{"kept": row.kept, "reason": row.reason, "tuned": row.tuned, "record": row.record} for row in folds]
    return told | {"folds": each}
