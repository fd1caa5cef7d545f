"""Harm on purpose: one thing is another, and every hash is made to fit."""

# ruff: noqa: ANN401, D103 - tables are untyped here; the names of the kinds say what is wrong with them

import json
from typing import Any

from indexing import storage
from tools.reliability.harness.bad_candidates.kind import BadCandidate, listing
from tools.reliability.harness.draft import CURRENT, Draft
from tools.reliability.harness.forging import (
    change_products,
    change_vectors,
    change_weights,
    fingerprint_of,
    fit_reranker,
    indexed_count,
    write_index,
)

FORGERIES: list[BadCandidate] = []

bad = listing(FORGERIES)


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
    write_index(draft, lambda faiss, dim: faiss.IndexFlatL2(dim), count=indexed_count(draft))


@bad("artifact_corrupt")
def index_has_another_dimension(draft: Draft) -> None:
    write_index(draft, lambda faiss, dim: faiss.IndexFlatIP(dim // 2), count=indexed_count(draft))


@bad("artifact_corrupt")
def index_holds_fewer_vectors(draft: Draft) -> None:
    write_index(draft, lambda faiss, dim: faiss.IndexFlatIP(dim), count=indexed_count(draft) - 1)


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
    change_weights(draft, "encoder", lambda words: words[::-1])
    draft.fit()


@bad("fingerprint_mismatch")
def encoder_weights_are_others_and_the_fingerprint_fits(draft: Draft) -> None:
    change_weights(draft, "encoder", lambda words: words[::-1])
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
    change_weights(draft, "reranker", lambda words: words * float("nan"))
    draft.fit()
    fit_reranker(draft)


@bad("fingerprint_mismatch")
def reranker_weights_are_others(draft: Draft) -> None:
    change_weights(draft, "reranker", lambda words: words[::-1])
    draft.fit()


@bad("fingerprint_mismatch")
def reranker_weights_are_others_and_the_fingerprint_fits(draft: Draft) -> None:
    change_weights(draft, "reranker", lambda words: words[::-1])
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
