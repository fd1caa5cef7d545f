"""CURRENT and the manifest: what they hold, name and list, and the configurations that lie in them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from indexing import storage
from tools.reliability.harness.draft import CURRENT, MANIFEST, Draft
from tools.reliability.harness.hostile_kinds.kind import CODE, PAYLOAD, HostileKind, on_bytes, on_manifest, on_part


def current() -> Iterator[HostileKind]:
    """Yield files CURRENT."""
    values: dict[str, Any] = {
        "a list": [], "a number": 7, "null": None, "text": "x", "nothing": {}, "one key": {"version": "x"},
        "a third key": {"manifest_sha256": "0" * 64, "version": "x", "_target_": CODE[0]},
        "numbers": {"manifest_sha256": 1, "version": 2},
    }  # fmt: skip
    for name, value in values.items():
        yield HostileKind(f"CURRENT holds {name}", lambda draft, value=value: _write_current(draft, json.dumps(value)))  # type: ignore[misc]
    versions = ("../../etc", "/etc", "..", "", "a\0b", "2026-11-22T131200Z-9f3c1a/..", "２０２６-11-22T131200Z-9f3c1a")
    for version in (*versions, "2026-11-22T131200Z-9f3c1a\n"):
        yield HostileKind(f"CURRENT names {version!r}", lambda draft, version=version: _point_at(draft, version))  # type: ignore[misc]
    texts = {"YAML": f"!!python/object/apply:{CODE[0]} []\n", "a byte order mark": "\ufeff{}", "UTF-16": "{}\n"}
    for name, text in texts.items():
        encoding = "utf-16" if name == "UTF-16" else "utf-8"
        yield HostileKind(
            f"CURRENT is {name}",
            lambda draft, text=text, encoding=encoding: _write_current(draft, text, encoding),  # type: ignore[misc]
        )


def _write_current(draft: Draft, text: str, encoding: str = "utf-8") -> None:
    (draft.root / CURRENT).write_bytes(text.encode(encoding))


def _point_at(draft: Draft, version: str) -> None:
    current = json.loads((draft.root / CURRENT).read_bytes())
    storage.replace_json(draft.root / CURRENT, current | {"version": version})


def fields() -> Iterator[HostileKind]:
    """Yield manifests with other fields, files, digests, segments and numbers."""
    for name in (
        "created",
        "text",
        "encoder",
        "fingerprint",
        "vectors",
        "index",
        "fusion",
        "reranker",
        "canary",
        "files",
    ):
        for value in ([], "x", 7):
            yield on_manifest(
                f"{name} is {value!r}", lambda manifest, name=name, value=value: manifest.update({name: value})
            )  # type: ignore[misc]
        yield on_manifest(f"{name} is gone", lambda manifest, name=name: manifest.pop(name))  # type: ignore[misc]
    for value in ("1", 1.5, True, None, 2**70, -1, [1]):
        yield on_manifest(f"format is {value!r}", lambda manifest, value=value: manifest.update(format=value))  # type: ignore[misc]
    for key in ("_target_", "__reduce__", "__class__", "hooks"):
        yield on_manifest(f"the key {key}", lambda manifest, key=key: manifest.update({key: CODE[0]}))  # type: ignore[misc]
    digest = {"size_bytes": 1, "sha256": "0" * 64}
    names = ("../x", "/etc/passwd", "a/../b", "a\\b", ".hidden", "", "x" * 200, "a/b/c/d/e", "~/x", "C:/x", "a b")
    for name in (*names, f"{PAYLOAD}.py", "encoder/run.sh", "encoder/x.so", "encoder/model.pkl", "index/other.index"):
        yield on_manifest(f"the file {name!r}", lambda manifest, name=name: manifest["files"].update({name: digest}))  # type: ignore[misc]
    digests = ({}, {"size_bytes": -1, "sha256": "0" * 64}, {"size_bytes": 1, "sha256": "../x"}, {"size_bytes": "1"}, 7)
    for wrong in digests:
        yield on_manifest(f"a digest {wrong!r}", lambda manifest, wrong=wrong: manifest["files"].update(rows=wrong))  # type: ignore[misc]
    for store in ("../elsewhere", "/etc", "vectors/../..", "vectors/0000000000000000", 7):
        yield on_manifest(f"the store {store!r}", lambda manifest, store=store: manifest["vectors"].update(store=store))  # type: ignore[misc]
    for change in (
        {"name": "../segment-000000"},
        {"name": "segment-000001"},
        {"count": -1},
        {"count": 2**62},
        {"x": 1},
    ):
        yield on_manifest(
            f"a segment with {change!r}",
            lambda manifest, change=change: manifest["vectors"]["segments"][0].update(change),  # type: ignore[misc]
        )
    for value in (0, -1, 2**31, 2**70, "8", 7.5):
        yield on_manifest(f"dim is {value!r}", lambda manifest, value=value: manifest["vectors"].update(dim=value))  # type: ignore[misc]


def configurations() -> Iterator[HostileKind]:
    """Yield configurations in the manifest that name code, hold keys of their own or values of another type."""
    for part in ("text", "encoder", "lexical", "fusion", "reranker"):
        for code in CODE:
            yield on_part(part, {"kind": code})
        for key in ("_target_", "_partial_", "__class__"):
            yield on_part(part, {key: CODE[0]})
        yield on_part(part, {"kind": {"_target_": CODE[0]}})
    changes: dict[str, tuple[dict[str, Any], ...]] = {
        "text": ({"fields": "title"}, {"fields": [7]}, {"separator": None}, {"max_chars": "9"}, {"labels": "yes"},
                 {"fields": ["${oc.env:HOME}"]}, {"max_attributes": -1}, {"fields": []}),
        "encoder": ({"query_prompt": 7}, {"query_prompt": "${oc.env:HOME}"}, {"query_max_tokens": "9"},
                    {"query_max_tokens": 2**40}, {"product_prompt": ["x"]}),
        "lexical": ({"k1": "x"}, {"b": 9.0}, {"k1": True}),
        "fusion": ({"dense": -1.0}, {"source_depth": 0}, {"dense": "1"}, {"source_depth": 1.5}),
        "reranker": ({"max_tokens": "9"}, {"weight": "1"}, {"weight": 9.0}, {"max_tokens": 2**40}),
    }  # fmt: skip
    for part, values in changes.items():
        for value in values:
            yield on_part(part, value)


def json_forms() -> Iterator[HostileKind]:
    """Yield JSON that parsers read differently or that hurts them, in the manifest and in files it lists."""
    forms: dict[str, Callable[[bytes], bytes]] = {
        "a key that comes twice": lambda content: content.replace(b"{", b'{"format": 1, "format": 1,', 1),
        "NaN": lambda content: content.replace(b"{", b'{"x": NaN,', 1),
        "Infinity": lambda content: content.replace(b"{", b'{"x": -Infinity,', 1),
        "1e999": lambda content: content.replace(b"{", b'{"x": 1e999,', 1),
        "a number of 5,000 digits": lambda content: content.replace(b"{", b'{"x": ' + b"9" * 5000 + b",", 1),
        "a hundred thousand brackets": lambda content: b"[" * 100_000,
        "YAML": lambda content: f"!!python/object/apply:{CODE[0]} []\n".encode(),
        "UTF-16": lambda content: content.decode().encode("utf-16"),
        "lone surrogates": lambda content: content.replace(b"{", b'{"\xed\xa0\x80": 1,', 1),
    }
    for name in ("index/index.json", "lexical/postings.json", "canary.json"):
        for form, change in forms.items():
            yield on_bytes(f"{name} holds {form}", name, change)
    for form, change in forms.items():
        yield HostileKind(f"{MANIFEST} holds {form}", lambda draft, change=change: _rewrite_manifest(draft, change))  # type: ignore[misc]


def _rewrite_manifest(draft: Draft, change: Callable[[bytes], bytes]) -> None:
    draft.change(MANIFEST, change)
    digest = storage.digest(draft.folder / MANIFEST).sha256
    storage.replace_json(draft.root / CURRENT, {"manifest_sha256": digest, "version": draft.version})
