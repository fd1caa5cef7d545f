"""An explanation as it is read on a terminal: the verdict, the stages, the reasons."""

from collections.abc import Iterator, Sequence

from rerank.attribution import Attribution, WordEffect
from shortlist.explain.records import Explanation, Outcome, Stage
from shortlist.explain.wording import condition_text

SOURCES = ("dense", "lexical")
FOUND = {Outcome.passed: "found", Outcome.lost: "not found", Outcome.missed: "MISSED"}
WENT = {Outcome.passed: "passed", Outcome.lost: "LOST"}

WORDS_SHOWN = 6
PASSAGES_SHOWN = 3
PARTS_SHOWN = 8
TWINS_SHOWN = 5
PASSAGE_CHARS = 90
SMALL_EFFECT = 0.05
"""Effects below this share of the largest are not shown."""


def explanation_text(explanation: Explanation) -> str:
    """Return what ``explain`` prints: what was asked, the verdict, a line per stage that tells something, why."""
    title = f" {explanation.product.title!r}" if explanation.product is not None else ""
    lines = [
        f"{explanation.query!r} -> {explanation.product_id}{title} in {explanation.generation}",
        f"{explanation.headline[0].upper()}{explanation.headline[1:]}",
    ]
    told = [stage for stage in explanation.stages if stage.name not in ("catalogue", "filter") and _tells(stage)]
    if told:
        lines += ["", *_table(told)]
    if reasons := list(_reasons(explanation)):
        lines += ["", *reasons]
    times = "  ".join(f"{name} {elapsed:.0f} ms" for name, elapsed in explanation.timings_ms.items())
    return "\n".join([*lines, *(["", times] if times else [])])


def _tells(stage: Stage) -> bool:
    return stage.outcome is not Outcome.not_reached or stage.rank is not None


def _table(stages: Sequence[Stage]) -> Iterator[str]:
    rows = [("stage", "rank", "score", "to beat", "", "")]
    for stage in stages:
        rank = f"{stage.rank:,} of {stage.of:,}" if stage.rank is not None else "-"
        went = (FOUND if stage.name in SOURCES else WENT).get(stage.outcome, "-")
        rows.append((stage.name, rank, _number(stage.score), _number(stage.to_beat), went, _note(stage)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for name, rank, score, to_beat, went, note in rows:
        yield (
            f"  {name:<{widths[0]}}  {rank:>{widths[1]}}  {score:>{widths[2]}}  {to_beat:>{widths[3]}}  "
            f"{went:<{widths[4]}}  {note}"
        ).rstrip()


def _note(stage: Stage) -> str:
    if stage.note or stage.places is None:
        return stage.note
    return f"the first {stage.places:,} " + ("are shown" if stage.name == "answer" else "go on")


def _number(value: float | None) -> str:
    """Four digits, trailing zeros kept, so that near scores can be told apart whatever their scale."""
    return "" if value is None else f"{value:#.4g}".rstrip(".")


def _reasons(explanation: Explanation) -> Iterator[str]:
    for condition in (part for group in explanation.conditions for part in group):
        yield f"  filter    {condition_text(condition)}: {'holds' if condition.holds else 'does not hold'}"
    if explanation.parts:
        most = sorted(explanation.parts.items(), key=lambda part: -abs(part[1]))[:PARTS_SHOWN]
        yield f"  final     {', '.join(f'{name} {value:+.2f}' for name, value in most if value)}"
    if explanation.words:
        yield f"  words     {_words(explanation)}"
    for place, passage in enumerate(explanation.passages[:PASSAGES_SHOWN]):
        beyond = "" if passage.is_read else "  (beyond what the encoder reads)"
        label = "nearest" if place == 0 else ""
        yield f"  {label:<8}  {passage.cosine:.3f} {passage.field}: {_cut(passage.text)}{beyond}"
    if explanation.attribution is not None:
        yield from _attribution(explanation.attribution)
    if explanation.twins:
        yield f"  twins     {_twins(explanation)}"


def _words(explanation: Explanation) -> str:
    total = sum(share.score for share in explanation.words)
    held = [f"{share.word} {share.score / total:.0%} ({share.score:.2f})" for share in explanation.words if share.score]
    missing = [share.word for share in explanation.words if not share.score and share.products]
    unknown = [share.word for share in explanation.words if not share.products]
    parts = [", ".join(held)] if held else []
    parts += [f"not in its text: {', '.join(missing)}"] if missing else []
    parts += [f"in no product: {', '.join(unknown)}"] if unknown else []
    return "; ".join(parts)


def _attribution(found: Attribution) -> Iterator[str]:
    least = SMALL_EFFECT * max((abs(word.effect) for word in found.words), default=0)
    up = [word for word in found.words if word.effect > least][:WORDS_SHOWN]
    down = [word for word in reversed(found.words) if word.effect < -least][:WORDS_SHOWN]
    yield f"  reranker  {_test(found)}"
    if up:
        yield f"            raises it: {', '.join(map(_effect, up))}"
    if down:
        yield f"            lowers it: {', '.join(map(_effect, down))}"


def _test(found: Attribution) -> str:
    test, said = found.test, f"scores {found.score:.2f}; the effect of each word is what is lost without it"
    said += f" ({found.pairs} pairs scored)"
    if test.is_faithful is None:
        return f"{said}\n            too little to delete for a test"
    judged = "holds when words are deleted" if test.is_faithful else "NOT TO BE TRUSTED when words are deleted"
    lost = f"{test.drop:.2f} lost in this order, {test.random_drop:.2f} in random ones"
    return f"{said}\n            {judged}: {lost}; agreement {test.agreement:.2f}, p = {test.p_value:.3f}"


def _effect(word: WordEffect) -> str:
    side = " (query)" if word.side == "query" else ""
    return f"{word.word}{side} {word.effect:+.2f}"


def _twins(explanation: Explanation) -> str:
    shown = [
        f"{twin.product_id}" + (f" (rank {twin.rank})" if twin.rank is not None else "")
        for twin in explanation.twins[:TWINS_SHOWN]
    ]
    more = len(explanation.twins) - len(shown)
    rest = f" and {more} more" if more > 0 else ""
    return f"same text: {', '.join(shown)}{rest}; the sources score them alike, product_id decides"


def _cut(text: str) -> str:
    return text if len(text) <= PASSAGE_CHARS else f"{text[: PASSAGE_CHARS - 3]}..."
