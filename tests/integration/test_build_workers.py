"""Encoding in several processes: the bytes of one, errors that name what they are about, and no process left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from indexing.errors import EnvironmentProblem, VectorError
from retrieval.config import EncoderConfig, Precision, RuntimeConfig
from retrieval.encoder import DualEncoder
from shortlist.building import worker as one_worker
from shortlist.building import workers as module
from shortlist.building.job import build
from shortlist.building.plan import plan
from shortlist.building.worker_process import environment, limit_transfers, process_state
from shortlist.building.workers import require_devices
from shortlist.bundle import live_version
from shortlist.config import BuildConfig
from shortlist.probe import own_packages

Compose = Callable[..., BuildConfig]


@pytest.fixture
def compose(build_config: Compose) -> Compose:
    """Return a function that composes a build in segments of 16 texts, with so many workers."""

    def compose(workers: int, *overrides: str) -> BuildConfig:
        runtime = (f"runtime.workers={workers}", "runtime.device=cpu", "runtime.threads=2")
        return build_config(*runtime, "segment_texts=16", *overrides)

    return compose


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[module._Worker]:
    """Return the workers, as they are started."""
    workers: list[module._Worker] = []
    real = module._Worker.__init__

    def noted(self, *given):
        real(self, *given)
        workers.append(self)

    monkeypatch.setattr(module._Worker, "__init__", noted)
    return workers


def store_bytes(out: Path) -> dict[str, bytes]:
    (store,) = (out / "vectors").iterdir()
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


def are_gone(workers: list[module._Worker]) -> bool:
    return bool(workers) and not any(Path(f"/proc/{worker.pid}").exists() for worker in workers)


def poisoned(folder: Path, model: Path, word: str) -> Path:
    """Write a copy of the tiny model that knows no vector for a word."""
    from safetensors.torch import load_file, save_file

    folder.mkdir()
    for path in model.rglob("*"):
        target = folder / path.relative_to(model)
        if path.is_dir():
            target.mkdir()
        else:
            target.write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    (name,) = (name for name in weights if name.endswith("word_embeddings.weight"))
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    weights[name][vocabulary[word]] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_two_workers_leave_the_bytes_of_one_process_and_no_process(
    shop: Path, compose: Compose, tmp_path: Path, started: list[module._Worker]
):
    one = build(compose(1), source=shop, out=tmp_path / "one")
    assert started == []
    two = build(compose(2), source=shop, out=tmp_path / "two")
    assert len(started) == 2
    assert are_gone(started)
    assert one.encoded == two.encoded == 60
    assert sum(name.endswith(".f32") for name in store_bytes(tmp_path / "one")) == 4
    assert store_bytes(tmp_path / "two") == store_bytes(tmp_path / "one")


def test_a_killed_worker_is_an_error_with_its_segment_and_the_next_build_goes_on(
    shop: Path, compose: Compose, tmp_path: Path, started: list[module._Worker], monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    for folder in (out, tmp_path / "whole"):
        build(compose(1, "text=title"), source=shop, out=folder)
    before = live_version(out)
    build(compose(1), source=shop, out=tmp_path / "whole")
    real = module.send

    def send(connection, message):
        for worker in started:
            if worker.connection is connection and worker.number == 2 and "texts" in message:
                os.kill(worker.pid, signal.SIGKILL)
        real(connection, message)

    with monkeypatch.context() as patch:
        patch.setattr(module, "send", send)
        match = (
            r"^worker [12] of 2 \(process \d+\) was killed by signal 9 \(SIGKILL, as when memory runs out\) while it "
            r"encoded segment 2 of this build; the segments before are stored .* build again.* set runtime\.workers"
        )
        with pytest.raises(EnvironmentProblem, match=match):
            build(compose(2), source=shop, out=out)
    assert are_gone(started)
    assert live_version(out) == before
    assert len(list((out / "versions").iterdir())) == 1
    assert build(compose(1), source=shop, out=out).encoded == 60 - 16
    assert store_bytes(out) == store_bytes(tmp_path / "whole")


STOPS_ITSELF = """
import json, os, signal, sys
from multiprocessing.connection import Connection
parent = Connection(int(sys.argv[1]))
for message in (None, {"ready": "in place of a worker"}, None, {"at": 7}, {"encoded": 2}, {"at": 5}):
    parent.send_bytes(json.dumps(message).encode()) if message else parent.recv_bytes()
