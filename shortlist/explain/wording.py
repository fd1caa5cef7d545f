"""The verdict in one sentence, with the numbers that decide it."""

from collections.abc import Sequence

from retrieval.filters import Condition
from retrieval.text import scalar_text
from shortlist.explain.records import Otherwise, Outcome, Stage, Verdict


def headline(
    verdict: Verdict,
    stages: Sequence[Stage],
    *,
    k: int,
    conditions: Sequence[Sequence[Condition]] = (),
    otherwise: Otherwise | None = None,
) -> str:
    """Say what became of a product that the catalogue holds.

    Args:
        verdict: What became of it.
        stages: All stages, as `walk` returns them.
        k: Hits wanted.
        conditions: The filter held against the product.
        otherwise: What would have become of it without the stage that lost it.
    """
    by_name = {stage.name: stage for stage in stages}
    dense, fusion, answer = by_name["dense"], by_name["fusion"], by_name["answer"]
    then = f"; {_otherwise(otherwise, k)}" if otherwise is not None else ""
    match verdict:
        case Verdict.filtered:
            return f"filtered out: {_failed(conditions)}{then}"
        case Verdict.not_recalled:
            return f"not recalled: {', '.join(_recall(by_name))}"
        case Verdict.index_missed:
            return f"missed by the index: {_rank(dense)} by exact search, and the index did not return it{then}"
        case Verdict.lost_in_fusion:
            return f"lost in fusion: {_way(by_name, fusion)}; the first {fusion.places:,} go on{then}"
        case Verdict.reranked_down:
            return f"reranked down: {_th(fusion.rank)} after fusion, {_th(answer.rank)} after reranking; {_shown(k)}"
        case Verdict.lost_to_deadline:
            return f"lost to the deadline: {_rank(answer)}, because reranking was skipped; {_shown(k)}{then}"
        case Verdict.below_k:
            return f"below the cut: {_way(by_name, answer)}; {_shown(k)}{then}"
        case Verdict.abstained:
            return f"abstained: {_way(by_name, answer)}, but {answer.note}"
        case _:
            return f"shown: {_way(by_name, answer)}"


def condition_text(condition: Condition) -> str:
    """Say what a condition asks and what the product has instead."""
    values = condition.value if isinstance(condition.value, list) else [condition.value]
    wanted = ", ".join(map(_value, values)) or "nothing"
    found = "unknown" if condition.found is None else _value(condition.found)
    return f"{condition.column} is {found}, the filter wants {condition.operator} {wanted}"


def _value(value: str | float | bool) -> str:
    return repr(value) if isinstance(value, str) else scalar_text(value)


def _failed(conditions: Sequence[Sequence[Condition]]) -> str:
    """Name the conditions that do not hold, of every alternative."""
    groups = [" and ".join(condition_text(part) for part in group if not part.holds) for group in conditions]
    return groups[0] if len(groups) == 1 else " - or else - ".join(groups)


def _recall(by_name: dict[str, Stage]) -> list[str]:
    """Say of every source that was asked how far beyond its reach the product is."""
    said = []
    dense, lexical = by_name["dense"], by_name["lexical"]
    if dense.rank is not None:
        said.append(f"{_rank(dense)} by meaning{_first(dense)}")
    if lexical.rank is not None:
        said.append(f"{_rank(lexical)} by words{_first(lexical)}")
    elif lexical.outcome is not Outcome.skipped:
        said.append(lexical.note)
    return said


def _way(by_name: dict[str, Stage], last: Stage) -> str:
    """The product's last rank, and the ranks on the way there."""
    dense, lexical, fusion = (by_name[name] for name in ("dense", "lexical", "fusion"))
    earlier = []
    if fusion.rank is not None and fusion is not last:
        earlier.append(f"{_th(fusion.rank)} after fusion")
    if dense.rank is not None:
        earlier.append(f"{_th(dense.rank)} by meaning" + (" but missed by the index" if dense.note else ""))
    if lexical.rank is not None:
        earlier.append(f"{_th(lexical.rank)} by words")
    elif lexical.outcome is not Outcome.skipped:
        earlier.append(lexical.note)
    return f"{_rank(last)} ({', '.join(earlier)})"


def _otherwise(otherwise: Otherwise, k: int) -> str:
    if otherwise.rank is None:
        return f"{otherwise.change} it would still not come so far"
    return f"{otherwise.change} it would be {_th(otherwise.rank)}" + (
        "" if otherwise.rank <= k else ", not shown either"
    )


def _shown(k: int) -> str:
    return f"the first {k:,} are shown" if k > 1 else "only the first is shown"


def _first(stage: Stage) -> str:
    return f" (the first {stage.places:,} go on)" if stage.places is not None else ""


def _rank(stage: Stage) -> str:
    return f"rank {stage.rank:,} of {stage.of:,}"


def _th(rank: int | None) -> str:
    """An ordinal: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    number = rank or 0
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
