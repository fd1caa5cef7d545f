"""The safeguards of files, locks, versions and leases, and who must notice when one is taken out."""

from dataclasses import dataclass

PROGRAM = "tools.reliability."
"""What a witness begins with that is a program and not a test; it runs with ``--quick``."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One safeguard taken out.

    Attributes:
        what: In words.
        file: Relative to the checkout.
        old: Text that stands there exactly once.
        new: What it becomes.
        witness: Who must notice: ids of tests, or one program.
    """

    what: str
    file: str
    old: str
    new: str
    witness: tuple[str, ...]


POWER, KILL, BUILDERS = (PROGRAM + "power",), (PROGRAM + "kill",), (PROGRAM + "builders",)
VERSIONS = "tests/integration/test_versions.py"
HOLDS = "tests/unit/indexing/test_file_holds.py"
REMOVAL = "tests/unit/indexing/test_storage_removal.py"
FAULTS = "tests/unit/indexing/test_storage_faults.py"
LIBRARY = "tests/unit/indexing/test_storage_power.py"

STORAGE: tuple[Mutation, ...] = (
    # --- syncs --------------------------------------------------------------------------------------------------------
    Mutation(
        "the sync of a written file",
        "indexing/storage/writing.py",
        '            with explained("sync", path):\n                system().fsync(descriptor)\n                size',
        '            with explained("sync", path):\n                size',
        POWER,
    ),
    Mutation(
        "the sync of every folder",
        "indexing/storage/folders.py",
        "            system().fsync(descriptor)\n",
        "            pass\n",
        POWER,
    ),
    Mutation(
        "the sync of a made folder's name",
        "indexing/storage/folders.py",
        "    try:\n        sync_folder(path.parent)\n    except StorageError:\n        with suppress(OSError):  # so",
        "    try:\n        pass\n    except StorageError:\n        with suppress(OSError):  # so",
        POWER,
    ),
    Mutation(
        "the sync of an empty folder that somebody else may have made",
        "indexing/storage/folders.py",
        "    if is_folder(path):\n        _settle(path)\n        return",
        "    if is_folder(path):\n        return",
        (f"{REMOVAL}::test_an_empty_folder_is_synced_again_because_its_maker_may_have_been_killed",),
    ),
    Mutation(
        "the sync after a replaced file's rename",
        "indexing/storage/writing.py",
        "    _rename(temporary, path)\n    confirm(path)\n    return written\n\n\ndef create_bytes",
        "    _rename(temporary, path)\n    return written\n\n\ndef create_bytes",
        POWER,
    ),
    Mutation(
        "the sync of a finished version's folders",
        "indexing/storage/publishing.py",
        "    for folder, _files in walk(staging):\n        sync_folder(folder)\n",
        "",
        POWER,
    ),
    Mutation(
        "the sync of where a version was moved to",
        "indexing/storage/publishing.py",
        "    confirm(final)\n    if",
        "    if",
        POWER,
    ),
    Mutation(
        "the sync of what a library wrote",
        "indexing/storage/publishing.py",
        "        system().fsync(descriptor)\n        return digest_open",
        "        return digest_open",
        (LIBRARY,),
    ),
    Mutation(
        "the sync between a segment's files and its record",
        "indexing/segments.py",
        "    storage.sync_folder(folder)\n    record = {",
        "    record = {",
        POWER,
    ),
    Mutation(
        "the sync of a killed build's last segment",
        "indexing/segments.py",
        "    storage.sync_folder(folder)  # a build that was killed may not have synced the name of its last segment\n",
        "",
        (f"{LIBRARY}::test_a_segment_that_a_killed_build_left_is_certain_before_it_is_built_upon",),
    ),
    Mutation(
        "the sync before a retired version's files go",
        "indexing/storage/removing.py",
        "    sync_folder(path.parent)\n",
        "",
        (f"{REMOVAL}::test_a_folder_is_renamed_and_the_rename_synced_before_its_first_file_goes",),
    ),
    # --- order and repair ---------------------------------------------------------------------------------------------
    Mutation(
        "that a version is in place before CURRENT names it",
        "shortlist/bundle.py",
        "    try:\n        storage.publish_folder(staging, folder)\n    except",
        "    make_live(root, folder.name, digest.sha256)\n"
        "    try:\n        storage.publish_folder(staging, folder)\n    except",
        POWER,
    ),
    Mutation(
        "that staging is emptied before a build",
        "shortlist/building/job.py",
        "    storage.remove_folder(staging)\n    storage.make_folder(staging)\n",
        "    storage.make_folder(staging)\n",
        KILL,
    ),
    Mutation(
        "that temporary files of killed builds are removed",
        "indexing/segments.py",
        "    storage.remove_leftovers(folder)\n",
        "",
        (f"{REMOVAL}::test_mending_clears_away_what_a_killed_append_left",),
    ),
    Mutation(
        "that a resumed build cuts its segments as it would have",
        "shortlist/building/steps.py",
        "segment_texts=self.config.segment_texts,\n            runtime",
        "segment_texts=self.config.segment_texts + store.count,\n            runtime",
        KILL,
    ),
    Mutation(
        "that nothing is built upon a segment whose last sync failed",
        "indexing/segments.py",
        '        _take_back(folder / f"{name}.json", uncertain)\n',
        "        raise uncertain\n",
        (f"{FAULTS}::test_an_append_whose_last_sync_failed_is_taken_back_or_never_overwritten",),
    ),
    Mutation(
        "that a short write is continued",
        "indexing/storage/writing.py",
        "            while written < len(view):\n",
        "            if written < len(view):\n",
        (PROGRAM + "faults",),
    ),
    Mutation(
        "the comparison of a stored segment with its record",
        "indexing/segments.py",
        "        if found != expected[part]:\n",
        "        if False:\n",
        (REMOVAL,),
    ),
    # --- locks and leases ---------------------------------------------------------------------------------------------
    Mutation(
        "the builders' lock",
        "indexing/storage/lock.py",
        "            system().lock(descriptor)\n",
        "            pass\n",
        BUILDERS,
    ),
    Mutation(
        "that a dead holder's note is not believed",
        "indexing/storage/lock.py",
        '            if _may_live(int(note["pid"]), str(note["host"])):\n',
        "            if True:\n",
        ("tests/unit/indexing/test_build_lock.py",),
    ),
    Mutation(
        "the lease of an open bundle",
        "indexing/storage/hold.py",
        "            system().lock(descriptor) if alone else system().lock_shared(descriptor)\n",
        "            system().lock(descriptor) if alone else None\n",
        (f"{VERSIONS}::test_a_version_that_is_open_is_collected_only_when_it_is_closed",),
    ),
    Mutation(
        "the look at leases before a version goes",
        "shortlist/versions.py",
        "        if held is None:\n            return False\n",
        "",
        (f"{VERSIONS}::test_a_version_that_is_open_is_collected_only_when_it_is_closed",),
    ),
    Mutation(
        "that a file is still the one that was opened when its lock is had",
        "indexing/storage/hold.py",
        "    if not _leads_to(path, descriptor):\n",
        "    if False:\n",
        (HOLDS,),
    ),
    Mutation(
        "that a reader who came too late reads CURRENT again",
        "shortlist/bundle.py",
        "            if live_version(root)[0] == version:\n                raise\n",
        "            raise\n",
        (f"{VERSIONS}::test_a_reader_that_comes_too_late_opens_what_is_live_now",),
    ),
    Mutation(
        "that the version before is kept",
        "shortlist/versions.py",
        "    kept = {live, previous, *before[::-1][: keep - 1]}\n",
        "    kept = {live}\n",
        (f"{VERSIONS}::test_kept_are_the_live_version_the_one_before_and_older_ones_up_to_the_number",),
    ),
    Mutation(
        "that a rollback proves a version first",
        "shortlist/versions.py",
        "        up_to_date(load_generation(bundle, runtime=RuntimeConfig(), probing=probing))\n",
        "",
        (f"{VERSIONS}::test_a_version_that_answers_otherwise_is_not_gone_back_to",),
    ),
)
"""Add yours at the end of the part it belongs to."""
