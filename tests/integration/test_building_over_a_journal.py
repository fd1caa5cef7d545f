"""What a build does with the journal of its bundle: deleted products stay deleted, whatever the catalogue lists."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.products import ProductTable
from shortlist.building import steps
from shortlist.building.job import build
from shortlist.building.plan import plan
from shortlist.bundle import open_bundle
from shortlist.config import BuildConfig
from shortlist.living.journal import Journal, append_change
from shortlist.living.records import Delete, Restore

Compose = Callable[..., BuildConfig]


def held(root: Path) -> set[str]:
    """Ids in the live version, the journal left aside."""
    return set(ProductTable.open(open_bundle(root).folder / "products.parquet").product_ids)


def test_a_version_knows_the_last_record_that_there_was_when_its_build_began(
    bundle: Path, shop: Path, build_config: Compose, monkeypatch: pytest.MonkeyPatch
):
    assert open_bundle(bundle).manifest.journal_seq == 0
    append_change(bundle, Delete(("0001",)), purpose="test")
    ingest = steps.ingest

    def deleted_meanwhile(*arguments: object, **options: object) -> object:
        append_change(bundle, Delete(("0002",)), purpose="test")
        return ingest(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(steps, "ingest", deleted_meanwhile)
    report = build(build_config(), source=shop, out=bundle)
    assert open_bundle(bundle).manifest.journal_seq == 1
    assert (report.products, report.deleted) == (59, 1)
    assert "0002" in held(bundle)  # its delete came after the build began: it is applied at opening


def test_deleted_products_are_left_out_and_counted(bundle: Path, shop: Path, build_config: Compose):
    append_change(bundle, Delete(("0001", "0007", "unheard")), purpose="test")
    assert plan(build_config(), source=shop, out=bundle).deleted == 2
    report = build(build_config(), source=shop, out=bundle)
    assert (report.products, report.deleted, report.restored) == (58, 2, 0)
    assert held(bundle) & {"0001", "0007"} == set()
    (warning,) = [warning for warning in report.warnings if "--restore-deleted" in warning]
    assert warning.startswith("2 products of the catalogue were deleted from this bundle and are left out ('0001', ")
    record = open_bundle(bundle).manifest.catalogue
    assert (record["rows"], record["accepted"], record["deleted"], record["quarantined"]) == (60, 58, 2, 0)


def test_restoring_takes_them_back_and_says_so_in_the_journal(bundle: Path, shop: Path, build_config: Compose):
    append_change(bundle, Delete(("0001", "unheard")), purpose="test")
    assert plan(build_config(), source=shop, out=bundle, restore_deleted=True).products == 60
    report = build(build_config(), source=shop, out=bundle, restore_deleted=True)
    assert (report.products, report.deleted, report.restored) == (60, 0, 1)
    assert Journal(bundle).read()[-1].change == Restore(as_of=1, product_ids=("0001",))
    assert build(build_config(), source=shop, out=bundle).products == 60


def test_a_restoring_build_that_fails_leaves_the_deletes_standing(
    bundle: Path, shop: Path, build_config: Compose, monkeypatch: pytest.MonkeyPatch
):
    append_change(bundle, Delete(("0001",)), purpose="test")
    with monkeypatch.context() as patch:
        patch.setattr(steps, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build(build_config(), source=shop, out=bundle, restore_deleted=True)
    assert build(build_config(), source=shop, out=bundle).deleted == 1


def test_deleted_products_of_a_catalogue_with_vectors_take_their_vectors_with_them(
    tmp_path: Path, shop: Path, build_config: Compose
):
    source = tmp_path / "shop"
    source.mkdir()
    table = pq.read_table(shop / "products.parquet").slice(0, 5)
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.eye(5, dtype=np.float32).ravel()), 5)
    pq.write_table(table.append_column("vector", column), source / "products.parquet")
    append_change(tmp_path / "out", Delete(("0001",)), purpose="test")
    build(build_config("encoder=none", "index.recall_target=0"), source=source, out=tmp_path / "out")
    opened = open_bundle(tmp_path / "out")
    rows = np.fromfile(opened.folder / "rows", dtype="<i8")
    vectors = opened.open_vectors().view(rows).take(np.arange(4))
    assert vectors.tolist() == np.eye(5)[[0, 2, 3, 4]].tolist()


def test_the_command_line_brings_deleted_products_back(
    bundle: Path, shop: Path, tiny_model_folder: Path, run: Callable[..., tuple[int, str, str]]
):
    append_change(bundle, Delete(("0001",)), purpose="test")
    settings = ("index=flat", "runtime=default", f"encoder.model={tiny_model_folder}")
    words = ("build", "--source", shop, "--out", bundle, *settings)
    code, out, err = run(*words)
    assert code == 0
    assert "left out as deleted 1, restored 0" in out
    assert "shortlist build --restore-deleted" in err
    code, out, _ = run(*words, "--restore-deleted", "--json")
    assert (code, json.loads(out)["restored"]) == (0, 1)
