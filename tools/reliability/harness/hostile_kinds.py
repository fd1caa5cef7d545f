"""Configuration and artifact files that somebody made to be opened: each is one thing a bundle of ours never holds.

Every hash is made to fit, and where it can be the fingerprint too, so that what refuses is the check of the content.
Payloads name `sentinel_payload`, a module that writes a file when it is imported or called; nothing may touch it.
"""

# ruff: noqa: ANN401 - what is put into files is of any type

import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from indexing import storage
from indexing.errors import ShortlistError
from tools.reliability.harness.bad_candidates import (
    CURRENT,
    MANIFEST,
    Draft,
    change_products,
    fingerprint_of,
    fit_reranker,
)

PAYLOAD = "sentinel_payload"
CODE = (f"{PAYLOAD}.touch", "os.system", "builtins.exec", "subprocess.Popen")


@dataclass(frozen=True)
class HostileKind:
    """One kind.

    Attributes:
        name: What was done, for reports.
        harm: Does it to a draft.
        overrides: Words for the composition of a build's configuration, in place of ``harm``.
    """

    name: str
    harm: Callable[[Draft], None] | None = None
    overrides: tuple[str, ...] = field(default=())


def hostile_kinds() -> list[HostileKind]:
    """Return every kind, each with a name of its own."""
    parts = (_current, _manifest, _configurations, _json_forms, _modules, _settings, _weights, _tokenizers, _indexes)
    parts += (_lexical, _products, _canaries, _special_files, _overrides)
    return [kind for part in parts for kind in part()]


# --- CURRENT and the manifest -----------------------------------------------------------------------------------------


def _current() -> Iterator[HostileKind]:
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


def _manifest() -> Iterator[HostileKind]:
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
            yield _on_manifest(
                f"{name} is {value!r}", lambda manifest, name=name, value=value: manifest.update({name: value})
            )  # type: ignore[misc]
        yield _on_manifest(f"{name} is gone", lambda manifest, name=name: manifest.pop(name))  # type: ignore[misc]
    for value in ("1", 1.5, True, None, 2**70, -1, [1]):
        yield _on_manifest(f"format is {value!r}", lambda manifest, value=value: manifest.update(format=value))  # type: ignore[misc]
    for key in ("_target_", "__reduce__", "__class__", "hooks"):
        yield _on_manifest(f"the key {key}", lambda manifest, key=key: manifest.update({key: CODE[0]}))  # type: ignore[misc]
    digest = {"size_bytes": 1, "sha256": "0" * 64}
    names = ("../x", "/etc/passwd", "a/../b", "a\\b", ".hidden", "", "x" * 200, "a/b/c/d/e", "~/x", "C:/x", "a b")
    for name in (*names, f"{PAYLOAD}.py", "encoder/run.sh", "encoder/x.so", "encoder/model.pkl", "index/other.index"):
        yield _on_manifest(f"the file {name!r}", lambda manifest, name=name: manifest["files"].update({name: digest}))  # type: ignore[misc]
    digests = ({}, {"size_bytes": -1, "sha256": "0" * 64}, {"size_bytes": 1, "sha256": "../x"}, {"size_bytes": "1"}, 7)
    for wrong in digests:
        yield _on_manifest(f"a digest {wrong!r}", lambda manifest, wrong=wrong: manifest["files"].update(rows=wrong))  # type: ignore[misc]
    for store in ("../elsewhere", "/etc", "vectors/../..", "vectors/0000000000000000", 7):
        yield _on_manifest(
            f"the store {store!r}", lambda manifest, store=store: manifest["vectors"].update(store=store)
        )  # type: ignore[misc]
    for change in (
        {"name": "../segment-000000"},
        {"name": "segment-000001"},
        {"count": -1},
        {"count": 2**62},
        {"x": 1},
    ):
        yield _on_manifest(
            f"a segment with {change!r}",
            lambda manifest, change=change: manifest["vectors"]["segments"][0].update(change),  # type: ignore[misc]
        )
    for value in (0, -1, 2**31, 2**70, "8", 7.5):
        yield _on_manifest(f"dim is {value!r}", lambda manifest, value=value: manifest["vectors"].update(dim=value))  # type: ignore[misc]


