"""What a version answers from: indexes, products, and the canary that is asked of them."""

# ruff: noqa: ANN401 - what is put into files is of any type

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tools.reliability.harness.draft import Draft
from tools.reliability.harness.forging import change_products
from tools.reliability.harness.hostile_kinds.kind import CODE, PICKLE, HostileKind, on_bytes, on_json, on_part


def indexes() -> Iterator[HostileKind]:
    """Yield FAISS files, what is recorded of them, and the rows that they stand for."""
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
        yield on_bytes(
            f"{file} begins with {fourcc}", file, lambda content, fourcc=fourcc: fourcc.encode() + content[4:]
        )  # type: ignore[misc]
    for place, name in ((4, "dimension"), (8, "count"), (37, "length")):
        for number in (-1, 0, 2**31 - 1, 2**62):
            packed = struct.pack("<i", number % 2**31) if place == 4 else struct.pack("<q", number)
            yield on_bytes(
                f"{file}: {name} {number}",
                file,
                lambda content, place=place, packed=packed: content[:place] + packed + content[place + len(packed) :],  # type: ignore[misc]
            )
    yield on_bytes(f"{file} goes on behind its end", file, lambda content: content + PICKLE)
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
        yield on_bytes(
            f"index/distinct.i64 begins with {numbers}", "index/distinct.i64",
            lambda content, packed=packed: packed + content[len(packed) :],  # type: ignore[misc]
        )  # fmt: skip
        yield on_bytes(
            f"rows begin with {numbers}", "rows", lambda content, packed=packed: packed + content[len(packed) :]  # type: ignore[misc]
        )  # fmt: skip
    yield on_bytes("rows are one fewer", "rows", lambda content: content[8:])


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


def lexical() -> Iterator[HostileKind]:
    """Yield files of BM25."""
    for change in (
        {"products": -1}, {"products": True}, {"products": 2**62}, {"words": 2**62}, {"words": "x"}, {"postings": -1},
        {"format": 99}, {"words_version": 99}, {"postings": None},
    ):  # fmt: skip
        yield on_json("lexical/postings.json", lambda header, c=change: header.update(c), repr(change))
    for change in ({"k1": "x"}, {"b": 7}, {"k1": None}, {"k1": -1}, {"k1": 1e300}, {"b": 0.0}):
        yield on_json("lexical/bm25.json", lambda constants, c=change: constants.update(c), repr(change))
    for file, width in (("rows.i32", 4), ("frequencies.i32", 4), ("lengths.i32", 4), ("offsets.i64", 8)):
        for number in (-1, 2**31 - 1):
            packed = number.to_bytes(width, "little", signed=True)
            yield on_bytes(
                f"lexical/{file} begins with {number}", f"lexical/{file}",
                lambda content, packed=packed: packed + content[len(packed) :],  # type: ignore[misc]
            )  # fmt: skip
    vocabulary = {"not UTF-8": b"\xff\n", "one word": b"a\n", "the same word": b"a\n" * 12, "no line feed": b"a"}
    for what, content in vocabulary.items():
        yield on_bytes(f"lexical/vocabulary.txt is {what}", "lexical/vocabulary.txt", lambda _, c=content: c)  # type: ignore[misc]


def products() -> Iterator[HostileKind]:
    """Yield tables of products."""
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
        "a footer below nothing": b"PAR1" + struct.pack("<i", -1) + b"PAR1", "a pickle": PICKLE,
    }  # fmt: skip
    for what, content in contents.items():
        yield on_bytes(f"products.parquet is {what}", "products.parquet", lambda _, content=content: content)  # type: ignore[misc]


def canaries() -> Iterator[HostileKind]:
    """Yield canaries, and what the manifest says of them."""
    for change in (
        {"format": 2}, {"queries": []}, {"queries": "x"}, {"queries": [7]}, {"vectors": []}, {"vectors": [["x"]]},
        {"vectors": [[1.0]]}, {"searches": {}}, {"searches": []}, {"products": []}, {"products": {"p00": "x"}},
        {"products": {"nobody": "0" * 64}}, {"pairs": {}}, {"pairs": []}, {"pairs": [{"_target_": CODE[0]}]},
        {"pairs": [{"query": "a", "product_id": "nobody", "score": 0.0}]}, {"_target_": CODE[0]},
    ):  # fmt: skip
        yield on_json("canary.json", lambda canary, c=change: canary.update(c), repr(change))
    for change in (
        {"file": "../x"},
        {"file": ""},
        {"cosine": -1.0},
        {"cosine": 2.0},
        {"spread": 1e9},
        {"overlap": 0.0},
    ):
        yield on_part("canary", change)
