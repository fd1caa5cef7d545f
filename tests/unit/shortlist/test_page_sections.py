"""What the sections of the page say, before a template has it."""

from dataclasses import replace

import pytest

from retrieval.records import Product
from shortlist.evaluation import EvaluationOptions, Provenance, SystemRun, evaluate_runs
from shortlist.evaluation.changes import Changes, SettingChange, SystemChange
from shortlist.evaluation.cost.records import (
    CostReport,
    FilteredPoint,
    Frontier,
    FrontierPoint,
    IndexCurve,
    IndexPoint,
    Latency,
    Machine,
    Memory,
    MemoryPart,
    Noise,
    Percentiles,
    Price,
    Skipped,
)
from shortlist.evaluation.page.changed import changed
from shortlist.evaluation.page.cost import cost
from shortlist.evaluation.page.cost_plot import bytes_text, ms
from shortlist.evaluation.page.grades import Shades, spoken
from shortlist.evaluation.page.kinds import kinds
from shortlist.evaluation.page.render import render
from shortlist.evaluation.page.scoring import scoring
from shortlist.evaluation.records import Comparison, Estimate, Interval

# Forty queries: those with a digit in them are better with "new", the others as good.
QRELS = {f"q{number:02}": {"a": 3, "b": 1, "c": 0} for number in range(40)}
TEXTS = {query_id: "cable 2 m" if number < 20 else "long cable" for number, query_id in enumerate(QRELS)}
BEST, POOR = ["a", "b", "c"], ["c", "b", "a"]
OLD = {query_id: BEST if number >= 20 else POOR for number, query_id in enumerate(QRELS)}


def ranked(answers):
    return {
        query_id: [(p, 1 - n / 10 - int(query_id[1:]) / 1000) for n, p in enumerate(of)]
        for query_id, of in answers.items()
    }


def evaluation_of(trials=4000, **runs):
    runs = runs or {
        "old": SystemRun(ranked(OLD), dict.fromkeys(QRELS, 4.0)),
        "new": SystemRun(ranked(dict.fromkeys(QRELS, BEST))),
    }
    return evaluate_runs(
        "toy",
        QRELS,
        runs,
        options=EvaluationOptions(trials=trials, baseline="old" if "old" in runs else ""),
        query_texts=TEXTS,
        products_for_display=lambda product_id: Product(product_id, f"cable {product_id}"),
        provenance=Provenance(command="shortlist evaluate --out 'a b'", configuration={"k": "10"}),
    )


# --- kinds of query ---------------------------------------------------------------------------------------------------


def test_a_significant_slice_is_full_marked_and_named():
    (system,) = kinds(evaluation_of()).systems
    numbers = next(kind for kind in system.kinds if kind.name == "numbers")
    no, yes = numbers.rows
    assert (no.value, no.queries, no.difference, no.mark, no.verdict) == ("no", 20, "+0.000", "", "")
    assert (yes.value, yes.queries, yes.mark, yes.verdict) == ("yes", 20, "▲", "significant gain")
    assert 'class="gain"' in yes.bar
    assert system.significant.startswith("▲ significant gain in all queries, length: 3, ")
    assert system.significant.endswith("numbers: yes")
    assert system.kinds[0].name == "all queries"


def test_a_difference_that_is_only_significant_before_correction_is_not_marked():
    evaluation = evaluation_of()
    doubtful = replace(evaluation, by_slice=tuple(replace(of, p=0.01, p_holm=0.06) for of in evaluation.by_slice))
    (system,) = kinds(doubtful).systems
    assert system.significant == "no significant difference in any of them"
    assert [row.mark for kind in system.kinds for row in kind.rows] == [""] * len(evaluation.by_slice)


def test_a_loss_is_marked_the_other_way():
    runs = {"old": SystemRun(ranked(dict.fromkeys(QRELS, BEST))), "new": SystemRun(ranked(OLD))}
    (system,) = kinds(evaluation_of(**runs)).systems
    assert system.significant.startswith("▼ significant loss in all queries")


def test_the_numbers_of_every_slice_stand_in_the_table():
    table = kinds(evaluation_of()).systems[0].numbers
    row = next(row for row in table.rows if row[0] == "numbers: yes")
    assert len(row) == len(table.heads)
    assert row[1:4] == ("20", "0.5869", "1.0000")
    assert row[8] == "20 / 0 / 0"