os.kill(os.getpid(), signal.SIGSTOP)
"""


def counted_when(monkeypatch: pytest.MonkeyPatch, is_silent: Callable[[], bool]) -> None:
    """Let every moment of listening count as all the time that is listened at once, or, while not silent, as none."""
    clock, real = [0.0], module.wait

    def monotonic() -> float:
        clock[0] += module.LISTEN_S if is_silent() else 0.0
        return clock[0]

    monkeypatch.setattr(module, "monotonic", monotonic)
    monkeypatch.setattr(module, "wait", lambda connections, _: real(connections, 0.02))


def test_a_worker_that_is_stopped_ends_the_build_and_the_text_that_it_was_at_is_named(
    shop: Path, compose: Compose, tmp_path: Path, started: list[module._Worker], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "CHILD", ("-c", STOPS_ITSELF))
    stopped = "which is stopped"

    def are_silent() -> bool:  # one may be ended while the words of the other are still unread
        there = [worker for worker in started if Path(f"/proc/{worker.pid}").exists()]
        return all(process_state(worker.pid) == stopped for worker in there)

    counted_when(monkeypatch, are_silent)
    match = (
        rf"^worker [12] of 2 \(process \d+\) \({stopped}\) said nothing for 20 s while it encoded segment 1 of this "
        r"build, with 2 of its 16 texts done, at the text of product '0005' or one encoded together with it, "
        r"and was ended; the segments before are stored .* build again.* set runtime\.worker_silence_s higher"
    )
    with pytest.raises(EnvironmentProblem, match=match):
        build(compose(2, "runtime.worker_silence_s=20"), source=shop, out=tmp_path / "out")
    assert are_gone(started)


def test_a_worker_that_never_opens_its_encoder_ends_the_build(
    shop: Path, compose: Compose, tmp_path: Path, started: list[module._Worker], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "CHILD", ("-c", "import time; time.sleep(600)"))
    counted_when(monkeypatch, lambda: True)
    with pytest.raises(EnvironmentProblem, match=r"said nothing for 600 s while it opened the encoder, and was ended"):
        build(compose(2), source=shop, out=tmp_path / "out")
    assert are_gone(started)


def test_a_worker_says_which_text_it_is_at_and_by_its_place_when_only_a_part_is_encoded(tiny_model_folder: Path):
    texts = ["red sofa", "a far longer text about a blue office chair with wheels", "lamp"]
    encoder = DualEncoder.open(EncoderConfig(model=str(tiny_model_folder)), RuntimeConfig(device="cpu", batch_tokens=1))
    encode, said, limit = encoder.encode_products, [], [3]

    def few(part, **told):
        if len(part) > limit[0]:
            raise RuntimeError("too many")
        return encode(part, **told)

    encoder.encode_products = few
    ours, theirs = Pipe()
    with ours, theirs:
        for limit[0], ends in ((3, "vectors"), (2, "error")):
            one_worker._answer(theirs, encoder, texts, encoder.dim)
            while ends not in (message := one_worker.receive(ours)):
                said.append(message)
            assert ends == "error" or len(ours.recv_bytes()) == 3 * encoder.dim * 4
    longest_first, by_halves = [1, 0, 2], [0, 1, 2]
    assert said == [each for place in longest_first + by_halves for each in ({"at": place}, {"encoded": 1})]


def test_a_worker_without_work_owes_no_word():
    one = object.__new__(module._Worker)
    for one.ready, one.number, owes in ((False, 0, True), (True, 0, False), (True, 3, True)):
        assert one.owes_word is owes


def test_a_word_and_a_new_segment_end_the_silence():
    one = object.__new__(module._Worker)
    heard: list[object] = []
    crew = SimpleNamespace(_note=lambda *given: heard.append(given))
    one.connection, theirs = Pipe()
    with one.connection, theirs:
        one.silent_s = 7.0
        one_worker.send(theirs, {"encoded": 3})
        module._Crew._hear(crew, one)
        assert (heard, one.silent_s) == ([(one, {"encoded": 3}, b"")], 0.0)
        one.encoded, one.at, one.silent_s = 3, 2, 7.0
        one.give(4, [(b"key", "red sofa")])
        assert (one.number, one.encoded, one.at, one.silent_s) == (4, 0, None, 0.0)
        assert one_worker.receive(theirs) == {"texts": ["red sofa"]}


def test_a_message_that_stops_in_its_middle_and_one_that_nobody_takes_are_given_up():
    ours, theirs = Pipe()
    with ours, theirs:
        limit_transfers(ours.fileno(), 0.05)
        os.write(theirs.fileno(), (100).to_bytes(4, "big") + b"begun")  # its length, and a part of it
        with pytest.raises(BlockingIOError):
            ours.recv_bytes()
        with pytest.raises(BlockingIOError):
            ours.send_bytes(bytes(10_000_000))


STOPPED_CHILD = """
import os, signal, subprocess, sys, time
from shortlist.building.worker_process import end_with_parent
if sys.argv[1] == "child":
    end_with_parent()
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
subprocess.Popen([sys.executable, "-c", sys.argv[2], "child", ""], start_new_session=True)
time.sleep(600)
"""


def test_a_stopped_worker_does_not_outlive_a_build_that_is_killed():
    command = [sys.executable, "-c", STOPPED_CHILD, "parent", STOPPED_CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": own_packages()}) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        parent.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists()


def test_the_state_of_a_process_is_told_where_it_explains_its_silence():
    assert process_state(os.getpid()) == ""
    assert process_state(2**22 + 1) == ""  # more than any process has


def test_ctrl_c_ends_all_workers_and_leaves_what_is_published(
    shop: Path, compose: Compose, tmp_path: Path, started: list[module._Worker], monkeypatch: pytest.MonkeyPatch
):
    published = build(compose(1, "text=title"), source=shop, out=tmp_path / "out").version
    monkeypatch.setattr(module, "CHILD", ("-c", "import time; time.sleep(600)"))

    def interrupted(*_: object) -> None:  # what Python makes of SIGINT; the signal itself is for a process of its own
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(compose(2), source=shop, out=tmp_path / "out")
    assert len(started) == 2
    assert are_gone(started)
    assert live_version(tmp_path / "out")[0] == published


def test_a_product_that_has_no_vector_is_named_as_in_one_process(
    shop: Path, compose: Compose, tmp_path: Path, tiny_model_folder: Path, started: list[module._Worker]
):
    model = poisoned(tmp_path / "model", tiny_model_folder, "sofa")
    found = []
    for count in (1, 2):
        with pytest.raises(VectorError) as caught:
            build(compose(count, f"encoder.model='{model}'"), source=shop, out=tmp_path / f"out{count}")
        found.append((str(caught.value), caught.value.names, caught.value.positions))
    assert found[0] == found[1]
    assert found[0][1] == ("0045", "0046", "0047")
    assert store_bytes(tmp_path / "out1") == store_bytes(tmp_path / "out2")
    assert are_gone(started)


def test_a_worker_that_cannot_open_the_encoder_says_why(
    shop: Path, compose: Compose, tmp_path: Path, started: list[module._Worker], monkeypatch: pytest.MonkeyPatch
):
    real = module.write_runtime
    monkeypatch.setattr(module, "write_runtime", lambda runtime: {**real(runtime), "device": "cuda"})
    with pytest.raises(EnvironmentProblem, match=r"runtime\.device=cuda, but there is no CUDA device"):
        build(compose(2), source=shop, out=tmp_path / "out")
    assert are_gone(started)


def test_an_interpreter_that_does_not_start_is_an_error(
    shop: Path, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "CHILD", ("-c", "raise SystemExit('no such thing')"))
    with pytest.raises(EnvironmentProblem, match=r"ended with 1 \(no such thing\) while it opened the encoder"):
        build(compose(2), source=shop, out=tmp_path / "out")


@pytest.mark.parametrize("start", [build, plan])
def test_absent_devices_are_an_error_before_anything_is_written(
    start, shop: Path, build_config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    config = build_config("runtime.devices=[cuda:0,cuda:1]")
    match = r"runtime\.devices names cuda:1, but torch .* sees these CUDA devices: cuda:0; set runtime\.devices to"
    with pytest.raises(EnvironmentProblem, match=match):
        start(config, source=shop, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_cuda_no_device_is_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentProblem, match=r"names cuda:0, but .* sees these CUDA devices: none"):
        require_devices(RuntimeConfig(devices=["cuda:0"]))
    require_devices(RuntimeConfig(workers=2))


@pytest.mark.parametrize(
    ("listed", "device", "seen"),
    [({}, "cuda:1", "1"), ({"CUDA_VISIBLE_DEVICES": "3, 5"}, "cuda:1", "5"), ({"CUDA_VISIBLE_DEVICES": "3"}, "", "3")],
)
def test_a_worker_sees_its_own_device_and_its_share_of_threads(listed: dict[str, str], device: str, seen: str):
    told = environment({"OMP_NUM_THREADS": "8", **listed}, 3, device)
    assert (told["OMP_NUM_THREADS"], told["RAYON_NUM_THREADS"], told["CUDA_VISIBLE_DEVICES"]) == ("3", "3", seen)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"workers": -1}, r"runtime\.workers must be 0 or more, got -1"),
        ({"worker_silence_s": -1.0}, r"runtime\.worker_silence_s must be finite and >= 0, got -1\.0"),
        ({"worker_silence_s": float("nan")}, r"must be finite and >= 0, got nan"),
        ({"devices": ["cuda"]}, r"must name CUDA devices once each, as cuda:0, got \['cuda'\]"),
        ({"devices": ["cuda:0", "cuda:0"]}, r"once each, as cuda:0, got \['cuda:0', 'cuda:0'\]"),
        ({"devices": ["cuda:0"], "device": "cpu"}, r"encodes on CUDA, got runtime\.device=cpu"),
        ({"devices": ["cuda:0"], "precision": Precision.int8}, r"and runtime\.precision=int8; set device"),
        ({"devices": ["cuda:0", "cuda:1"], "workers": 1}, r"workers=1 leaves some of 2 runtime\.devices idle"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict, match: str):
    with pytest.raises(ValueError, match=match):
        RuntimeConfig(**wrong)
    assert replace(RuntimeConfig(), workers=2, devices=["cuda:1"]).workers == 2
