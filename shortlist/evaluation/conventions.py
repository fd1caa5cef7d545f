"""Named conventions: the choices by which two published nDCG of the same run differ, each set under one name.

``linear`` is what ir-measures and trec_eval compute; the others reproduce the figures of a data set's publications.
Retrieval is over the whole catalogue unless a convention ranks the judged products alone.

Source of the WANDS rows: the code that made the published figures (es-vector-sandbox, cheat-at-search eval.py,
scikit-learn's ``ndcg_score``); of the ESCI rows: the paper (Reddy et al., arXiv 2206.06588, section 4.1) and
``ranking/prepare_trec_eval_files.py`` of amazon-science/esci-data, which exchanges Substitute and Complement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from retrieval.metrics import Grades, Measure, by_log2, by_rank, condensed, exponential_gains, ndcg
from retrieval.records import Qrels
from shortlist.config import Convention
from shortlist.evaluation.records import Conventions, EvaluationOptions

# trec_eval's code allots memory by the highest gain of every query: one of 10,000,000 costs it 80 MB.
MAX_GRADE = 1000
# 2^10 - 1 = 1023 is what that leaves for exponential gains; no published scale but ESCI's goes beyond 4.
MAX_EXPONENTIAL_GRADE = 10

_WANDS = "WANDS: Exact 2, Partial 1, Irrelevant 0"
_ESCI = "ESCI: E 100, S 10, C 1, I 0"
_EXPONENTIAL = "nDCG(dcg='exp-log2')@{k}"  # ir-measures' own name, so that nobody takes one nDCG for another
_PAPER = {0: 0, 1: 1, 10: 10, 100: 100}
_RELEASED = {0: 0, 1: 10, 10: 1, 100: 100}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """One convention.

    Attributes:
        title: Its name in publications and in reports.
        measure: Name of its nDCG; ``{k}`` stands for the cut-off.
        gains_text: The gains in words.
        gains: Grade -> gain for every grade of the scale; ``None`` takes every grade up to 1000 as its own gain.
        scale_text: What the scale is, for a message; empty when any data set may use it.
        steep: Divide gains by the rank instead of log2(rank + 1).
        ideal_grade: Divide by a ranking of this grade throughout; ``None`` by the query's own best.
        whole: Measure the whole ranking instead of the first k.
        judged_only: Rank the judged products alone.
        counted_from: Queries count that have a grade of at least this; 0 counts every judged query.
    """

    title: str
    measure: str
    gains_text: str
    gains: Mapping[int, int] | None = None
    scale_text: str = ""
    steep: bool = False
    ideal_grade: int | None = None
    whole: bool = False
    judged_only: bool = False
    counted_from: int = 1

    def cutoff(self, k: int) -> int | None:
        """Return the cut-off of nDCG, ``None`` for none."""
        return None if self.whole else k

    def form(self, k: int) -> dict[str, Any]:
        """Return the keywords that `retrieval.metrics.ndcg` takes."""
        return {
            "k": self.cutoff(k),
            "gains": self.gains,
            "discount": by_rank if self.steep else by_log2,
            "ideal_grade": self.ideal_grade,
        }

    def counts(self, grades: Grades) -> bool:
        """Tell whether a query with these grades is in the means."""
        return any(grade >= self.counted_from for grade in grades.values())

    def plain_ndcg(self, k: int) -> Measure:
        """Return nDCG of one query, in plain Python."""
        return self.plain_condensed_ndcg(k) if self.judged_only else partial(ndcg, **self.form(k))

    def plain_condensed_ndcg(self, k: int) -> Measure:
        """Return condensed nDCG of one query, in plain Python."""
        return lambda ranked, grades: ndcg(condensed(ranked, grades), grades, **self.form(k))


def _exponential(top: int) -> dict[int, int]:
    return {grade: int(gain) for grade, gain in exponential_gains(range(top + 1)).items()}


RULES: Mapping[Convention, Rules] = {
    Convention.linear: Rules(title="linear", measure="nDCG@{k}", gains_text="the grade"),
    Convention.exponential: Rules(
        title="exponential",
        measure=_EXPONENTIAL,
        gains_text="2^grade - 1",
        gains=_exponential(MAX_EXPONENTIAL_GRADE),
    ),
    Convention.w_lin: Rules(
        title="W-LIN",
        measure="nDCG@{k}",
        gains_text="the grade: Exact 2, Partial 1, Irrelevant 0",
        gains={0: 0, 1: 1, 2: 2},
        scale_text=_WANDS,
        counted_from=0,
    ),
    Convention.w_exp: Rules(
        title="W-EXP",
        measure=_EXPONENTIAL,
        gains_text="2^grade - 1: Exact 3, Partial 1, Irrelevant 0",
        gains=_exponential(2),
        scale_text=_WANDS,
        counted_from=2,
    ),
    Convention.w_dt: Rules(
        title="W-DT",
        measure="nDCG[W-DT]@{k}",
        gains_text="2^grade - 1: Exact 3, Partial 1, Irrelevant 0",
        gains=_exponential(2),
        scale_text=_WANDS,
        steep=True,
        ideal_grade=2,
        counted_from=0,
    ),
    Convention.w_bin: Rules(
        title="W-BIN",
        measure="nDCG[W-BIN]",
        gains_text="Exact 1, anything else 0",
        gains={0: 0, 1: 0, 2: 1},
        scale_text=_WANDS,
        whole=True,
        judged_only=True,
        counted_from=0,
    ),
    Convention.esci_paper: Rules(
        title="E-T1",
        measure="nDCG[E-T1]",
        gains_text="Exact 1, Substitute .1, Complement .01, Irrelevant 0 (as 100, 10, 1, 0)",
        gains=_PAPER,
        scale_text=_ESCI,
        whole=True,
        judged_only=True,
        counted_from=0,
    ),
    Convention.esci_released: Rules(
        title="E-T1-released",
        measure="nDCG[E-T1-released]",
        gains_text="Exact 1, Substitute .01, Complement .1, Irrelevant 0 (as 100, 1, 10, 0)",
        gains=_RELEASED,
        scale_text=_ESCI,
        whole=True,
        judged_only=True,
        counted_from=0,
    ),
}
"""Convention -> its rules."""


def evaluated(qrels: Qrels, rules: Rules) -> tuple[Qrels, tuple[str, ...]]:
    """Part the queries that count from those left out, orders kept."""
    kept = {query_id: grades for query_id, grades in qrels.items() if rules.counts(grades)}
    return kept, tuple(query_id for query_id in qrels if query_id not in kept)


def conventions(options: EvaluationOptions) -> Conventions:
    """Say in words what the numbers rest on."""
    rules = RULES[options.convention]
    return Conventions(
        name=rules.title,
        gains=rules.gains_text,
        discount="1 / rank" if rules.steep else "1 / log2(rank + 1)",
        cutoff="none: the whole ranking" if rules.whole else f"the first {options.k} products",
        ideal=_ideal(rules, options.k),
        ranked="the judged products of the query alone" if rules.judged_only else "the whole catalogue",
        unjudged=_unjudged(rules),
        queries=_queries(rules),
        unanswered="scores 0 and stays in every mean",
        ties="broken by the order of the run",
    )


def _ideal(rules: Rules, k: int) -> str:
    if rules.ideal_grade is not None:
        return f"grade {rules.ideal_grade} at all {k} places, whether so many products have it or not"
    return (
        "the query's judged products, best first, found or not"
        if rules.whole
        else (f"the query's best {k} judged products, found or not")
    )


def _unjudged(rules: Rules) -> str:
    if rules.judged_only:
        return "left out of the run"
    return "counts as grade 0; condensed nDCG leaves such products out of the run"


def _queries(rules: Rules) -> str:
    if rules.counted_from == 0:
        return "all that have judgments; without a gain a query scores 0"
    grade = "a grade above 0" if rules.counted_from == 1 else f"a grade of {rules.counted_from} or more"
    return f"those with {grade}; the others are left out and counted"
