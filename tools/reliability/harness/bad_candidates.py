"""Versions that must never serve: functions that publish a harmed copy of a bundle's live version.

Each kind is a good version with one thing wrong, made by somebody who can write to the bundle: by accident (a flipped
byte, a lost file) or on purpose, with every hash made to fit. Whoever opens or reloads the bundle must refuse it with
the error code that the kind names, and go on with what it had.

    for kind in BAD_CANDIDATES:
        with offered(root, kind):
            ...  # CURRENT names the harmed version; opening must raise an error whose code is kind.code

Nothing that a serving process has mapped is written to: the live version's files are copied, shared segments replaced
by rename and put back at the end. The bundle needs an encoder, a cross-encoder and a flat index.
"""

# ruff: noqa: ANN401, D103 - tables and models are untyped here; the names of the kinds say what is wrong with them

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from indexing import storage
from shortlist.manifest import store_name

MANIFEST, CURRENT = "MANIFEST.json", "CURRENT"
NAME_TIME = "%Y-%m-%dT%H%M%SZ"


class Draft:
    """A copy of the live version under a newer name, live, and about to be harmed.

    Attributes:
        root: The bundle.
        folder: The copy.
        version: Its name.
        store: Folder of the vector store it uses.
    """

    def __init__(self, root: Path) -> None:
        """Copy the live version and make the copy live."""
        self.root = root
        self._current = (root / CURRENT).read_bytes()
        live = json.loads(self._current)["version"]
        moment = datetime.strptime(live.rpartition("-")[0], NAME_TIME) + timedelta(seconds=1)
        self.version = f"{moment:{NAME_TIME}}-{os.urandom(3).hex()}"
        self.folder = root / "versions" / self.version
        shutil.copytree(root / "versions" / live, self.folder)
        self.store = root / self.manifest["vectors"]["store"]
        self._replaced: dict[Path, bytes | None] = {}
        self._added: list[Path] = [self.folder]
        self.change_manifest(lambda manifest: manifest.update(version=self.version))

    @property
    def manifest(self) -> dict[str, Any]:
        """What the copy's manifest says now."""
        return dict(json.loads((self.folder / MANIFEST).read_bytes()))

    def change_manifest(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the manifest and make CURRENT fit it."""
        manifest = self.manifest
        change(manifest)
        digest = storage.replace_json(self.folder / MANIFEST, manifest)
        storage.replace_json(self.root / CURRENT, {"manifest_sha256": digest.sha256, "version": self.version})

    def change(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Change a file of the version, and no digest."""
        path = self.folder / name
        path.write_bytes(change(path.read_bytes()))

    def change_json(self, name: str, change: Callable[[Any], object]) -> None:
        """Change the value in a JSON file of the version, and no digest."""
        path = self.folder / name
        value = json.loads(path.read_bytes())
        change(value)
        path.write_text(json.dumps(value))

    def change_shared(self, path: Path, content: bytes | None) -> None:
        """Give a file outside the version another content, or remove it; it is put back by `withdraw`."""
        self._replaced.setdefault(path, path.read_bytes())
        if content is None:
            path.unlink()
        else:
            storage.replace_bytes(path, content)

    def fit(self, *, index: bool = True) -> None:
        """Make the index's record (unless it is what was harmed), the manifest and CURRENT say what the files are."""
        if index and _is_json(self.folder / "index" / "index.json"):
            self.change_json("index/index.json", self._fit_record)
        paths = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
        files = {path.relative_to(self.folder).as_posix(): asdict(storage.digest(path)) for path in paths}
        self.change_manifest(lambda manifest: manifest.update(files=files))

    def fit_fingerprint(self, fingerprint: dict[str, str]) -> None:
        """Make the manifest claim another fingerprint, with the vectors where that one keeps them."""
        store = self.root / store_name(fingerprint)
        if not store.exists():
            shutil.copytree(self.store, store)
            self._added.append(store)
        self.store = store

        def claim(manifest: dict[str, Any]) -> None:
            manifest["fingerprint"] = fingerprint
            manifest["vectors"]["store"] = store_name(fingerprint)

        self.change_manifest(claim)

    def withdraw(self) -> None:
        """Make the version before live again and remove what was added."""
        for path, content in self._replaced.items():
            if content is not None:
                storage.replace_bytes(path, content)
        storage.replace_bytes(self.root / CURRENT, self._current)
        for folder in self._added:
            shutil.rmtree(folder, ignore_errors=True)

    def _fit_record(self, record: dict[str, Any]) -> None:
        for name in record["files"]:
            record["files"][name] = asdict(storage.digest(self.folder / "index" / name))


@dataclass(frozen=True)
class BadCandidate:
    """One kind of harm.

    Attributes:
        name: What is wrong, for test ids and reports.
        code: Code of the error that must refuse it.
        harm: Does it to a draft.
    """

    name: str
    code: str
    harm: Callable[[Draft], None]


@contextmanager
def offered(root: Path, kind: BadCandidate) -> Iterator[str]:
    """Make a version harmed in this way live for the length of a ``with`` block; yield its name."""
    draft = Draft(root)
    try:
        kind.harm(draft)
        yield draft.version
    finally:
        draft.withdraw()


BAD_CANDIDATES: list[BadCandidate] = []


def bad(code: str) -> Callable[[Callable[[Draft], None]], Callable[[Draft], None]]:
    """List a function as a kind that is refused with ``code``."""

    def listed(harm: Callable[[Draft], None]) -> Callable[[Draft], None]:
        BAD_CANDIDATES.append(BadCandidate(harm.__name__, code, harm))
        return harm

    return listed


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


# --- accidents: nothing was made to fit -------------------------------------------------------------------------------


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


# --- on purpose: every hash made to fit -------------------------------------------------------------------------------


@bad("artifact_untrusted")
def current_leaves_the_bundle(draft: Draft) -> None:
    current = json.loads((draft.root / CURRENT).read_bytes())
    storage.replace_json(draft.root / CURRENT, current | {"version": "../../elsewhere"})


@bad("artifact_incompatible")
def manifest_is_of_the_future(draft: Draft) -> None:
    draft.change_manifest(lambda manifest: manifest.update(format=99))


@bad("artifact_untrusted")
def manifest_has_a_field_that_we_never_write(draft: Draft) -> None:
    draft.change_manifest(lambda manifest: manifest.update(_target_="os.system"))


@bad("artifact_untrusted")
def manifest_lists_a_file_outside_the_bundle(draft: Draft) -> None:
    outside = {"../../../../etc/passwd": {"size_bytes": 1, "sha256": "0" * 64}}
    draft.change_manifest(lambda manifest: manifest["files"].update(outside))


@bad("artifact_untrusted")
def manifest_is_of_another_version(draft: Draft) -> None:
    draft.change_manifest(lambda manifest: manifest.update(version="2026-01-01T000000Z-000000"))


@bad("artifact_untrusted")
def index_is_of_another_type(draft: Draft) -> None:
    _write_index(draft, lambda faiss, dim: faiss.IndexFlatL2(dim), count=_count(draft))


@bad("artifact_corrupt")
def index_has_another_dimension(draft: Draft) -> None:
    _write_index(draft, lambda faiss, dim: faiss.IndexFlatIP(dim // 2), count=_count(draft))


@bad("artifact_corrupt")
def index_holds_fewer_vectors(draft: Draft) -> None:
    _write_index(draft, lambda faiss, dim: faiss.IndexFlatIP(dim), count=_count(draft) - 1)


@bad("artifact_corrupt")
def index_is_garbage_behind_its_first_bytes(draft: Draft) -> None:
    draft.change("index/faiss.index", lambda content: content[:4] + b"\xff" * (len(content) - 4))
    draft.fit()


@bad("artifact_corrupt")
def products_are_no_parquet(draft: Draft) -> None:
    draft.change("products.parquet", lambda content: b"PAR1" + b"\xff" * (len(content) - 8) + b"PAR1")
    draft.fit()


@bad("artifact_corrupt")
def products_are_one_fewer(draft: Draft) -> None:
    change_products(draft, lambda table: table.slice(1))


@bad("artifact_corrupt")
def rows_point_outside_the_vectors(draft: Draft) -> None:
    draft.change("rows", lambda content: (2**40).to_bytes(8, "little") + content[8:])
    draft.fit()


@bad("fingerprint_mismatch")
def encoder_weights_are_others(draft: Draft) -> None:
    _change_weights(draft, "encoder", lambda words: words[::-1])
    draft.fit()


@bad("fingerprint_mismatch")
def encoder_weights_are_others_and_the_fingerprint_fits(draft: Draft) -> None:
    _change_weights(draft, "encoder", lambda words: words[::-1])
    draft.fit()
    draft.fit_fingerprint(fingerprint_of(draft))


@bad("fingerprint_mismatch")
def encoder_tokenizer_is_another(draft: Draft) -> None:
    draft.change_json("encoder/tokenizer.json", lambda tokenizer: tokenizer["model"]["vocab"].pop("mouse"))
    draft.fit()


@bad("fingerprint_mismatch")
def encoder_pooling_is_another(draft: Draft) -> None:
    pooling = next(draft.folder.glob("encoder/*Pooling/config.json")).relative_to(draft.folder).as_posix()
    draft.change_json(pooling, lambda config: config.update(pooling_mode="cls"))
    draft.fit()


@bad("fingerprint_mismatch")
def query_prompt_is_another(draft: Draft) -> None:
    draft.change_manifest(lambda manifest: manifest["encoder"].update(query_prompt="find: "))


@bad("fingerprint_mismatch")
def text_template_is_another(draft: Draft) -> None:
    draft.change_manifest(lambda manifest: manifest["text"].update(separator=" / "))


@bad("artifact_untrusted")
def encoder_configuration_names_code(draft: Draft) -> None:
    draft.change_json("encoder/config.json", lambda config: config.update(auto_map={"AutoModel": "evil.Model"}))
    draft.fit()


@bad("artifact_untrusted")
def encoder_modules_name_a_foreign_class(draft: Draft) -> None:
    draft.change_json("encoder/modules.json", lambda modules: modules[0].update(type="evil.Transformer"))
    draft.fit()


@bad("artifact_untrusted")
def reranker_brings_a_pickle(draft: Draft) -> None:
    (draft.folder / "reranker" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    draft.fit()


@bad("artifact_corrupt")
def reranker_weights_are_not_numbers(draft: Draft) -> None:
    _change_weights(draft, "reranker", lambda words: words * float("nan"))
    draft.fit()
    fit_reranker(draft)


@bad("fingerprint_mismatch")
def reranker_weights_are_others(draft: Draft) -> None:
    _change_weights(draft, "reranker", lambda words: words[::-1])
    draft.fit()


@bad("fingerprint_mismatch")
def reranker_weights_are_others_and_the_fingerprint_fits(draft: Draft) -> None:
    _change_weights(draft, "reranker", lambda words: words[::-1])
    draft.fit()
    fit_reranker(draft)


@bad("fingerprint_mismatch")
def reranker_reads_less(draft: Draft) -> None:
    draft.change_manifest(lambda manifest: manifest["reranker"].update(max_tokens=8))


@bad("fingerprint_mismatch")
def reranker_weighs_more(draft: Draft) -> None:
    draft.change_manifest(lambda manifest: manifest["reranker"].update(weight=0.9))


@bad("artifact_corrupt")
def index_holds_the_vectors_in_another_order(draft: Draft) -> None:
    import faiss

    path = draft.folder / "index" / "faiss.index"
    before = faiss.read_index(str(path))
    after = faiss.IndexFlatIP(before.d)
    after.add(before.reconstruct_n(0, before.ntotal)[::-1].copy())
    faiss.write_index(after, str(path))
    draft.fit()


@bad("artifact_corrupt")
def rows_are_in_another_order(draft: Draft) -> None:
    draft.change("rows", lambda content: content[8:] + content[:8])
    draft.fit()


@bad("artifact_corrupt")
def vectors_are_others(draft: Draft) -> None:
    change_vectors(draft, lambda vectors: vectors[::-1])


def change_vectors(draft: Draft, change: Callable[[Any], Any]) -> None:
    """Change the vectors of the first segment, float32 [n, d], and make every hash fit."""
    import numpy as np

    path, record = draft.store / "segment-000000.f32", draft.store / "segment-000000.json"
    dim = draft.manifest["vectors"]["dim"]
    vectors = np.fromfile(path, dtype="<f4").reshape(-1, dim)
    draft.change_shared(path, np.ascontiguousarray(change(vectors)).tobytes())
    said = json.loads(record.read_bytes())
    draft.change_shared(record, json.dumps(said | {"vectors": asdict(storage.digest(path))}).encode())

    def fit(manifest: dict[str, Any]) -> None:
        digests = {"vectors": asdict(storage.digest(path)), "record": asdict(storage.digest(record))}
        manifest["vectors"]["segments"][0].update(digests)

    draft.change_manifest(fit)


@bad("artifact_corrupt")
def lexical_counts_are_others(draft: Draft) -> None:
    draft.change("lexical/frequencies.i32", lambda content: (9).to_bytes(4, "little") * (len(content) // 4))
    draft.fit()


@bad("artifact_corrupt")
def lexical_constants_are_others(draft: Draft) -> None:
    draft.change_json("lexical/bm25.json", lambda constants: constants.update(b=0.0))
    draft.fit()


@bad("artifact_corrupt")
def fusion_is_another(draft: Draft) -> None:
    draft.change_manifest(lambda manifest: manifest.update(fusion={"kind": "rrf", "constant": 7.0}))


@bad("artifact_corrupt")
def product_prices_are_others(draft: Draft) -> None:
    def cheaper(table: Any) -> Any:
        import pyarrow as pa

        column = table.schema.get_field_index("price")
        return table.set_column(column, "price", pa.array([0.01] * table.num_rows))

    change_products(draft, cheaper)


@bad("artifact_corrupt")
def product_ids_are_swapped(draft: Draft) -> None:
    def swapped(table: Any) -> Any:
        column = table.schema.get_field_index("product_id")
        return table.set_column(column, "product_id", table["product_id"].take(list(range(table.num_rows))[::-1]))

    change_products(draft, swapped)


@bad("artifact_untrusted")
def canary_is_missing(draft: Draft) -> None:
    (draft.folder / "canary.json").unlink()
    draft.fit()


@bad("artifact_corrupt")
def canary_holds_no_queries(draft: Draft) -> None:
    (draft.folder / "canary.json").write_text("{}")
    draft.fit()


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError, RecursionError):
        return False


def _count(draft: Draft) -> int:
    return int(json.loads((draft.folder / "index" / "index.json").read_bytes())["distinct"])


def _write_index(draft: Draft, make: Callable[[Any, int], Any], *, count: int) -> None:
    import faiss
    import numpy as np

    index = make(faiss, int(draft.manifest["vectors"]["dim"]))
    index.add(np.ones((count, index.d), dtype=np.float32))
    faiss.write_index(index, str(draft.folder / "index" / "faiss.index"))
    draft.fit()


def change_products(draft: Draft, change: Callable[[Any], Any]) -> None:
    """Change the table of products, a ``pyarrow.Table``, and make every hash fit."""
    import pyarrow.parquet as pq

    path = draft.folder / "products.parquet"
    table = pq.read_table(path)
    pq.write_table(change(table), path, compression="zstd", write_page_checksum=True)
    draft.fit()


def _change_weights(draft: Draft, model: str, change: Callable[[Any], Any]) -> None:
    """Change the word vectors of a model, float32 [v, d]."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    path = draft.folder / model / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    tensors[name] = np.ascontiguousarray(change(tensors[name]))
    save_file(tensors, path, metadata={"format": "pt"})


def fingerprint_of(draft: Draft) -> dict[str, str]:
    """Return the fingerprint of the encoder as it lies in the draft."""
    from retrieval.config import EncoderConfig, TextConfig
    from retrieval.fingerprint import tower_fingerprint
    from shortlist.stored import thaw

    manifest = draft.manifest
    text, encoder = thaw("text", manifest["text"], TextConfig), thaw("encoder", manifest["encoder"], EncoderConfig)
    return dict(tower_fingerprint(draft.folder / "encoder", encoder, text).fields)


def fit_reranker(draft: Draft) -> None:
    """Make the manifest say what the cross-encoder's fingerprint is now."""
    from rerank.config import CrossEncoderConfig
    from rerank.fingerprint import reranker_fingerprint
    from shortlist.stored import thaw

    config = thaw("reranker", draft.manifest["reranker"], CrossEncoderConfig)
    fingerprint = dict(reranker_fingerprint(draft.folder / "reranker", config).fields)
    draft.change_manifest(lambda manifest: manifest.update(reranker_fingerprint=fingerprint))
