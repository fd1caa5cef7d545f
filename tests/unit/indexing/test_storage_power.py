"""Power cuts that `tools/reliability/power.py` does not come by: files of libraries, segments of killed builds."""

from contextlib import suppress

import numpy as np
import pytest

from indexing import storage
from indexing.segments import mend
from indexing.vectors import VectorStore
from tools.reliability.harness.disk import Killed, RecordingFileSystem
from tools.reliability.harness.power import PowerCuts


def hidden(path):
    return any(name.startswith(".") for name in path.split("/"))


def test_what_a_library_wrote_is_on_the_disk_before_its_folder_has_its_name(tmp_path):
    recorder = RecordingFileSystem(tmp_path)
    with storage.using(recorder):
        storage.make_folder(tmp_path / ".staging" / "encoder")
        (tmp_path / ".staging" / "encoder" / "model.safetensors").write_bytes(b"weights")
        storage.adopt_folder(tmp_path / ".staging")
        storage.publish_folder(tmp_path / ".staging", tmp_path / "version")
        recorder.mark("returned")

    def check(disk, moment):
        found = dict(disk.walk())
        if "version" not in found:
            return "it is lost" if moment == "returned" else ""
        return "" if found.get("version/encoder/model.safetensors") == b"weights" else "it is not whole"

    states = PowerCuts(recorder.disk, recorder.log, check, is_hidden=hidden).all_states()
    assert states.bad == []
    assert states.different >= 2


@pytest.mark.parametrize("kill_at", range(1, 16))  # an append makes 14 changes
def test_a_segment_that_a_killed_build_left_is_certain_before_it_is_built_upon(tmp_path, kill_at):
    folder = tmp_path / "vectors"
    VectorStore.open(folder, dim=4, create=True)
    vectors = np.eye(2, 4, dtype=np.float32)
    recorder = RecordingFileSystem(tmp_path, kill_at=kill_at)
    with storage.using(recorder):
        with suppress(Killed):
            VectorStore.open(folder, dim=4).append([b"a" * 16], vectors[:1])
        recorder.revive()
        mend(folder, dim=4)
        recorder.mark("mended")
    found = {path.name for path in folder.glob("segment-*.json")}

    def check(disk, moment):
        left = {path.rpartition("/")[2] for path, _ in disk.walk() if path.endswith(".json") and not hidden(path)}
        return "" if moment != "mended" or left == found else f"{left} is left of {found}"

    assert PowerCuts(recorder.disk, recorder.log, check, is_hidden=hidden).all_states().bad == []
