"""What the journal says for a version: the rules, against a shop that lives through the same history."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexing.errors import ArtifactCorrupt
from retrieval.records import Product
from shortlist.living.journal import START, Position, Record
from shortlist.living.records import Change, Checkpoint, Delete, Restore, Upsert
from shortlist.living.standing import standing, standing_now

IDS = st.sampled_from(["a", "b", "c", "d"])
VECTOR = np.ones(1, dtype=np.float32)


def upsert(*product_ids: str, title: str = "t") -> Upsert:
    key = bytes(16)
    return Upsert("tower", tuple(Product(pid, title) for pid in product_ids), (key,) * len(product_ids), {key: VECTOR})


def records(*changes: Change) -> list[Record]:
    return [Record(Position(seq, f"sha-{seq}"), change) for seq, change in enumerate(changes, start=1)]


HISTORIES = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.sets(IDS, min_size=1)),
        st.tuples(st.just("delete"), st.sets(IDS, min_size=1)),
        st.tuples(st.just("build"), st.sets(IDS)),
        st.tuples(st.just("late build"), st.sets(IDS)),
        st.tuples(st.just("restoring build"), st.sets(IDS)),
    ),
    max_size=14,
)


@given(HISTORIES, st.integers(1, 14))
def test_the_last_word_on_a_product_decides_and_folding_changes_nothing(history, fold_at):
    changes: list[Change] = []
    begins = [0]  # of the versions: the last record when their builds began
    gone: dict[str, int] = {}  # the deletes that stand for the newest version, kept product by product
    for seq, (what, ids) in enumerate(history, start=1):
        if what == "upsert":
            changes.append(upsert(*sorted(ids), title=f"title {seq}"))
            for product_id in ids:
                gone.pop(product_id, None)
        elif what == "delete":
            changes.append(Delete(tuple(sorted(ids))))
            gone |= dict.fromkeys(ids, seq)
        else:  # published now; a late one began two records ago
            begins.append(max(seq - 3 if what == "late build" else seq - 1, begins[-1]))
            begun = standing(records(*changes[: begins[-1]]), journal_seq=begins[-1], where="")
            back = sorted(ids & begun.deleted.keys()) if what == "restoring build" else []
            changes.append(Restore(begins[-1], tuple(back)))
            for product_id in back:
                if gone.get(product_id, seq) <= begins[-1]:
                    del gone[product_id]
    journal = records(*changes)
    stands = standing(journal, journal_seq=begins[-1], where="the newest")
    assert stands.position == (journal[-1].position if journal else START)
    assert set(stands.deleted) == set(gone)
    for product_id in "abcd":
        words = [record for record in journal if product_id in said(record.change)]
        upserted = bool(words) and isinstance(words[-1].change, Upsert) and words[-1].position.seq > begins[-1]
        assert (product_id in stands.added) == upserted
        if upserted:
            assert stands.added[product_id].product.title == f"title {words[-1].position.seq}"
    needed_by = [begin for begin in begins if begin >= fold_at]
    if needed_by and fold_at <= len(journal):
        deleted = standing(journal[:fold_at], journal_seq=fold_at, where="").deleted
        folded = [Record(journal[fold_at - 1].position, Checkpoint(deleted)), *journal[fold_at:]]
        for begin in needed_by:
            before, after = (standing(known, journal_seq=begin, where="") for known in (journal, folded))
            assert (after.position, after.deleted, after.added) == (before.position, before.deleted, before.added)


def said(change: Change) -> set[str]:
    """Ids whose state a change settles by itself (a restore only lifts deletes)."""
    match change:
        case Upsert():
            return {product.product_id for product in change.products}
        case Delete():
            return set(change.product_ids)
    return set()


def stand(*changes: Change, journal_seq: int = 0) -> tuple[set[str], set[str]]:
    stands = standing(records(*changes), journal_seq=journal_seq, where="2026-version")
    return set(stands.added), set(stands.deleted)


def test_an_upsert_from_before_the_build_began_is_superseded_by_its_source():
    history = [upsert("a"), upsert("b"), Delete(("c",))]
    assert stand(*history, journal_seq=1) == ({"b"}, {"c"})
    assert stand(*history, journal_seq=3) == (set(), {"c"})
    assert standing_now(records(*history)) == standing(records(*history), journal_seq=3, where="")
    assert standing_now([]).position == START


def test_a_delete_from_before_the_build_began_stands():
    assert stand(Delete(("a",)), journal_seq=1) == (set(), {"a"})


def test_a_delete_during_a_build_stands_after_it_is_published():
    assert stand(upsert("a"), Delete(("a",)), journal_seq=0) == (set(), {"a"})
    assert stand(upsert("a"), Delete(("a",)), journal_seq=1) == (set(), {"a"})


def test_only_a_later_upsert_brings_a_deleted_product_back():
    assert stand(Delete(("a",)), upsert("a")) == ({"a"}, set())
    assert stand(upsert("a"), Delete(("a",)), upsert("b")) == ({"b"}, {"a"})


def test_a_rolled_back_version_sees_the_upserts_that_its_successor_has_in_its_source():
    history = [upsert("a"), Delete(("b",)), upsert("c")]
    assert stand(*history, journal_seq=2) == ({"c"}, {"b"})
    assert stand(*history, journal_seq=0) == ({"a", "c"}, {"b"})


def test_a_restore_lifts_earlier_deletes_for_versions_begun_since_and_for_no_older_one():
    history = [Delete(("a", "b")), Delete(("c",)), Restore(1, ("a", "c"))]
    assert stand(*history, journal_seq=1) == (set(), {"b", "c"})
    assert stand(*history, journal_seq=0) == (set(), {"a", "b", "c"})


def test_a_delete_after_the_restoring_build_began_stands():
    assert stand(Delete(("a",)), Delete(("a",)), Restore(1, ("a",)), journal_seq=1) == (set(), {"a"})


def test_a_journal_that_ends_before_the_version_began_is_refused():
    with pytest.raises(
        ArtifactCorrupt, match=r"2026-version was built from record 2 .*, which ends at 1: records were"
    ):
        stand(upsert("a"), journal_seq=2)


def test_a_version_that_needs_folded_records_is_refused():
    folded = [Record(Position(5, "sha-5"), Checkpoint({}))]
    with pytest.raises(ArtifactCorrupt, match="built from record 4 of the journal on, which was folded up to 5"):
        standing(folded, journal_seq=4, where="2026-version")
