"""The records of a measurement, and what report.json holds of them."""

import json
from dataclasses import replace

from shortlist.evaluation.cost.document import cost_document
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
from shortlist.evaluation.cost.text import cost_text
from shortlist.evaluation.records import Estimate, Interval

LATENCY = Latency(calls=30, p50=2.0, p95=3.0, p99=4.0, control=Percentiles(0.5, 0.6, 0.7), slowdown=0.07, noisy=False)


def cost_report() -> CostReport:
    """Return a report with one of everything but a filter."""
    curve = IndexCurve(
        kind="hnsw",
        own=True,
        parameter="ef_search",
        fixed={"links": 32},
        k=100,
        queries=10,
        count=60,
        build_s=0.5,
        size_bytes=6000,
        bytes_per_vector=100.0,
        mapped_bytes_per_vector=64.0,
        points=(IndexPoint(value=400, chosen=True, recall=0.99, latency=LATENCY, queries_per_s=500.0),),
    )
    point = FrontierPoint(
        name="hybrid",
        system="hybrid",
        index="hnsw",
        own_index=True,
        depth=100,
        layers=0,
        all_layers=0,
        precision="fp32",
        quality=Estimate(0.7, Interval(0.6, 0.8)),
        latency=LATENCY,
        machine_s=0.002,
        cost_per_million=0.05,
        memory_bytes=None,
        optimal=True,
        dominated_by="",
        against_best=Estimate(0.0, Interval(0.0, 0.0)),
    )
    return CostReport(
        machine=Machine(
            processor="a processor", cores=2, memory_bytes=8, system="Linux", device="cpu", threads=2, load=None
        ),
        noise=Noise(
            task="a task",
            rule="a rule",
            calls=30,
            quiet=0.4,
            control=Percentiles(0.5, 0.6, 0.7),
            spread=0.2,
            slowdown=0.3,
            others=1.25,
            margin=0.05,
            noisy=0,
            points=2,
        ),
        indexes=(curve,),
        selectivity=(),
        frontier=Frontier(
            measure="nDCG@10",
            queries=10,
            timed=10,
            margin=0.05,
            best="hybrid",
            cheapest_as_good="hybrid",
            points=(point,),
        ),
        memory=Memory(how="PSS", parts=(MemoryPart("libraries", 100, 20), MemoryPart("index", 5, 0)), answered=10),
        price=Price(per_hour=0.09, currency="USD", cores=2, utilisation=0.5, formula="a formula", source="a source"),
        repeats=3,
        seed=7,
        skipped=(Skipped("hybrid_rerank", "no reranker"),),
    )


def test_the_document_holds_every_record_and_writes_estimates_as_the_rest_of_the_report_does():
    document = json.loads(json.dumps(cost_document(cost_report())))
    assert document["frontier"]["points"][0]["quality"] == {"mean": 0.7, "interval_95": [0.6, 0.8]}
    assert document["indexes"][0]["points"][0]["latency"]["control"] == {"p50": 0.5, "p95": 0.6, "p99": 0.7}
    assert document["indexes"][0]["fixed"] == {"links": 32}
    assert document["memory"]["total_bytes"] == 125
    assert document["memory"]["parts"][1] == {"name": "index", "anonymous_bytes": 5, "mapped_bytes": 0}
    assert document["skipped"] == [{"what": "hybrid_rerank", "why": "no reranker"}]
    assert document["selectivity"] == []


# --- the tables -------------------------------------------------------------------------------------------------------


def test_the_tables_say_what_was_measured_and_mark_what_is_noisy_own_chosen_and_optimal():
    report = cost_report()
    noisy = replace(LATENCY, noisy=True)
    filtered = FilteredPoint(
        kind="hnsw",
        own=True,
        filter="random",
        label="0.01 of all",
        eligible=12_345,
        share=0.01,
        k=10,
        queries=10,
        recall=0.987,
        violations=3,
        short=4,
        latency=noisy,
    )
    lines = cost_text(replace(report, selectivity=(filtered,))).splitlines()
    (curve,) = [line.split() for line in lines if line.startswith("hnsw (own)")]
    assert curve == [
        "hnsw",
        "(own)",
        "ef_search",
        "400*",
        "0.9900",
        "2.00",
        "3.00",
        "4.00",
        "+7%",
        "500",
        "100",
        "0.5",
    ]
    (under,) = [line.split() for line in lines if line.startswith("random 0.01 of all")]
    assert under[4:] == ["12,345", "(1.00%)", "hnsw", "0.9870", "3", "4", "2.00", "3.00", "4.00", "+7%!"]
    (way,) = [line.split() for line in lines if line.startswith("+  hybrid")]
    assert way[2:] == ["0.7000", "[0.6000,", "0.8000]", "2.00", "3.00", "4.00", "+7%", "0.05", "-"]
    assert "other processes kept 1.2 cores busy meanwhile" in lines[0]
    assert "+30% on average; 0 of 2 points are noisy (!)" in lines[1]
    assert "skipped: hybrid_rerank: no reranker" in lines
    assert any(
        line.startswith("price: 0.09 USD an hour, 2 cores, a source; utilisation 0.5; a formula") for line in lines
    )


def test_what_was_not_measured_has_no_table():
    text = cost_text(replace(cost_report(), frontier=None, memory=None, selectivity=()))
    assert "dominated by" not in text
    assert "memory MiB" not in text
    assert "forbidden" not in text
