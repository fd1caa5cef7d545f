"""Kinds of query, so that a loss in one cannot hide behind a gain in all.

Every slice gives a query one value, or none where it cannot be told. What a slice means is fixed here and does not
depend on any run, so that nobody can look for the slice that flatters.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from retrieval.records import Qrels
from retrieval.words import words
from shortlist.evaluation.facts import CatalogueFacts
from shortlist.evaluation.records import Slices

DEFINITIONS: Mapping[str, str] = {
    "length": "words of the query as typed: 1, 2, 3, 4+",
    "overlap": "mean share of the query's distinct words that the titles of its best-graded products hold: "
    "low (below 1/2), part, all",
    "head_tail": "thirds of the queries by the number of their products with a grade above 0, or by the popularity "
    "column (median over the best-graded products): tail, middle, head",
    "brand": "whether the query names a brand of the catalogue, all its words in a row: named, none",
    "numbers": "whether the query holds a digit: yes, no",
    "typos": "whether the query has a word of four letters or more that the catalogue does not hold but which is one "
    "edit (a letter more, less, other, or two exchanged) from one that it holds: yes, no",
    "department": "first level of the category that most of the best-graded products have",
}
"""Slice -> what its values mean."""

_MANY_WORDS = 4  # two thirds of shoppers' queries are shorter: 3 words is the median of Home Depot's
# Short words are one edit from some other word more often than not ("bed", "red"), so they prove no typo.
_TYPO_LETTERS = 4
_LEVELS = ">/|"  # what parts the levels of a category path


def slices_of(qrels: Qrels, texts: Mapping[str, str], facts: CatalogueFacts | None) -> Slices:
    """Return the value of every slice for every query.

    Args:
        qrels: Judgments of the queries wanted.
        texts: query_id -> text; a query without text has no value in the slices that read it.
        facts: What the catalogue holds; ``None`` leaves out the slices that need it.

    Returns:
        Slice -> query_id -> value; a slice without any value is left out.
    """
    known = {query_id: texts[query_id] for query_id in qrels if query_id in texts}
    found: dict[str, dict[str, str]] = {
        "length": {query_id: _length(text) for query_id, text in known.items()},
        "head_tail": _thirds({query_id: sum(grade > 0 for grade in of.values()) for query_id, of in qrels.items()}),
        "numbers": {query_id: _yes(any(map(str.isdigit, text))) for query_id, text in known.items()},
    }
    if facts is not None:
        found |= _catalogue_slices(qrels, known, facts)
    return {name: found[name] for name in DEFINITIONS if found.get(name)}


def _catalogue_slices(qrels: Qrels, texts: Mapping[str, str], facts: CatalogueFacts) -> dict[str, dict[str, str]]:
    best = {query_id: _best(grades, facts) for query_id, grades in qrels.items()}
    speller = Speller(facts.vocabulary)
    found = {
        "overlap": _each(texts, lambda query_id, text: _overlap(text, [facts.titles[p] for p in best[query_id]])),
        "brand": _each(texts, lambda _, text: "named" if _names_brand(text, facts.brands) else "none"),
        "typos": _each(texts, lambda _, text: _yes(any(map(speller.is_typo, words(text))))),
        "department": _each(qrels, lambda query_id, _: _department(best[query_id], facts.categories)),
    }
    if not facts.brands:
        del found["brand"]
    if facts.popularity:
        medians = {
            query_id: _median([facts.popularity[p] for p in ids if p in facts.popularity])
            for query_id, ids in best.items()
        }
        found["head_tail"] = _thirds({query_id: value for query_id, value in medians.items() if value is not None})
    return found


def _each(queries: Mapping[str, object], value: Callable[[str, str], str]) -> dict[str, str]:
    """Return query_id -> value, without the queries that have none (an empty text)."""
    found = {query_id: value(query_id, str(text)) for query_id, text in queries.items()}
    return {query_id: of for query_id, of in found.items() if of}


def _best(grades: Mapping[str, int], facts: CatalogueFacts) -> list[str]:
    """Return the products of the query's highest grade that the catalogue holds; none when that grade is 0."""
    top = max(grades.values(), default=0)
    return [p for p, grade in grades.items() if grade == top > 0 and p in facts.titles]


# --- the slices -------------------------------------------------------------------------------------------------------


def _yes(condition: bool) -> str:
    return "yes" if condition else "no"


def _length(text: str) -> str:
    count = max(1, len(text.split()))
    return str(count) if count < _MANY_WORDS else f"{_MANY_WORDS}+"


def _overlap(text: str, titles: Sequence[str]) -> str:
    asked = set(words(text))
    if not asked or not titles:
        return ""
    # Whole numbers until the end, so that three thirds are 1.
    shared = sum(len(asked.intersection(words(title))) for title in titles)
    if shared == len(asked) * len(titles):
        return "all"
    return "part" if 2 * shared >= len(asked) * len(titles) else "low"


def _thirds(values: Mapping[str, float]) -> dict[str, str]:
    """Part queries by where a value stands among all: equal values stay together, at the middle of their places."""
    ordered = sorted(values.values())
    below = {value: place for place, value in reversed(list(enumerate(ordered)))}
    equal = Counter(ordered)

    def third(value: float) -> str:
        place = (below[value] + equal[value] / 2) / len(ordered)
        return "tail" if place < 1 / 3 else "head" if place > 2 / 3 else "middle"

    return {query_id: third(value) for query_id, value in values.items()}


def _names_brand(text: str, brands: Collection[tuple[str, ...]]) -> bool:
    asked = words(text)
    longest = max(map(len, brands), default=0)
    return any(
        tuple(asked[start:end]) in brands
        for start in range(len(asked))
        for end in range(start + 1, min(start + longest, len(asked)) + 1)
    )


def _department(best: Sequence[str], categories: Mapping[str, str]) -> str:
    named = Counter(top for p in best if (top := _first_level(categories.get(p, ""))))
    return min(named, key=lambda name: (-named[name], name), default="")


def _first_level(category: str) -> str:
    for sign in _LEVELS:
        category = category.split(sign)[0] if category.split(sign)[0].strip() else category
    return category.strip()


def _median(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


@dataclass(frozen=True, slots=True)
class Speller:
    """Tells words that look like a slip of the finger from words that the catalogue merely lacks."""

    vocabulary: Collection[str]

    def is_typo(self, word: str) -> bool:
        """Tell whether an alphabetic word is not in the vocabulary, but within one edit of one that is."""
        if len(word) < _TYPO_LETTERS or not word.isalpha() or word in self.vocabulary:
            return False
        return any(other in self.vocabulary for other in _one_edit(word))


def _one_edit(word: str) -> Iterator[str]:
    """Yield every word one edit away, in the letters a to z and those of the word.

    Source: Damerau, A technique for computer detection and correction of spelling errors, CACM 7(3), 1964.
    """
    letters = sorted({*"abcdefghijklmnopqrstuvwxyz", *word})
    for place in range(len(word) + 1):
        head, tail = word[:place], word[place:]
        if tail:
            yield head + tail[1:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        for letter in letters:
            yield head + letter + tail
            if tail:
                yield head + letter + tail[1:]
