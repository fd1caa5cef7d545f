"""Growth: the recipe is the same whatever is asked for in all, pieces are kept, and the plots show every size."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tools.bench.speed import growth
from tools.bench.speed.jobs import growth as job
from tools.bench.speed.records import Options


def piece(size, **changes):
    build = {
        "build_s": size / 100,
        "peak_mib": size / 10,
        "stages_s": {"read": 1.0, "lexical": 0.0, "index": size / 200},
    }
    search = {"p50_ms": [1.0, 2.0, 3.0, 4.0, 9.0], "resident_mib": size / 20, "noise": {}}
    return {"build": {**build, "index": {"kind": "flat"}}, "search": search} | changes


PIECES = {100: piece(100, encode={"encode_s": 2.0}), 1000: piece(1000)}


def test_the_first_texts_are_the_same_however_many_are_asked_for(monkeypatch):
    monkeypatch.setattr(growth, "VOCABULARY", 500)
    monkeypatch.setattr(growth, "_CHUNK", 40)
    long, short = list(growth.texts(120, seed=1)), list(growth.texts(80, seed=1))
    assert long[:80] == short
    assert len(set(long)) == 120
    assert all(len(text.split()) == growth.WORDS_EACH for text in long)
    assert list(growth.texts(80, seed=2)) != short


def test_words_are_distinct_and_common_ones_come_by_zipfs_law(monkeypatch):
    monkeypatch.setattr(growth, "VOCABULARY", 500)
    words = growth.vocabulary(1)
    assert len(words) == len(set(words)) == 500
    drawn = " ".join(growth.texts(2000, seed=1)).split()
    counts = [drawn.count(words[rank]) for rank in (0, 1, 9)]
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.15)
    assert counts[0] / counts[2] == pytest.approx(10, rel=0.2)


def test_a_catalogue_holds_texts_and_unit_vectors_of_every_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "VOCABULARY", 500)
    monkeypatch.setattr(growth, "_CHUNK", 40)
    growth.write_catalogue(tmp_path, 100, seed=3)
    table = pq.read_table(tmp_path / "products.parquet").to_pydict()
    assert table["product_id"] == [f"p{number:08d}" for number in range(100)]
    assert table["title"] == list(growth.texts(100, seed=3))
    vectors = np.array(table["vector"])
    assert vectors.shape == (100, growth.DIM)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    assert len(np.unique(vectors.round(5), axis=0)) == 100


def test_every_size_has_its_rows_and_the_real_model_only_where_it_ran():
    small, large = (job.rows_of(size, PIECES[size]) for size in (100, 1000))
    assert [row.job for row in small] == [
        "encode 100 made-up products",
        "build 100 products without encoding, flat",
        "search 100 products, words and vectors, flat, k=10, p50",
        "peak memory of that build, 100",
        "resident memory of that search, 100",
    ]
    assert len(large) == 4
    assert all(row.few_because == job.ONCE for row in small[:2])
    assert small[2].few_because == ""
    assert small[2].ours.median == 3.0


def test_the_plots_show_every_size_and_no_stage_that_took_no_time():
    time, search, memory = job.plots(PIECES)
    assert time.series["build, all but encoding"] == ((100.0, 1.0), (1000.0, 10.0))
    assert time.series["encode (real model)"] == ((100, 2.0),)
    assert "lexical" not in time.series
    assert search.series["search"] == ((100, 3.0), (1000, 3.0))
    assert memory.series == {
        "build, peak": ((100.0, 10.0), (1000.0, 100.0)),
        "search, resident": ((100.0, 5.0), (1000.0, 50.0)),
    }


@pytest.fixture
def ran(monkeypatch):
    """Steps that write what a piece holds instead of running."""
    steps = []

    def run(options, step, size, folder, out):
        steps.append((step, size))
        out.write_text(json.dumps(piece(size, encode={"encode_s": 1.0}).get(step, {})), encoding="utf-8")

    monkeypatch.setattr(job, "_run", run)
    monkeypatch.setattr(job, "commit", lambda: "abc")
    return steps


def test_a_run_that_was_cut_short_goes_on_where_it_stopped(ran, tmp_path):
    small = Options(work=tmp_path, settings={"growth.largest": "10000"})
    assert len(job.measure(small).rows) == 5
    assert ran == [("encode", 10_000), ("catalogue", 10_000), ("build", 10_000), ("search", 10_000)]
    ran.clear()
    measured = job.measure(Options(work=tmp_path, settings={"growth.largest": "100000"}))
    assert ran == [("catalogue", 100_000), ("build", 100_000), ("search", 100_000)]
    assert len(measured.rows) == 9
    assert [plot.file for plot in measured.plots] == ["growth-time", "growth-search", "growth-memory"]


def test_pieces_of_another_commit_do_not_count(ran, tmp_path, monkeypatch):
    options = Options(work=tmp_path, settings={"growth.largest": "10000"})
    job.measure(options)
    ran.clear()
    monkeypatch.setattr(job, "commit", lambda: "def")
    job.measure(options)
    assert ("build", 10_000) in ran
    assert ("catalogue", 10_000) not in ran  # the recipe's, not the commit's


def test_a_quick_run_is_small_and_keeps_nothing(ran, tmp_path):
    job.measure(Options(work=tmp_path, quick=True))
    assert {size for _, size in ran} == set(job.QUICK_SIZES)
    ran.clear()
    assert job.measure(Options(work=tmp_path, quick=True)).plots == ()
    assert ("encode", 500) in ran
