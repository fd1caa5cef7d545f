"""The command line of the speed bench, and a peer in a process of its own."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.bench.speed import run
from tools.bench.speed.peer import PeerProcess
from tools.bench.speed.records import Compared, Measurement, Options, Row, Side
from tools.bench.speed.stopwatch import SelfTimed

ROW = Row(job="one", compared=Compared.alone, ours=Side(name="ours", values=(1.0,) * 5))
PEER = """
import json, sys
for line in sys.stdin:
    if not line.strip():
        break
    asked = json.loads(line)
    if "end" in asked:
        sys.exit(3)
    print(json.dumps({"ms": asked["k"] / 2}), flush=True)
"""


@pytest.fixture
def peer(tmp_path):
    (tmp_path / "peer.py").write_text(PEER, encoding="utf-8")
    return tmp_path / "peer.py"


@pytest.mark.parametrize("name", run.available())
def test_every_module_is_called_as_its_name_and_can_measure(name):
    assert name == run.load(name).NAME


def test_shared_modules_are_not_measured():
    assert "encode" in run.available()
    assert not any(name.startswith("_") for name in run.available())


def test_one_that_fails_is_named_and_the_others_go_on(monkeypatch, capsys):
    def measure(options):
        if options.seed == 7:
            raise OSError("no such data")
        return Measurement(name="good", rows=(ROW,))

    jobs = {
        "bad": SimpleNamespace(NAME="bad", measure=measure),
        "good": SimpleNamespace(NAME="good", measure=lambda options: Measurement(name="good", rows=(ROW,))),
    }
    monkeypatch.setattr(run, "load", jobs.__getitem__)
    measured, failed = run.run(["bad", "good"], Options())
    assert [each.name for each in measured] == ["good"]
    assert failed == ["bad"]
    shown = capsys.readouterr()
    assert "no such data" in shown.err
    assert shown.out.startswith("one\n  ours ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "4"], "--rounds must be at least 5, got 4"),
        (["--only", "nothing"], "invalid choice: 'nothing'"),
        (["--set", "nothing.count=3"], r"--set takes NAME.KEY=VALUE with NAME one of .*; got 'nothing.count=3'"),
        (["--set", "index.count"], r"--set takes NAME.KEY=VALUE .*; got 'index.count'"),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        run.parse(arguments)
    assert re.search(message, capsys.readouterr().err)


def test_the_command_line_reaches_the_options():
    names, options = run.parse(["--only", "index", "--quick", "--threads", "1", "--set", "index.count=300"])
    assert names == ["index"]
    assert (options.quick, options.threads, options.rounds) == (True, 1, 5)
    assert options.number("index.count", 1, quick=2) == 300
    assert run.parse([])[1].rounds == 7


def test_a_quick_run_writes_nothing_and_a_real_one_does(monkeypatch, tmp_path):
    written = []
    monkeypatch.setattr(run, "run", lambda names, options: ([Measurement(name="index", rows=(ROW,))], []))
    monkeypatch.setattr(run.document, "write", lambda recorded, folder: written.extend(recorded) or [])
    assert run.main(["--quick", "--work", str(tmp_path / "work")]) == 0
    assert written == []
    assert run.main(["--work", str(tmp_path / "work")]) == 0
    assert [each.measurement.name for each in written] == ["index"]


def test_a_peer_answers_from_its_own_process_and_times_itself(peer):
    with PeerProcess(Path(sys.executable), peer) as process:
        assert process.ask({"k": 10}) == {"ms": 5.0}
        contestant = process.timed({"k": 3})
        assert isinstance(contestant, SelfTimed)
        assert contestant.run() == 1.5
    assert process._process.returncode == 0


def test_a_peer_that_ended_is_told_with_its_code(peer):
    with (
        PeerProcess(Path(sys.executable), peer) as process,
        pytest.raises(RuntimeError, match=r"peer\.py ended with code 3 when asked \{'end': 1\}"),
    ):
        process.ask({"end": 1})


def test_an_interpreter_that_is_not_there_is_named_with_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected the peers' interpreter at .*python; make it with: make"):
        PeerProcess(tmp_path / "python", tmp_path / "peer.py")