def _on_manifest(name: str, change: Callable[[dict[str, Any]], object]) -> HostileKind:
    return HostileKind(f"manifest: {name}", lambda draft: draft.change_manifest(change))


def _configurations() -> Iterator[HostileKind]:
    """Yield configurations in the manifest that name code, hold keys of their own or values of another type."""
    for part in ("text", "encoder", "lexical", "fusion", "reranker"):
        for code in CODE:
            yield _on_part(part, {"kind": code})
        for key in ("_target_", "_partial_", "__class__"):
            yield _on_part(part, {key: CODE[0]})
        yield _on_part(part, {"kind": {"_target_": CODE[0]}})
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
            yield _on_part(part, value)


def _on_part(part: str, change: dict[str, Any]) -> HostileKind:
    return HostileKind(
        f"manifest: {part} with {change!r}",
        lambda draft: draft.change_manifest(lambda manifest: manifest[part].update(change)),
    )


def _json_forms() -> Iterator[HostileKind]:
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
            yield _on_bytes(f"{name} holds {form}", name, change)
    for form, change in forms.items():
        yield HostileKind(f"{MANIFEST} holds {form}", lambda draft, change=change: _rewrite_manifest(draft, change))  # type: ignore[misc]


def _rewrite_manifest(draft: Draft, change: Callable[[bytes], bytes]) -> None:
    draft.change(MANIFEST, change)
    digest = storage.digest(draft.folder / MANIFEST).sha256
    storage.replace_json(draft.root / CURRENT, {"manifest_sha256": digest, "version": draft.version})


def _on_bytes(name: str, file: str, change: Callable[[bytes], bytes]) -> HostileKind:
    def harm(draft: Draft) -> None:
        draft.change(file, change)
        draft.fit(index=file != "index/index.json")

    return HostileKind(name, harm)


# --- models -----------------------------------------------------------------------------------------------------------


def _on_json(file: str, change: Callable[[Any], object], what: str) -> HostileKind:
    """Return a kind that changes a JSON file and makes hashes and fingerprints fit."""

    def harm(draft: Draft) -> None:
        draft.change_json(file, change)
        _fit_all(draft)

    return HostileKind(f"{file}: {what}", harm)


def _fit_all(draft: Draft) -> None:
    draft.fit()
    with suppress(ShortlistError):  # what has no fingerprint keeps the old one, and opening refuses it before
        draft.fit_fingerprint(fingerprint_of(draft))
    with suppress(ShortlistError):
        fit_reranker(draft)


def _modules() -> Iterator[HostileKind]:
    """Yield lists of modules."""
    classes = (
        *CODE, f"{PAYLOAD}.Transformer", "transformers.AutoModel", "sentence_transformers.models.CLIPModel",
        "sentence_transformers..models.Pooling", f"sentence_transformers.models.Pooling;import {PAYLOAD}",
        "Transformer", "sentence_transformers.models.Transformer.__init__", "", None, 7,
    )  # fmt: skip
    for model in ("encoder", "reranker"):
        for name in classes:
            change = {"type": name}
            yield _on_json(f"{model}/modules.json", lambda modules, c=change: modules[1].update(c), f"class {name!r}")
        for path in ("../../../elsewhere", "/etc", "1_Pooling/../..", "1_Pooling/../../encoder"):
            change = {"path": path}
            yield _on_json(f"{model}/modules.json", lambda modules, c=change: modules[1].update(c), f"path {path!r}")
        yield _on_json(
            f"{model}/modules.json", lambda modules: modules[0].update(kwargs=["trust_remote_code"]), "kwargs"
        )
        yield _on_json(f"{model}/modules.json", lambda modules: modules.clear(), "no modules")
        yield _on_bytes(f"{model}/modules.json is an object", f"{model}/modules.json", lambda content: b'{"0": {}}')
        yield _on_bytes(f"{model}/modules.json holds texts", f"{model}/modules.json", lambda content: b'["x"]')