def test_small_slices_are_named_and_too_few_resamplings_said():
    found = kinds(evaluation_of(trials=50))
    assert found.warning.startswith("50 resamplings are too few to tell a difference from chance among 5 comparisons")
    assert kinds(evaluation_of()).warning == ""
    texts = evaluation_of()
    assert "length" not in kinds(texts).untested
    few = replace(texts, untested={"brand/named": 3, "head_tail/tail": 9})
    assert kinds(few).untested == "brand: named (3), head and tail: tail (9)"


def test_one_system_or_no_slice_leaves_the_section_out():
    assert kinds(evaluation_of(one=SystemRun(ranked(OLD)))) is None
    assert kinds(replace(evaluation_of(), by_slice=evaluation_of().by_slice[:1])) is None


# --- since the last report --------------------------------------------------------------------------------------------


def compared(name, difference, p, *, ties=0):
    return Comparison(
        measure="nDCG@10", baseline=name, candidate=name, cell="all", queries=40, baseline_mean=0.5,
        candidate_mean=0.5 + difference, difference=difference, interval=Interval(difference - 0.02, difference + 0.02),
        p=p, p_holm=p, wins=40 - ties, ties=ties, losses=0, detectable=0.01,
    )  # fmt: skip


def changes_of(*comparisons, **fields):
    systems = tuple(
        SystemChange(name=of.candidate, comparison=of, p50_before_ms=2.0, p50_now_ms=None, moved=())
        for of in comparisons
    )
    return Changes(
        **(
            {"folder": "runs/x", "generated_at": "2026-01-02T03:04:05+00:00", "obstacle": "", "systems": systems}
            | fields
        )
    )


def test_what_moved_is_said_in_a_sentence_with_what_chance_has_to_do_with_it():
    section = changed(
        changes_of(compared("a", 0.05, 0.001), compared("b", -0.01, 0.4), compared("c", 0.0, 1.0, ties=40))
    )
    assert section.summary == (
        "nDCG@10 of a changed by +0.050 (p = .001); of b changed by −0.010 (p = .400, which chance may explain)."
    )
    assert section.since == "runs/x, made 2026-01-02 03:04 UTC"
    assert [system.name for system in section.systems] == ["a", "b"]
    assert section.notes == ("Equal on every query: c.",)
    first, second = section.systems
    assert (first.before, first.now, first.difference) == ("0.5000", "0.5500", "+0.050")
    assert first.detail == "+0.030 to +0.070, p = .001; 40 better, 0 equal, 0 worse"
    assert first.latency == "p50 2.00\u00a0ms, now not measured"
    assert 'class="gain"' in first.bar
    assert 'class="loss faint"' in second.bar


@pytest.mark.parametrize(
    ("changes", "summary"),
    [
        (changes_of(compared("c", 0.0, 1.0, ties=40)), "Every system that both reports have answers every query as "
         "well as it did."),
        (changes_of(gone=("x",)), "No system is in both reports."),
        (changes_of(obstacle="it was measured on other judgments"), "The values cannot be compared query by query: it "
         "was measured on other judgments."),
    ],
)  # fmt: skip
def test_when_nothing_can_be_compared_or_nothing_moved_the_summary_says_so(changes, summary):
    assert changed(changes).summary == summary


def test_settings_that_came_or_went_have_a_dash():
    settings = (SettingChange("versions", "torch", None, "2"), SettingChange("versions", "faiss-cpu", "1", None))
    section = changed(changes_of(settings=settings, new=("n",), gone=("g",), unrecorded=("the bundle",)))
    assert section.settings == (("versions", "torch", "–", "2"), ("versions", "faiss-cpu", "1", "–"))
    assert section.notes == ("New: n.", "No longer here: g.", "The earlier report does not say: the bundle.")
    assert changed(None) is None


# --- scores -----------------------------------------------------------------------------------------------------------


def test_scores_that_only_order_are_shown_by_grade_and_others_say_why_not():
    leading, other = scoring(
        evaluation_of(old=SystemRun({"q00": [("a", 1.0)]}), new=SystemRun(ranked(dict.fromkeys(QRELS, BEST))))
    )
    assert leading.name == "new"
    assert leading.summary.startswith(
        "Of the products with the highest scores 100% have grade 2 or more, of those with"
    )
    assert leading.rows[0].spoken == "grade 3: 100%"
    assert leading.rows[0].good == "100%"
    assert leading.diagram == ""
    assert sum(int(row[2]) for row in leading.numbers.rows) == 120
    assert other.summary == "Not shown: only 1 judged products are among its first ones, fewer than 20."
    assert (other.rows, other.numbers) == ((), None)


