import json
import subprocess
import sys
from collections import Counter

import pytest

from indexing.errors import ConfigError
from retrieval.tokens import TokenCounter, TokenCounts


@pytest.fixture
def counter(tiny_model_folder):
    return TokenCounter(tiny_model_folder, max_tokens=8)


def slow_lengths(folder, texts):
    """Ask the model's own tokenizer, through transformers, one text at a time."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text, truncation=False)["input_ids"] for text in texts], tokenizer.unk_token_id


@pytest.mark.filterwarnings("ignore:Token indices sequence length is longer")
def test_counts_agree_with_the_tokenizer_of_the_model(counter, tiny_model_folder):
    texts = ["wireless mouse", "", "红色跑鞋", "usb hub " * 40, "Gaming KEYBOARD, black", "naïve café"]
    ids, unknown_id = slow_lengths(tiny_model_folder, texts)
    assert counter.lengths(texts) == [len(text) for text in ids]
    assert counter.count(texts) == TokenCounts(
        texts=6,
        tokens=sum(map(len, ids)),
        truncated=sum(len(text) > 8 for text in ids),
        unknown=sum(text.count(unknown_id) for text in ids),
    )


def test_special_tokens_count_towards_the_length(tiny_model_folder):
    six_words = "red blue green black white pink"
    assert TokenCounter(tiny_model_folder, max_tokens=8).count([six_words]).truncated == 0
    assert TokenCounter(tiny_model_folder, max_tokens=7).count([six_words]).truncated == 1


def test_prompt_counts_towards_every_text(tiny_model_folder):
    plain = TokenCounter(tiny_model_folder, max_tokens=8)
    prompted = TokenCounter(tiny_model_folder, prompt="red shoes ", max_tokens=8)
    assert prompted.lengths(["mouse", ""]) == [length + 2 for length in plain.lengths(["mouse", ""])]


def test_every_chinese_character_is_one_unknown_token_for_a_vocabulary_without_it(counter):
    counts = counter.count(["红色跑鞋"])
    assert (counts.tokens, counts.unknown) == (6, 4)
    assert counts.unknown_share == pytest.approx(4 / 6)


def test_counts_do_not_depend_on_how_texts_are_parted(counter):
    texts = [f"mouse {number}" * (number % 5) for number in range(2500)]
    parts = [counter.count(texts[:7]), counter.count(texts[7:1500]), counter.count(texts[1500:])]
    assert sum(parts, TokenCounts()) == counter.count(iter(texts))


def test_no_texts_give_zeros_and_shares_of_zero(counter):
    counts = counter.count([])
    assert counts == TokenCounts(0, 0, 0, 0)
    assert (counts.truncated_share, counts.unknown_share) == (0.0, 0.0)


def test_histogram_holds_the_length_of_every_text(counter):
    lengths = Counter()
    counter.count(["", "red mouse", "blue mouse"], lengths=lengths)
    assert lengths == {2: 1, 4: 2}


def test_limit_of_zero_is_the_least_that_the_models_files_state(tiny_model_folder, tmp_path):
    assert TokenCounter(tiny_model_folder, max_tokens=0).max_tokens == 64
    (tmp_path / "tokenizer.json").write_bytes((tiny_model_folder / "tokenizer.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 128}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 1e30}))
    assert TokenCounter(tmp_path, max_tokens=0).max_tokens == 128


def test_limit_of_zero_needs_a_model_that_states_one(tiny_model_folder, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((tiny_model_folder / "tokenizer.json").read_bytes())
    with pytest.raises(ConfigError, match="states no maximum length; set encoder"):
        TokenCounter(tmp_path, max_tokens=0)


def test_tokenizer_is_found_in_the_first_module_of_an_older_folder(tiny_model_folder, tmp_path):
    (tmp_path / "0_Transformer").mkdir()
    (tmp_path / "0_Transformer" / "tokenizer.json").write_bytes((tiny_model_folder / "tokenizer.json").read_bytes())
    assert TokenCounter(tmp_path, max_tokens=8).lengths(["red mouse"]) == [4]


def test_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json; expected a sentence-transformers folder"):
        TokenCounter(tmp_path, max_tokens=8)


def test_file_that_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ConfigError, match="is not a tokenizer file that the tokenizers library reads"):
        TokenCounter(tmp_path, max_tokens=8)


@pytest.mark.parametrize(
    ("model", "text", "unknown"),
    [
        ({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}, "ab", 1),
        ({"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "a": 1}}, "b", 1),
        ({"type": "BPE", "unk_token": None, "vocab": {"a": 0, "b": 1}, "merges": []}, "ab", 0),
    ],
    ids=["unigram", "word level", "no unknown token"],
)
def test_unknown_token_is_found_in_every_kind_of_vocabulary(tmp_path, model, text, unknown):
    parts = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    content = {"version": "1.0", "added_tokens": [], **parts, "model": model}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert TokenCounter(tmp_path, max_tokens=8).count([text]).unknown == unknown


def test_counting_loads_neither_torch_nor_transformers(tiny_model_folder):
    code = (
        "import sys; from retrieval.tokens import TokenCounter;"
        f"TokenCounter({str(tiny_model_folder)!r}, max_tokens=0).count(['mouse']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