def _settings() -> Iterator[HostileKind]:
    """Yield settings that name code, or that libraries would act on in ways of their own."""
    named = {
        "AutoConfig": f"{PAYLOAD}.Config",
        "AutoModel": f"{PAYLOAD}.Model",
        "AutoTokenizer": [f"{PAYLOAD}.T", None],
    }
    network: tuple[dict[str, Any], ...] = (
        {"auto_map": named}, {"_attn_implementation_internal": f"kernels-community/{PAYLOAD}"}, {"_target_": CODE[0]},
        {"custom_pipelines": {"x": {"impl": f"{PAYLOAD}.Pipeline"}}}, {"quantization_config": {"quant_method": "bnb"}},
        {"model_type": "lightglue"}, {"model_type": PAYLOAD}, {"model_type": None}, {"model_type": ["bert"]},
        {"architectures": [f"{PAYLOAD}.Model"]}, {"architectures": "BertModel"}, {"hidden_act": CODE[0]},
        {"trust_remote_code": True}, {"text_config": {"auto_map": named}}, {"layers": [{"_target_": CODE[0]}]},
        {"vision_config": {"model_type": "x", "code": "os.system"}}, {"_private": 1},
        {"max_position_embeddings": "x"}, {"hidden_size": -1}, {"num_hidden_layers": 10**9}, {"vocab_size": 2**40},
        {"hidden_act": "no such activation"}, {"num_attention_heads": 3},
    )  # fmt: skip
    for model in ("encoder", "reranker"):
        for change in network:
            yield _on_json(f"{model}/config.json", lambda config, c=change: config.update(c), repr(change))
        for change in (
            {"auto_map": named}, {"tokenizer_class": f"{PAYLOAD}.Tokenizer"}, {"tokenizer_class": 7},
            {"processor_class": CODE[1]}, {"_target_": CODE[0]}, {"extra": {"auto_map": named}},
        ):  # fmt: skip
            yield _on_json(f"{model}/tokenizer_config.json", lambda config, c=change: config.update(c), repr(change))
        for change in (
            {"model_args": {"trust_remote_code": True}}, {"tokenizer_args": {"use_fast": False}},
            {"model_kwargs": {"attn_implementation": "x"}}, {"config_kwargs": {"x": 1}}, {"processor_kwargs": {"x": 1}},
            {"processing_kwargs": {"text": {"x": 1}}}, {"_target_": CODE[0]}, {"modality_config": {"text": CODE[0]}},
            {"modality_config": {"text": {"method": "push_to_hub", "method_output_name": None}}},
            {"modality_config": {"text": {"method": "save_pretrained"}}}, {"modality_config": [1]},
            {"modality_config": {"text": {"method": "forward", "method_output_name": 7}}},
        ):  # fmt: skip
            yield _on_json(
                f"{model}/sentence_bert_config.json", lambda config, c=change: config.update(c), repr(change)
            )
        for name in ("adapter_config.json", "sentence_roberta_config.json", "processor_config.json"):
            content = json.dumps({"base_model_name_or_path": "/elsewhere", "auto_map": named}).encode()
            yield _with_file(f"{model}/{name}", content, without=f"{model}/sentence_bert_config.json")
        for name in ("activation_fn", "similarity_fn_name"):
            for code in (*CODE, "torch.hub.load", "torch.utils.collect_env.main"):
                change = {name: code}
                yield _on_json(
                    f"{model}/config_sentence_transformers.json",
                    lambda config, c=change: config.update(c),
                    repr(change),
                )
    for change in ({"prompts": "x"}, {"prompts": {"query": 7}}, {"truncate_dim": "4"}, {"prompts": [1]}):
        yield _on_json(
            "encoder/config_sentence_transformers.json", lambda config, c=change: config.update(c), repr(change)
        )
    for change in (
        {"embedding_dimension": "x"},
        {"embedding_dimension": None},
        {"pooling_mode": 7},
        {"pooling_mode": "x"},
    ):
        yield _on_json("encoder/1_Pooling/config.json", lambda config, c=change: config.update(c), repr(change))
    for code in (*CODE, "torch.hub.load", "torch.nn.functional.relu", "torch.nn.modules.activation.__import__"):
        change = {"activation_function": code}
        yield _on_json("reranker/2_Dense/config.json", lambda config, c=change: config.update(c), repr(change))