def test_probabilities_get_a_reliability_diagram_with_its_diagonal():
    run = {query_id: [("a", 0.75), ("c", 0.25)] for query_id in QRELS}
    (system,) = scoring(evaluation_of(one=SystemRun(run, probability_of=2)))
    assert system.rows == ()
    assert 'class="zero"' in system.diagram
    assert "off by 0.250 (expected calibration error), Brier score 0.062 (80 judged products)" in system.summary
    assert "Reliability diagram" in system.diagram
    assert "a skill of 0.750 [0.750, 0.750] over always claiming" in system.summary
    assert "the calibration error is 0.250" in system.summary


# --- quality and cost -------------------------------------------------------------------------------------------------

QUIET = Latency(calls=30, p50=2.0, p95=3.0, p99=4.0, control=Percentiles(0.5, 0.6, 0.7), noisy=False)


def frontier_point(name, quality, p50, *, beaten_by="", noisy=False):
    return FrontierPoint(
        name=name, system="hybrid", index="flat", own_index=True, depth=100, layers=0, all_layers=0, precision="fp32",
        quality=Estimate(quality, Interval(quality - 0.1, quality + 0.1)), latency=replace(QUIET, p50=p50, noisy=noisy),
        machine_s=0.002, cost_per_million=0.05, memory_bytes=None, optimal=not beaten_by, dominated_by=beaten_by,
        against_best=Estimate(quality - 0.8, Interval(-0.1, 0.0)),
    )  # fmt: skip


def filtered(share, *, violations=0):
    return FilteredPoint(
        kind="flat", own=True, filter="random", label=f"random {share}", eligible=int(share * 60), share=share, k=10,
        queries=10, recall=1.0, violations=violations, short=0, latency=QUIET,
    )  # fmt: skip


def cost_report(**parts):
    points = (
        frontier_point("fast", 0.6, 1.0),
        frontier_point("slow", 0.8, 9.0, noisy=True),
        frontier_point("silly", 0.6, 20.0, beaten_by="slow"),
    )
    curve = IndexCurve(
        kind="flat", own=True, parameter="", fixed={}, k=10, queries=10, count=60, build_s=0.5, size_bytes=6000,
        bytes_per_vector=100.0, mapped_bytes_per_vector=64.0,
        points=(IndexPoint(value=0, chosen=True, recall=1.0, latency=QUIET, queries_per_s=500.0),),
    )  # fmt: skip
    whole = CostReport(
        machine=Machine(processor="a processor", cores=1, memory_bytes=2**31, system="Linux", device="cpu", threads=2,
                        load=None),
        noise=Noise(task="a task", rule="a rule", calls=30, quiet=0.4, control=Percentiles(0.5, 0.6, 0.7), spread=0.2,
                    margin=0.05, noisy=1, points=3),
        indexes=(curve,),
        selectivity=(filtered(0.5), filtered(0.0)),
        frontier=Frontier(measure="nDCG@10", queries=40, timed=40, margin=0.05, best="slow", cheapest_as_good="slow",
                          points=points),
        memory=Memory(how="PSS", answered=10,
                      parts=(MemoryPart("libraries", 3 * 2**20, 2**20), MemoryPart("index", -(2**19), 2**21))),
        price=Price(per_hour=0.09, currency="USD", cores=2, utilisation=0.5, formula="a formula", source="a source"),
        repeats=3,
        seed=7,
        skipped=(Skipped("hybrid_rerank", "no reranker"),),
    )  # fmt: skip
    return replace(whole, **parts)


def section_of(report):
    return cost(replace(evaluation_of(), cost=report))


