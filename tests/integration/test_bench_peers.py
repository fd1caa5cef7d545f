"""The benchmark beside other libraries, with a pipeline that needs none of them."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.bench.peers.pipelines import ENTRIES, Entry, Runner
from tools.bench.peers.run import Kept, Plan
from tools.bench.peers.table import ahead

PEERS = Path(__file__).resolve().parents[2] / "tools" / "bench" / "peers"
PIPELINE = """
import sys
sys.path.insert(0, {peers!r})
from protocol import serve

class Longest:
    def __init__(self, options):
        self.path = options.folder

    def build(self, product_ids, texts):
        print("a library that talks")
        self.path.write_text("built", encoding="utf-8")

    def open(self, product_ids, texts):
        assert self.path.read_text(encoding="utf-8") == "built"
        self.sizes = dict(zip(product_ids, map(len, texts)))

    def search(self, query, k):
        return sorted(self.sizes.items(), key=lambda pair: -pair[1])[:k]

if __name__ == "__main__":
    serve(Longest)
"""


@pytest.fixture
def command(tmp_path):
    script = tmp_path / "longest.py"
    script.write_text(PIPELINE.format(peers=str(PEERS)), encoding="utf-8")
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"product_id": "a", "text": "lamp"}, {"product_id": "b", "text": "a long lamp"}]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return lambda verb: [sys.executable, str(script), verb, str(corpus), str(tmp_path / "index")]


def test_a_pipeline_builds_in_one_process_and_answers_in_another(command, tmp_path):
    built = subprocess.run(command("build"), capture_output=True, text=True, check=True)
    assert json.loads(built.stdout)["peak_mib"] > 1
    assert "a library that talks" in built.stderr
    entry = Entry("longest", "longest.py", "words", "index")
    runner = Runner(entry, command("serve"), tmp_path / "log")
    ranked, taken_ms = runner.ask("anything")
    assert ranked == [("b", 11.0), ("a", 4.0)]
    assert taken_ms > 0
    assert runner.close()["resident_mib"] > 1


def test_a_pipeline_that_dies_is_named_with_its_log(command, tmp_path):
    entry = Entry("longest", "longest.py", "words", "index")
    with pytest.raises(SystemExit, match=r"longest ended; see .*log"):
        Runner(entry, command("serve"), tmp_path / "log")  # nothing was built
    assert "FileNotFoundError" in (tmp_path / "log").read_text(encoding="utf-8")


def row(name, *, kind="words", interval=(0.0, 0.0), p50=1.0, build=1.0, opened=1.0, resident=1):
    return {
        "name": name,
        "kind": kind,
        "nDCG@10_over_shortlist": list(interval),
        "p50_ms": p50,
        "build_s": build,
        "open_s": opened,
        "resident_mib": resident,
    }


def test_the_table_names_what_a_peer_does_better_and_only_against_its_own_kind():
    ours, other = row("shortlist-bm25"), row("shortlist-dense", kind="vectors", p50=9.0)
    better = row("x", interval=(0.001, 0.2), p50=0.5, build=2.0, opened=0.9, resident=1)
    level = row("y", interval=(-0.01, 0.2))
    rows = [ours, better, level, other]
    assert [ahead(each, rows) for each in rows] == ["", "quality, p50, open", "", ""]


def test_every_kind_starts_with_shortlist_and_every_script_is_there():
    first = {}
    for entry in ENTRIES:
        first.setdefault(entry.kind, entry.name)
        assert (PEERS / entry.script).is_file()
    assert {name.split("-")[0] for name in first.values()} == {"shortlist"}


def test_what_was_measured_is_kept_for_the_same_commit_and_corpus_alone(tmp_path):
    path, key = tmp_path / "measured.json", {"commit": "abc", "corpus": "1"}
    kept = Kept(path, key)
    kept.builds["bm25s"] = {"build_s": 1.5}
    kept.save()
    assert Kept(path, key).builds == {"bm25s": {"build_s": 1.5}}
    assert Kept(path, key).measured is None
    assert Kept(path, {**key, "commit": "abd"}).builds == {}
    assert Kept(path, {**key, "corpus": "2"}).builds == {}
    kept.finish({"ground": "store"})
    assert Kept(path, key).measured == {"ground": "store"}


@pytest.mark.parametrize(("left_s", "stops"), [(60.0, False), (-1.0, True)])
def test_no_step_begins_when_its_time_is_up(tmp_path, left_s, stops):
    plan = Plan(work=tmp_path, peers_python=tmp_path, quick=False, until=time.monotonic() + left_s)
    if not stops:
        plan.check("building bm25s on store")
        return
    with pytest.raises(SystemExit, match="no time left for building bm25s on store; run again to go on"):
        plan.check("building bm25s on store")
