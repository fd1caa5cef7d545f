"""Harm by accident: bytes flipped, files lost or added, and nothing made to fit."""

# ruff: noqa: D103 - the names of the kinds say what is wrong with them

import shutil

from indexing import storage
from tools.reliability.harness.bad_candidates.kind import BadCandidate, listing
from tools.reliability.harness.draft import CURRENT, MANIFEST, Draft

ACCIDENTS: list[BadCandidate] = []

bad = listing(ACCIDENTS)


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@bad("artifact_corrupt")
def current_is_garbage(draft: Draft) -> None:
    storage.replace_bytes(draft.root / CURRENT, b"\0" * 64)


@bad("artifact_not_found")
def current_names_a_version_that_is_gone(draft: Draft) -> None:
    shutil.rmtree(draft.folder)


@bad("artifact_corrupt")
def manifest_has_a_flipped_byte(draft: Draft) -> None:
    draft.change(MANIFEST, _flipped)


@bad("artifact_not_found")
def manifest_is_missing(draft: Draft) -> None:
    (draft.folder / MANIFEST).unlink()


@bad("artifact_corrupt")
def index_is_truncated(draft: Draft) -> None:
    draft.change("index/faiss.index", lambda content: content[: len(content) // 2])


@bad("artifact_corrupt")
def products_have_a_flipped_byte(draft: Draft) -> None:
    draft.change("products.parquet", _flipped)


@bad("artifact_corrupt")
def encoder_weights_have_a_flipped_byte(draft: Draft) -> None:
    draft.change("encoder/model.safetensors", _flipped)


@bad("artifact_corrupt")
def a_lexical_file_is_missing(draft: Draft) -> None:
    (draft.folder / "lexical" / "rows.i32").unlink()


@bad("artifact_untrusted")
def a_file_was_added(draft: Draft) -> None:
    (draft.folder / "notes.txt").write_bytes(b"hello")


@bad("artifact_corrupt")
def reranker_weights_are_a_link(draft: Draft) -> None:
    path = draft.folder / "reranker" / "model.safetensors"
    path.unlink()
    path.symlink_to(draft.folder / "encoder" / "model.safetensors")


@bad("artifact_corrupt")
def a_segment_has_a_flipped_byte(draft: Draft) -> None:
    path = draft.store / "segment-000000.f32"
    draft.change_shared(path, _flipped(path.read_bytes()))


@bad("artifact_corrupt")
def a_segment_is_truncated(draft: Draft) -> None:
    path = draft.store / "segment-000000.f32"
    draft.change_shared(path, path.read_bytes()[:-4])


@bad("artifact_corrupt")
def a_segment_is_missing(draft: Draft) -> None:
    draft.change_shared(draft.store / "segment-000000.f32", None)
