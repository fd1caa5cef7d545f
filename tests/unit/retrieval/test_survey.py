import json
import subprocess
import sys
from collections import Counter

import pytest

from indexing.errors import SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import BadRows, FileFormat, TabularCatalog, TextConfig
from retrieval.survey import LengthStatistics, length_statistics, survey, token_warnings
from retrieval.text import TextTemplate
from retrieval.tokens import TokenCounter, TokenCounts

LINES = """{"product_id": "1", "title": "red mouse", "price": 9.5, "brand": "Norvik", "stars": 4, "vector": [1, 0]}
{"product_id": "2", "title": "red mouse", "price": 3, "attributes": {"colour": "red"}, "stars": null, "vector": [0, 2]}
{"product_id": "2", "title": "again", "vector": [1, 0]}
{"product_id": "3", "title": "blue mouse", "category": "computers", "vector": [0, 1]}
{"product_id": "4", "title": " ", "vector": [0, 1]}
oops
{"product_id": "5", "title": "lamp", "brand": "x", "vector": [0, 1]}
"""


def catalog(folder, lines=LINES, **settings):
    (folder / "products.jsonl").write_text(lines, encoding="utf-8")
    config = {
        "name": "shop",
        "products": "products.jsonl",
        "format": FileFormat.jsonl,
        "on_bad_rows": BadRows.quarantine,
    }
    return open_catalog(TabularCatalog(**(config | settings)), folder)


def look(folder, counter=None, lines=LINES, text=None, **settings):
    return survey(catalog(folder, lines, **settings), TextTemplate(text or TextConfig()), counter)


def test_survey_counts_what_is_there_and_what_is_missing(tmp_path):
    found = look(tmp_path, keep=["stars"])
    assert (found.name, found.dim, found.price_range) == ("shop", 2, (3.0, 9.5))
    assert (found.report.rows, found.report.accepted, found.report.quarantined) == (7, 4, 3)
    assert found.duplicates == 1
    assert found.empty_shares == {
        "description": 1.0,
        "brand": 0.5,
        "category": 0.75,
        "attributes": 0.75,
        "price": 0.5,
        "stars": 0.75,
    }
    assert (found.empty_texts, found.shared_texts) == (0, 1)
    assert (found.tokens, found.lengths) == (None, None)


def test_survey_says_in_words_what_the_owner_should_know(tmp_path):
    assert look(tmp_path, fields={"brand": "maker"}).warnings == (
        "3 of 7 rows are set aside: product_id: duplicate (1), row: not JSON (1), title: empty (1)",
        "no row has the configured column 'maker'",
        "1 vectors were not of unit length and were scaled to it",
    )


def test_survey_of_a_good_catalogue_warns_of_nothing(tmp_path):
    assert look(tmp_path, lines='{"product_id": "1", "title": "lamp"}\n').warnings == ()


def test_products_with_an_empty_text_are_counted_and_do_not_count_as_sharing_one(tmp_path):
    found = look(tmp_path, text=TextConfig(fields=["brand"]))
    assert (found.empty_texts, found.shared_texts) == (2, 0)
    assert "2 products have an empty text; text.fields names nothing that they have" in found.warnings


def test_catalogue_without_products_is_said_to_have_none(tmp_path):
    found = look(tmp_path, lines="")
    assert found.warnings == ("the catalogue has no products",)
    assert (found.price_range, set(found.empty_shares.values())) == (None, {0.0})


def test_survey_counts_tokens_as_the_counter_does(tmp_path, tiny_model_folder):
    counter = TokenCounter(tiny_model_folder, max_tokens=3)
    found = look(tmp_path, counter)
    texts = ["red mouse", "red mouse", "blue mouse", "lamp"]
    assert found.tokens == counter.count(texts)
    assert found.lengths == LengthStatistics(p50=4, p95=4, longest=4)
    assert found.warnings[-1] == (
        "75.0 % of the texts have more than the 3 tokens that the model reads; it will not see the rest: "
        "put what matters first in text.fields, or raise the encoder's product_max_tokens"
    )


def test_rows_set_aside_are_written_where_the_caller_wants_them(tmp_path):
    shop, quarantine = catalog(tmp_path), tmp_path / "bad.jsonl"
    survey(shop, TextTemplate(TextConfig()), None, quarantine=quarantine)
    assert [json.loads(line)["row"] for line in quarantine.read_text().splitlines()] == [3, 5, 6]


def test_survey_in_fail_mode_raises_at_the_first_batch_with_a_bad_row(tmp_path):
    with pytest.raises(SourceDataError, match="3 of 7 rows cannot become products"):
        look(tmp_path, on_bad_rows=BadRows.fail)


def test_warnings_on_tokens_come_above_the_thresholds_and_not_at_them():
    counts = TokenCounts(texts=10, tokens=100, truncated=3, unknown=5)
    assert token_warnings(counts, TextConfig(), max_tokens=256) == []
    truncated, unknown = token_warnings(
        counts, TextConfig(truncation_warning=0.29, unknown_warning=0.049), max_tokens=256
    )
    assert truncated.startswith("30.0 % of the texts have more than the 256 tokens")
    assert unknown.startswith("5.0 % of all tokens are unknown to the model")


def test_chinese_catalogue_is_warned_of_under_an_english_vocabulary(tmp_path, tiny_model_folder):
    lines = '{"product_id": "1", "title": "红色跑鞋"}\n{"product_id": "2", "title": "蓝色冰箱"}\n'
    found = look(tmp_path, TokenCounter(tiny_model_folder, max_tokens=64), lines)
    assert found.tokens.unknown == 8
    assert "products that differ only in these become one vector" in found.warnings[0]


def test_percentiles_are_nearest_rank():
    lengths = Counter({5: 1, 7: 9, 30: 9, 100: 1})
    assert length_statistics(lengths) == LengthStatistics(p50=7, p95=30, longest=100)
    assert length_statistics(Counter([4])) == LengthStatistics(p50=4, p95=4, longest=4)
    assert length_statistics(Counter()) is None


def test_survey_loads_no_torch(tmp_path, tiny_model_folder):
    catalog(tmp_path)
    code = f"""
import sys
from retrieval.catalog import open_catalog
from retrieval.config import BadRows, FileFormat, TabularCatalog, TextConfig
from retrieval.survey import survey
from retrieval.text import TextTemplate
from retrieval.tokens import TokenCounter
config = TabularCatalog(name="x", products="products.jsonl", format=FileFormat.jsonl, on_bad_rows=BadRows.quarantine)
counter = TokenCounter({str(tiny_model_folder)!r}, max_tokens=0)
survey(open_catalog(config, {str(tmp_path)!r}), TextTemplate(TextConfig()), counter)
sys.exit(any(name in sys.modules for name in ("torch", "transformers", "faiss")))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
