"""A bundle that corrects what shoppers mistype, and one that does not; what was searched is always said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.records import Product
from retrieval.spelling import Spelling
from shortlist import SearchEngine
from shortlist.building.job import build
from shortlist.bundle import open_bundle
from shortlist.caches import CacheConfig
from shortlist.cli import main
from shortlist.config import BuildConfig


@pytest.fixture
def bundle(build_config: Callable[..., BuildConfig], shop: Path, tmp_path: Path) -> Path:
    build(build_config("lexical.spelling=true"), source=shop, out=tmp_path / "bundle")
    return tmp_path / "bundle"


def same(one, other) -> bool:
    return [(hit.product_id, hit.score) for hit in one.hits] == [(hit.product_id, hit.score) for hit in other.hits]


def test_a_mistyped_query_has_the_answer_of_the_right_one(bundle: Path):
    engine = SearchEngine.open(bundle, device="cpu", cache=CacheConfig(answers=10))
    right, wrong, raw = (
        engine.search("wireless mouse"),
        engine.search("Wirless mouse"),
        engine.search("Wirless mouse", spelling=False),
    )
    assert (right.query, right.respelt) == ("wireless mouse", False)
    assert (wrong.query, wrong.respelt) == ("wireless mouse", True)
    assert (raw.query, raw.respelt) == ("Wirless mouse", False)
    assert same(wrong, right)
    assert not same(raw, right)
    many = engine.search_many(["Wirless mouse", "wireless mouse"])
    assert [(found.query, found.respelt) for found in many] == [("wireless mouse", True), ("wireless mouse", False)]
    product = right.hits[0].product_id
    assert engine.explain("wirless mouse", product).query == "wireless mouse"
    assert engine.explain("wirless mouse", product, spelling=False).query == "wirless mouse"
    with pytest.raises(TypeError, match="spelling must be True or False, got 'no'"):
        engine.search("mouse", spelling="no")  # type: ignore[arg-type]


def test_opening_does_what_the_first_misspelt_query_would_wait_for(bundle: Path, monkeypatch: pytest.MonkeyPatch):
    looked_for: list[str] = []
    near = Spelling._near
    monkeypatch.setattr(Spelling, "_near", lambda self, word: looked_for.append(word) or near(self, word))
    engine = SearchEngine.open(bundle, device="cpu")
    assert len(looked_for) == 1
    assert engine.search("wirless mouse").query == "wireless mouse"
    assert looked_for[1:] == ["wirless"]


def test_words_of_a_newer_product_are_known_at_once(bundle: Path):
    engine = SearchEngine.open(bundle, device="cpu")
    assert engine.search("theremine").query == "theremine"
    engine.upsert([Product("n1", "theremin"), Product("n2", "walnut theremin")])
    found = engine.search("theremine")
    assert (found.query, found.respelt) == ("theremin", True)
    assert {hit.product_id for hit in found.hits[:2]} == {"n1", "n2"}


def test_a_bundle_built_without_it_searches_for_what_was_typed(
    build_config: Callable[..., BuildConfig], shop: Path, tmp_path: Path
):
    build(build_config(), source=shop, out=tmp_path / "plain")
    found = SearchEngine.open(tmp_path / "plain", device="cpu").search("Wirless mouse")
    assert (found.query, found.respelt) == ("Wirless mouse", False)
    assert open_bundle(tmp_path / "plain").manifest.lexical["spelling"] is False


def test_the_command_line_says_what_it_searched(bundle: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["search", "wirless mouse", "--bundle", str(bundle)]) == 0
    assert "'wireless mouse' (corrected; spelling=false searches for what was typed) in " in capsys.readouterr().out
    assert main(["search", "wirless mouse", "--bundle", str(bundle), "spelling=false"]) == 0
    assert capsys.readouterr().out.startswith("'wirless mouse' in ")