def test_the_frontier_is_numbered_by_rising_latency_and_the_rest_is_outlined():
    frontier = section_of(cost_report()).plots[0]
    assert frontier.pinned == (
        "fast: 0.600, p50 1.00\u00a0ms, p95 3.00\u00a0ms",
        "slow: 0.800, p50 9.00\u00a0ms (noisy), p95 3.00\u00a0ms",
    )
    assert "The best is slow (0.8000, p50 9.00\u00a0ms); every faster one is shown to be worse." in frontier.notes
    assert frontier.plot.count("hollow") == 1
    assert frontier.plot.count('class="trail"') == 1
    rows = {row[0]: row for row in frontier.tables[0].rows}
    assert rows["fast"][3] == "−0.200"
    assert rows["silly"][-1] == "slow"
    # Nobody measured memory per way, so there is no column of dashes for it.
    assert "memory" not in frontier.tables[0].heads
    assert "a million queries" in frontier.tables[0].heads


def test_a_faster_way_that_is_not_shown_to_be_worse_is_named():
    frontier = replace(cost_report().frontier, cheapest_as_good="fast")
    notes = section_of(cost_report(frontier=frontier)).plots[0].notes
    assert notes[1].endswith("the fastest not shown to be worse is fast (0.6000, p50 1.00\u00a0ms).")


def test_filters_that_leave_nothing_are_in_the_table_and_not_in_the_plot():
    filters = section_of(cost_report()).plots[2]
    assert filters.plot.count("<title>") == 1
    assert len(filters.tables[0].rows) == 2
    assert "No product that a filter excludes was returned, and no answer was short." in filters.notes
    wrong = section_of(cost_report(selectivity=(filtered(0.5, violations=2),))).plots[2]
    assert wrong.notes[1].startswith("1 filter returned what they exclude")
    assert wrong.tables[0].rows[0][-2:] == ("2", "0")


def test_the_machine_its_noise_its_memory_and_what_is_missing_are_said():
    section = section_of(cost_report())
    machine, noise = section.notes
    assert machine.startswith("a processor, 1 core, 2.0\u00a0GiB of memory, Linux; models on cpu, 2 threads;")
    assert "USD 0.09 an hour for 2 cores (a source), 50% used; a formula." in machine
    assert "1 of 3 points are marked noisy (a rule)" in noise
    assert section.memory.total == "5.5\u00a0MiB"
    assert section.memory.rows[1].detail == "−512.0\u00a0KiB + 2.0\u00a0MiB"
    assert section.missing == ("hybrid_rerank: no reranker",)


def test_without_a_measurement_the_systems_own_latencies_are_drawn():
    section = cost(evaluation_of())
    assert [plot.pinned for plot in section.plots] == [("old: 0.793, p50 4.00\u00a0ms, p95 4.00\u00a0ms",)]
    assert (section.memory, section.notes, section.missing) == (None, (), ())
    assert cost(evaluation_of(new=SystemRun(ranked(OLD)))) is None


def test_parts_that_were_not_measured_are_left_out():
    section = section_of(cost_report(frontier=None, memory=None, indexes=(), selectivity=()))
    assert [plot.title for plot in section.plots] == ["nDCG@10 against latency"]
    assert section.memory is None


def test_milliseconds_and_bytes_are_written_for_people():
    assert [ms(value) for value in (0.049, 9.99, 25.06, 1234.4)] == [
        "0.05\u00a0ms",
        "9.99\u00a0ms",
        "25.1\u00a0ms",
        "1,234\u00a0ms",
    ]
    assert [bytes_text(count) for count in (0, 1023, 2**10, 5 * 2**20, 3 * 2**30)] == [
        "0\u00a0B",
        "1023\u00a0B",
        "1.0\u00a0KiB",
        "5.0\u00a0MiB",
        "3.0\u00a0GiB",
    ]


# --- grades and origins -----------------------------------------------------------------------------------------------


def test_the_best_grade_is_the_darkest_and_no_good_one_shares_the_shade_of_zero():
    assert [Shades((1, 2, 3)).level(grade) for grade in (3, 2, 1, 0, None)] == ["l4", "l3", "l2", "l0", "lx"]
    wide = Shades(tuple(range(1, 11)))
    assert [wide.level(grade) for grade in (10, 8, 5, 1)] == ["l4", "l4", "l2", "l1"]
    assert spoken([3, None, 0]) == "grades 3, unjudged, 0"
    assert spoken([]) == "no answer"


def test_the_page_says_how_it_was_made():
    page = render(evaluation_of())
    assert "<code>shortlist evaluate --out &#39;a b&#39;</code>" in page
    assert "resampling trials" in page
    assert "how it was measured" in page
    assert page.count('aria-label="new: grades 3, 1, 0"') == 5