def _with_file(name: str, content: bytes, *, without: str = "") -> HostileKind:
    def harm(draft: Draft) -> None:
        if without:
            (draft.folder / without).unlink()
        (draft.folder / name).write_bytes(content)
        draft.fit()

    return HostileKind(f"{name} is there", harm)


def _weights() -> Iterator[HostileKind]:
    """Yield files of weights that are none, or that are not the network's."""
    for model in ("encoder", "reranker"):
        for suffix in ("bin", "pt", "pth", "pt2", "ckpt", "pkl", "joblib", "npy", "npz", "PKL"):
            yield _with_file(f"{model}/1_Pooling/weights.{suffix}", _pickle())
        for suffix in ("py", "so", "sh", "onnx", "jinja", "yaml"):
            yield _with_file(f"{model}/run.{suffix}", b"x")
        contents = {
            "a pickle": _pickle(), "nothing": b"", "eight bytes": b"\0" * 8,
            "a header of a terabyte": struct.pack("<Q", 2**40) + b"{}",
            "a header of text": struct.pack("<Q", 4) + b"abcd",
            "a zip": b"PK\x03\x04" + b"\0" * 60, "no tensors": struct.pack("<Q", 2) + b"{}",
            "a tensor outside": _header({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
            "tensors over each other": _header(
                {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in "ab"}, b"\0" * 4
            ),
        }  # fmt: skip
        for what, content in contents.items():
            yield _on_weights(model, what, lambda _, content=content: content)  # type: ignore[misc]
        yield _on_weights(model, "NaN", lambda path: _saved(path, lambda name, tensor: tensor * np.nan))
        yield _on_weights(model, "zeros", lambda path: _saved(path, lambda name, tensor: tensor * 0))
        yield _on_weights(model, "other shapes", lambda path: _saved(path, lambda name, tensor: tensor[..., :1]))
        yield _on_weights(
            model, "other numbers", lambda path: _saved(path, lambda name, tensor: np.flip(tensor, axis=0).copy())
        )
        yield _on_weights(model, "other names", lambda path: _saved(path, lambda name, tensor: tensor, prefix="x."))


def _on_weights(model: str, what: str, make: Callable[[Path], bytes]) -> HostileKind:
    def harm(draft: Draft) -> None:
        path = draft.folder / model / "model.safetensors"
        path.write_bytes(make(path))
        _fit_all(draft)

    return HostileKind(f"{model}/model.safetensors holds {what}", harm)


def _saved(path: Path, change: Callable[[str, Any], Any], prefix: str = "") -> bytes:
    from safetensors.numpy import load_file, save

    tensors = {f"{prefix}{name}": change(name, tensor) for name, tensor in load_file(path).items()}
    return bytes(save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, {"format": "pt"}))


def _header(entries: dict[str, Any], content: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + content


def _pickle() -> bytes:
    """Return a pickle that imports and calls the payload when it is read."""
    return f"c{PAYLOAD}\ntouch\n(tR.".encode()


def _tokenizers() -> Iterator[HostileKind]:
    for model in ("encoder", "reranker"):
        file = f"{model}/tokenizer.json"
        for what, content in {"nothing": b"", "a list": b"[]", "an object": b"{}", "a pickle": _pickle()}.items():
            yield _on_bytes(f"{file} holds {what}", file, lambda _, content=content: content)  # type: ignore[misc]
        for what, change in {
            "numbers beyond the network": lambda t: t["model"].update(
                vocab={w: n + 999 for w, n in t["model"]["vocab"].items()}
            ),
            "other numbers": lambda t: t["model"].update(vocab=_rotated(t["model"]["vocab"])),
            "an unknown kind": lambda t: t["model"].update(type="Evil"),
            "no model": lambda t: t.pop("model"),
            "no lower-casing": lambda t: t["normalizer"].update(lowercase=False, clean_text="x"),
        }.items():
            yield _on_json(file, change, what)


def _rotated(vocabulary: dict[str, int]) -> dict[str, int]:
    words = [word for word in vocabulary if not word.startswith("[")]
    numbers = [vocabulary[word] for word in words]
    return vocabulary | dict(zip(words, numbers[1:] + numbers[:1], strict=True))


# --- indexes, products, canary ----------------------------------------------------------------------------------------


def _indexes() -> Iterator[HostileKind]:
    file = "index/faiss.index"
    for fourcc in (
        "IxF2",
        "IxFl",
        "IxMp",
        "IxM2",
        "IwFl",
        "IxPQ",
        "IxSQ",
        "IxPT",
        "IHNs",
        "IBxF",
        "IBwF",
        "Imiq",
        "ilod",
    ):
        yield _on_bytes(
            f"{file} begins with {fourcc}", file, lambda content, fourcc=fourcc: fourcc.encode() + content[4:]
        )  # type: ignore[misc]
    for place, name in ((4, "dimension"), (8, "count"), (37, "length")):
        for number in (-1, 0, 2**31 - 1, 2**62):
            packed = struct.pack("<i", number % 2**31) if place == 4 else struct.pack("<q", number)
            yield _on_bytes(
                f"{file}: {name} {number}",
                file,
                lambda content, place=place, packed=packed: content[:place] + packed + content[place + len(packed) :],  # type: ignore[misc]
            )
    yield _on_bytes(f"{file} goes on behind its end", file, lambda content: content + _pickle())
    yield HostileKind(f"{file} has its lists in another file", _lists_elsewhere)
    for change in (
        {"kind": CODE[0]}, {"kind": "hnsw"}, {"kind": ["flat"]}, {"parameters": {"ef_search": 1}}, {"parameters": "x"},
        {"count": -1}, {"count": 2**62}, {"count": "12"}, {"distinct": 0}, {"distinct": "x"}, {"distinct": 2**62},
        {"dim": 0}, {"dim": 2**40}, {"threads": "1"}, {"files": {}}, {"files": {"../x": 1}}, {"_target_": CODE[0]},
        {"format": 2}, {"faiss": 7},
    ):  # fmt: skip
        if change != {"_target_": CODE[0]}:  # a key more is for people: nothing reads it
            yield _on_index_record(change)
    for numbers in ((-1,), (2**40,), (11, 11)):
        packed = struct.pack(f"<{len(numbers)}q", *numbers)
        yield _on_bytes(
            f"index/distinct.i64 begins with {numbers}", "index/distinct.i64",
            lambda content, packed=packed: packed + content[len(packed) :],  # type: ignore[misc]
        )  # fmt: skip
        yield _on_bytes(
            f"rows begin with {numbers}", "rows", lambda content, packed=packed: packed + content[len(packed) :]  # type: ignore[misc]
        )  # fmt: skip
    yield _on_bytes("rows are one fewer", "rows", lambda content: content[8:])


def _on_index_record(change: dict[str, Any]) -> HostileKind:
    def harm(draft: Draft) -> None:
        draft.fit()
        draft.change_json("index/index.json", lambda record: record.update(change))
        draft.fit(index=False)

    return HostileKind(f"index/index.json with {change!r}", harm)


def _lists_elsewhere(draft: Draft) -> None:
    """Write an inverted file whose lists FAISS would open by path, for writing."""
    import faiss

    dim = int(draft.manifest["vectors"]["dim"])
    rows = np.random.default_rng(0).normal(size=(64, dim)).astype(np.float32)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, 2, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    elsewhere = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(draft.root.parent / "lists"))
    elsewhere.merge_from_1(index.invlists)
    index.replace_invlists(elsewhere, False)
    faiss.write_index(index, str(draft.folder / "index" / "faiss.index"))
    draft.fit()


def _lexical() -> Iterator[HostileKind]:
    for change in (
        {"products": -1}, {"products": True}, {"products": 2**62}, {"words": 2**62}, {"words": "x"}, {"postings": -1},
        {"format": 99}, {"words_version": 99}, {"postings": None},
    ):  # fmt: skip
        yield _on_json("lexical/postings.json", lambda header, c=change: header.update(c), repr(change))
    for change in ({"k1": "x"}, {"b": 7}, {"k1": None}, {"k1": -1}, {"k1": 1e300}, {"b": 0.0}):
        yield _on_json("lexical/bm25.json", lambda constants, c=change: constants.update(c), repr(change))
    for file, width in (("rows.i32", 4), ("frequencies.i32", 4), ("lengths.i32", 4), ("offsets.i64", 8)):
        for number in (-1, 2**31 - 1):
            packed = number.to_bytes(width, "little", signed=True)
            yield _on_bytes(
                f"lexical/{file} begins with {number}", f"lexical/{file}",
                lambda content, packed=packed: packed + content[len(packed) :],  # type: ignore[misc]
            )  # fmt: skip
    vocabulary = {"not UTF-8": b"\xff\n", "one word": b"a\n", "the same word": b"a\n" * 12, "no line feed": b"a"}
    for what, content in vocabulary.items():
        yield _on_bytes(f"lexical/vocabulary.txt is {what}", "lexical/vocabulary.txt", lambda _, c=content: c)  # type: ignore[misc]


def _products() -> Iterator[HostileKind]:
    import pyarrow as pa

    def replaced(name: str, values: Any) -> Callable[[Any], Any]:
        def change(table: Any) -> Any:
            return table.set_column(table.schema.get_field_index(name), name, values(table))

        return change

    ids = "product_id"
    changes: dict[str, Callable[[Any], Any]] = {
        "without ids": replaced(ids, lambda table: pa.nulls(table.num_rows, pa.string())),
        "with one id": replaced(ids, lambda table: pa.array(["a"] * table.num_rows)),
        "with numbers for ids": replaced(ids, lambda table: pa.array(range(table.num_rows))),
        "with other titles": replaced("title", lambda table: pa.array(["a"] * table.num_rows)),
        "with lists for titles": replaced("title", lambda table: pa.array([["a"]] * table.num_rows)),
        "without titles": lambda table: table.drop_columns(["title"]),
        "without rows": lambda table: table.slice(0, 0),
        "twice as long": lambda table: pa.concat_tables([table, table]),
        "without metadata": lambda table: table.replace_schema_metadata({}),
        "of another format": lambda table: table.replace_schema_metadata({"shortlist.products": "99"}),
        "with structs": lambda table: table.append_column("x", pa.array([{"a": 1}] * table.num_rows)),
        "with an extension type": lambda table: table.append_column(
            "x", pa.array([b"0" * 16] * table.num_rows, pa.uuid())
        ),
        "with two columns of one name": lambda table: table.append_column("title", table["title"]),
    }
    for what, change in changes.items():
        yield HostileKind(f"products.parquet {what}", lambda draft, change=change: change_products(draft, change))  # type: ignore[misc]
    contents = {
        "an Arrow file": b"ARROW1\0\0" + b"\0" * 64 + b"ARROW1", "encrypted": b"PARE" + b"\0" * 64 + b"PARE",
        "a footer of 2 GiB": b"PAR1" + b"\0" * 64 + struct.pack("<i", 2**31 - 1) + b"PAR1", "empty": b"",
        "a footer below nothing": b"PAR1" + struct.pack("<i", -1) + b"PAR1", "a pickle": _pickle(),
    }  # fmt: skip
    for what, content in contents.items():
        yield _on_bytes(f"products.parquet is {what}", "products.parquet", lambda _, content=content: content)  # type: ignore[misc]


def _canaries() -> Iterator[HostileKind]:
    for change in (
        {"format": 2}, {"queries": []}, {"queries": "x"}, {"queries": [7]}, {"vectors": []}, {"vectors": [["x"]]},
        {"vectors": [[1.0]]}, {"searches": {}}, {"searches": []}, {"products": []}, {"products": {"p00": "x"}},
        {"products": {"nobody": "0" * 64}}, {"pairs": {}}, {"pairs": []}, {"pairs": [{"_target_": CODE[0]}]},
        {"pairs": [{"query": "a", "product_id": "nobody", "score": 0.0}]}, {"_target_": CODE[0]},
    ):  # fmt: skip
        yield _on_json("canary.json", lambda canary, c=change: canary.update(c), repr(change))
    for change in (
        {"file": "../x"},
        {"file": ""},
        {"cosine": -1.0},
        {"cosine": 2.0},
        {"spread": 1e9},
        {"overlap": 0.0},
    ):
        yield _on_part("canary", change)


# --- files that are no files, and the command line --------------------------------------------------------------------


def _special_files() -> Iterator[HostileKind]:
    for name in ("rows", "products.parquet", "index/faiss.index", "encoder/model.safetensors", "canary.json", MANIFEST):
        yield HostileKind(
            f"{name} is a link to /etc/passwd", lambda draft, name=name: _link(draft, name, "/etc/passwd")
        )  # type: ignore[misc]
        yield HostileKind(f"{name} is a link to itself", lambda draft, name=name: _link(draft, name, name))  # type: ignore[misc]
        yield HostileKind(f"{name} is a pipe", lambda draft, name=name: _pipe(draft, name))  # type: ignore[misc]
        yield HostileKind(f"{name} is a folder", lambda draft, name=name: _folder(draft, name))  # type: ignore[misc]
    for name in ("encoder", "index", "lexical"):
        yield HostileKind(f"{name}/ lies elsewhere", lambda draft, name=name: _moved(draft, draft.folder / name))  # type: ignore[misc]
    yield HostileKind("the version lies elsewhere", lambda draft: _moved(draft, draft.folder))
    yield HostileKind("a manifest of 100 MB", lambda draft: os.truncate(draft.folder / MANIFEST, 100 << 20))
    yield HostileKind("CURRENT of 100 MB", lambda draft: os.truncate(draft.root / CURRENT, 100 << 20))


def _link(draft: Draft, name: str, target: str) -> None:
    (draft.folder / name).unlink()
    (draft.folder / name).symlink_to(target)


def _pipe(draft: Draft, name: str) -> None:
    (draft.folder / name).unlink()
    os.mkfifo(draft.folder / name)


def _folder(draft: Draft, name: str) -> None:
    (draft.folder / name).unlink()
    (draft.folder / name).mkdir()


def _moved(draft: Draft, folder: Path) -> None:
    elsewhere = draft.root.parent / f"elsewhere-{folder.name}"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)


