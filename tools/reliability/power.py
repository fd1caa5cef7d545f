"""Cut the power at every call of a build: whatever state the disk is found in opens to the old or the new version.

Calls are written down while a first build, a build that supersedes others, a rollback, and a build resumed after a kill
run. Then states are made that lose what was not synced, in part or whole (`harness.power`), and each is opened: what is
published must be whole, what a caller was told is done must be there. Then every sync is taken out in turn: a promise
that holds without one would mean that it is not needed, or that this program does not look hard enough.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import ShortlistError
from indexing.vectors import VectorStore
from shortlist.building.job import build
from shortlist.bundle import CURRENT, LOCK, VERSION_NAME, open_bundle, open_version, version_names
from shortlist.config import BuildConfig
from shortlist.versions import rollback
from tools.reliability.harness.disk import Disk, Killed, Operation, RecordingFileSystem
from tools.reliability.harness.figures import Figure, command
from tools.reliability.harness.power import PowerCuts, syncs
from tools.reliability.harness.shop import DIM, build_config, scratch, stub_encoder, write_model, write_shop

RETURNED = "returned"
SEGMENT_TEXTS = 6


@dataclass(frozen=True, slots=True)
class Recorded:
    """What ran, as it was written down.

    Attributes:
        name: Of the scenario.
        start: The disk before.
        log: Every call that changed something.
        old: The version that was live before; empty for none.
        new: The version that is live after.
    """

    name: str
    start: Disk
    log: list[Operation]
    old: str
    new: str


def sweep(*, quick: bool) -> Iterator[Figure]:
    """Yield the states of every scenario, and what taking out each sync does."""
    with scratch() as folder, stub_encoder():
        shop = Shop(folder)
        recorded = [shop.first_build(), shop.next_build(), shop.roll_back()]
        for scenario in recorded[::2] if quick else recorded:
            yield states(scenario, folder / "state")
        yield resumed(shop, folder / "state", step=53 if quick else 1)
        yield without_each(recorded[2:] if quick else recorded, folder / "state")


class Shop:
    """A shop small enough that its builds are written down in full."""

    def __init__(self, folder: Path) -> None:
        """Write model and catalogues."""
        self.folder = folder
        self.recorder: RecordingFileSystem | None = None
        self.config: BuildConfig = build_config(write_model(folder / "model"), segment_texts=SEGMENT_TEXTS)
        self.config.keep_versions = 2
        self.sources = [write_shop(folder / f"shop{n}", products=6 * (n + 1)) for n in range(3)]

    def first_build(self) -> Recorded:
        """Build where there is nothing, not even the folder."""
        return self._record("first build", lambda out: None, lambda out: self.build(1, out))

    def next_build(self) -> Recorded:
        """Build beside two versions, the older of which goes."""

        def prepare(out: Path) -> None:
            self.build(0, out)
            self.build(1, out)

        return self._record("next build", prepare, lambda out: self.build(2, out))

    def roll_back(self) -> Recorded:
        """Go back from the second version to the first."""

        def prepare(out: Path) -> None:
            self.build(0, out)
            self.build(1, out)

        return self._record("rollback", prepare, partial(rollback, probing=False))

    def killed_and_resumed(self, at: int) -> Recorded | None:
        """Build, be killed at a change, and build again; ``None`` when there are fewer changes than that."""
        killed = False

        def act(out: Path) -> None:
            nonlocal killed
            try:
                self.build(1, out)
            except Killed:
                killed = True
                assert self.recorder is not None
                self.recorder.revive()
                self.recorder.mark(_live(out))
                self.build(1, out)

        recorded = self._record(f"killed at change {at}", lambda out: None, act, kill_at=at)
        left = next((call.what for call in recorded.log if call.kind == "mark" and VERSION_NAME.match(call.what)), "")
        return replace(recorded, old=left) if killed else None

    def build(self, number: int, out: Path) -> None:
        """Build from one of the catalogues, and mark every segment that is stored."""
        append = VectorStore.append

        def marked(store: VectorStore, *arguments: Any) -> Any:  # noqa: ANN401 - as append
            rows = append(store, *arguments)
            if self.recorder is not None:
                self.recorder.mark(f"stored {len(store.segments)}")
            return rows

        VectorStore.append = marked  # type: ignore[method-assign, assignment]
        try:
            with redirect_stderr(StringIO()):
                build(self.config, source=self.sources[number], out=out)
        finally:
            VectorStore.append = append  # type: ignore[method-assign]

    def _record(
        self, name: str, prepare: Callable[[Path], Any], act: Callable[[Path], Any], *, kill_at: int = 0
    ) -> Recorded:
        with tempfile.TemporaryDirectory(dir=self.folder) as top:
            out = Path(top) / "deep" / "out"
            prepare(out)
            old = _live(out)
            recorder = self.recorder = RecordingFileSystem(Path(top), kill_at=kill_at)
            with storage.using(recorder):
                act(out)
                recorder.mark(RETURNED)
            self.recorder = None
            return Recorded(name, recorder.disk, recorder.log, old, _live(out))


def states(recorded: Recorded, scratch_folder: Path) -> Figure:
    """Open every state of a scenario."""
    found = _cuts(recorded, scratch_folder).all_states()
    counts = {
        "calls": len(recorded.log),
        "states": found.combinations,
        "different": found.different,
        "losses": len(found.bad),
    }
    return Figure(f"power cuts, {recorded.name}", counts, tuple(found.bad), at_least={"different": 2})


def resumed(shop: Shop, scratch_folder: Path, *, step: int) -> Figure:
    """Kill a first build at every change, resume it, and cut the power when it says that it is done."""
    points, combinations, failures = 0, 0, list[str]()
    at = 1
    while (recorded := shop.killed_and_resumed(at)) is not None:
        last = max(n for n, call in enumerate(recorded.log) if call.what.endswith(f" to {CURRENT}"))
        found = _cuts(recorded, scratch_folder).all_states(first=last)
        points, combinations = points + 1, combinations + found.combinations
        failures += [f"{recorded.name}: {bad}" for bad in found.bad]
        at += step
    counts = {"points": points, "states": combinations, "losses": len(failures)}
    return Figure(
        "power cuts after a killed build was resumed",
        counts,
        tuple(failures),
        at_least={"points": 4 if step > 1 else 100},
    )


def without_each(scenarios: list[Recorded], scratch_folder: Path) -> Figure:
    """Take out every sync in turn and look for a state that is bad without it.

    Where none is, another sync of the same file or folder comes before anybody depends on it; then all of them together
    are taken out, and that must be bad. Files that are thrown away before the end need no sync, and are counted apart.
    """
    tried = caught = covered = discarded = 0
    failures = []
    for recorded in scenarios:
        cuts = _cuts(recorded, scratch_folder)
        kept = cuts.visible_at_the_end()
        for place, what in syncs(recorded.log).items():
            target = recorded.log[place].target
            later = {
                n for n, call in enumerate(recorded.log) if n >= place and (call.kind, call.target) == ("sync", target)
            }
            tried += 1
            if cuts.all_states(without=frozenset({place}), first=place, stop_at_bad=True).bad:
                caught += 1
            elif len(later) > 1 and cuts.all_states(without=frozenset(later), first=place, stop_at_bad=True).bad:
                covered += 1
            elif target not in kept:
                discarded += 1
            else:
                failures.append(f"{recorded.name}: nothing is lost without call {place}, {what}")
    counts = {"syncs": tried, "caught": caught, "covered_by_a_later_one": covered, "of_discarded_files": discarded}
    counts["missed"] = len(failures)
    return Figure("syncs taken out one by one", counts, tuple(failures))


def _cuts(recorded: Recorded, scratch_folder: Path) -> PowerCuts:
    check = partial(_problem, recorded=recorded, folder=scratch_folder)
    return PowerCuts(recorded.start, recorded.log, check, is_hidden=_is_hidden)


def _is_hidden(path: str) -> bool:
    """Whether nobody reads what lies there: staging, temporary and half-removed things, and the lock."""
    return any(name.startswith(".") or name == LOCK for name in path.split("/"))


def _problem(disk: Disk, moment: str, *, recorded: Recorded, folder: Path) -> str:
    """Say what is wrong with a state; empty when nothing is."""
    folder.mkdir()
    try:
        disk.write(folder)
        out = folder / "deep" / "out"
        live = _live(out)
        allowed = {recorded.new} if moment == RETURNED else {recorded.old, recorded.new}
        if live not in allowed:
            return f"{live or 'nothing'} is live, expected {' or '.join(sorted(allowed))}"
        for name in version_names(out):
            open_version(out, name)
        stored = sum(_stored(store) for store in out.glob("vectors/*"))
        expected = int(moment.removeprefix("stored ")) if moment.startswith("stored ") else 0
        if stored < expected:
            return f"{stored} segments are left of {expected} that were stored"
    except ShortlistError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)
    return ""


def _live(out: Path) -> str:
    """Return the name of the live version, opened and whole; empty when there is no bundle."""
    return open_bundle(out).manifest.version if (out / CURRENT).exists() else ""


def _stored(store: Path) -> int:
    opened = VectorStore.open(store, dim=DIM)
    opened.verify()
    return len(opened.segments)


if __name__ == "__main__":
    sys.exit(command(__doc__, sweep))