def _overrides() -> Iterator[HostileKind]:
    words = (
        f"+_target_={CODE[0]}", f"text._target_={CODE[0]}", f"encoder={{_target_:{CODE[0]}}}",
        f"++encoder._target_={CODE[0]}",
        f"index._partial_={CODE[0]}", "catalog=../../../etc/passwd", "catalog=/etc/passwd", "encoder=minilm@os",
        "hydra.searchpath=[file:///tmp]", f"hydra.callbacks.x._target_={CODE[0]}", "hydra.run.dir=/tmp/elsewhere",
        f"+hydra.job_logging._target_={CODE[0]}", "hydra/launcher=basic", "~hydra.job", "~encoder", "defaults=[x]",
        "encoder.query_prompt=${oc.env:HOME}", "encoder.model=${oc.env:HOME}", "text.fields=[${oc.env:HOME}]",
        "catalog.name=${oc.decode:x}", "encoder.query_prompt=${now:%Y}", f"+x=!!python/object/apply:{CODE[0]} []",
        "text.fields=7", "text.max_chars=x", "index.links=1e999", "index@text=hnsw", "+encoder@_global_=minilm",
        "segment_texts=-1", "canary_cosine=nan", "fusion.dense=inf",
    )  # fmt: skip
    for word in words:
        yield HostileKind(f"override {word}", overrides=(word,))
