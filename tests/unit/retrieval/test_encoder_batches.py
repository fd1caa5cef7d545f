"""Token rows, padding and token-budget batches, held against slow and obvious twins."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from retrieval.batches import RoleTokenizer, filled_batches, pad, token_budget_batches


@pytest.fixture(scope="module")
def serialised(tiny_model_folder):
    return (tiny_model_folder / "tokenizer.json").read_text(encoding="utf-8")


def role(serialised, prompt="", max_tokens=64):
    return RoleTokenizer(serialised, prompt=prompt, max_tokens=max_tokens)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_rows_are_the_tokens_of_prompt_and_text(serialised):
    plain = Tokenizer.from_str(serialised)
    plain.no_truncation()
    plain.no_padding()
    texts = ["wireless mouse", "", "Café", "红色 shoes"]
    rows = role(serialised, prompt="for you: ").rows(texts)
    assert [row.tolist() for row in rows] == [plain.encode("for you: " + text).ids for text in texts]


def test_rows_made_ahead_are_the_rows_in_parts_each_made_while_the_one_before_is_worked_on(serialised, monkeypatch):
    from retrieval import batches

    monkeypatch.setattr(batches, "TEXTS_AHEAD", 2)
    tokenizer, texts = role(serialised), ["red mouse", "sofa", "usb hub", "blue sofa", "desk"]
    made: list[int] = []
    second = threading.Event()
    rows = tokenizer.rows

    def noting(part):
        made.append(len(part))
        if len(made) == 2:
            second.set()
        return rows(part)

    monkeypatch.setattr(tokenizer, "rows", noting)
    parts = []
    for part in tokenizer.rows_ahead(texts):
        assert second.wait(timeout=30)  # before anybody asks for it
        parts.append(part)
    assert made == [len(part) for part in parts] == [2, 2, 1]
    assert [row.tolist() for part in parts for row in part] == [row.tolist() for row in rows(texts)]
    assert list(tokenizer.rows_ahead([])) == [[]]


def test_a_bad_text_is_refused_by_its_place_among_all_before_anything_is_made(serialised, monkeypatch):
    from retrieval import batches

    monkeypatch.setattr(batches, "TEXTS_AHEAD", 2)
    with pytest.raises(TypeError, match="position 3"):
        next(role(serialised).rows_ahead(["a", "b", "c", 7]))


def test_long_texts_are_cut_and_keep_the_closing_token(serialised):
    (row,) = role(serialised, max_tokens=5).rows(["red mouse for your laptop and your phone"])
    ends = [Tokenizer.from_str(serialised).token_to_id(token) for token in ("[CLS]", "[SEP]")]
    assert len(row) == 5
    assert [row[0], row[-1]] == ends


def test_many_texts_come_back_in_order_across_calls_of_the_tokenizer(serialised, monkeypatch):
    monkeypatch.setattr("retrieval.batches.TEXTS_PER_CALL", 3)
    texts = [f"mouse {number}" for number in range(10)]
    rows = role(serialised).rows(texts)
    assert [row.tolist() for row in rows] == [role(serialised).rows([text])[0].tolist() for text in texts]


def test_no_texts_give_no_rows(serialised):
    assert role(serialised).rows([]) == []


def test_the_characters_read_end_where_the_tokens_do(serialised):
    text = "red mouse for your laptop and your phone"
    for max_tokens in range(3, 12):
        read = text[: role(serialised, prompt="a ", max_tokens=max_tokens).read_chars(text)]
        assert read == " ".join(text.split()[: max_tokens - 3])  # two special tokens and the prompt


def test_a_text_that_is_not_cut_is_read_to_its_last_blank(serialised):
    assert role(serialised).read_chars("red mouse  ") == 11
    assert role(serialised).read_chars("") == 0


@pytest.mark.parametrize(("prompt", "tokens"), [("", 1), ("red ", 2), ("for you : ", 4)])
def test_the_prompt_counts_its_tokens_and_the_opening_one(prompt, tokens, serialised):
    assert role(serialised, prompt=prompt).prompt_tokens == tokens


def test_a_saved_truncation_and_padding_are_not_taken_over(serialised):
    definition = json.loads(serialised)
    definition["truncation"] = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    definition["padding"] = {
        "strategy": {"Fixed": 60}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    }  # fmt: skip
    text = "red mouse for your laptop"
    assert len(role(json.dumps(definition)).rows([text])[0]) == len(role(serialised).rows([text])[0]) == 7


def test_two_lengths_of_one_tokenizer_never_mix_under_threads(serialised):
    """A shared Hugging Face tokenizer fails this: a fifth of its rows came out at another thread's length."""
    roles = {length: role(serialised, max_tokens=length) for length in (4, 8, 16, 32)}
    text = "red wireless mouse for your laptop and your phone and your office desk " * 4
    serial = {length: tokenizer.rows([text])[0].tolist() for length, tokenizer in roles.items()}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(16) as threads:
            calls = [(length, threads.submit(roles[length].rows, [text])) for length in [4, 8, 16, 32] * 500]
            wrong = [length for length, call in calls if call.result()[0].tolist() != serial[length]]
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_what_is_no_text_is_named_by_position(serialised):
    with pytest.raises(TypeError, match="expected texts, got NoneType at position 1"):
        role(serialised).rows(["mouse", None])
    with pytest.raises(ValueError, match="the text at position 2 holds a lone surrogate at character 3"):
        role(serialised).rows(["mouse", "é", "red\ud800"])


# --- padding ----------------------------------------------------------------------------------------------------------


def test_padding_fills_up_to_the_longest_row_and_masks_the_rest():
    rows = [np.array([7, 8], dtype=np.int32), np.array([9], dtype=np.int32), np.array([1, 2, 3], dtype=np.int32)]
    batch = pad(rows, pad_token=5)
    assert batch.tokens.tolist() == [[7, 8, 5], [9, 5, 5], [1, 2, 3]]
    assert batch.mask.tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    left = pad(rows, pad_token=5, left=True)
    assert left.tokens.tolist() == [[5, 7, 8], [5, 5, 9], [1, 2, 3]]
    assert left.mask.tolist() == [[0, 1, 1], [0, 0, 1], [1, 1, 1]]


# --- batches ----------------------------------------------------------------------------------------------------------


def test_batches_worked_by_hand():
    batches = [batch.tolist() for batch in token_budget_batches([2, 9, 3, 3, 2], budget=6)]
    assert batches == [[1], [2, 3], [0, 4]]


@pytest.mark.parametrize("budget", [1, 7, 64, 4096])
def test_batches_hold_every_row_once_within_the_budget_longest_first(budget):
    lengths = np.random.default_rng(3).integers(1, 40, 200)
    batches = list(token_budget_batches(lengths, budget))
    assert sorted(np.concatenate(batches).tolist()) == list(range(200))
    assert all(len(batch) * lengths[batch].max() <= budget or len(batch) == 1 for batch in batches)
    longest = [lengths[batch].max() for batch in batches]
    assert longest == sorted(longest, reverse=True)
    # Greedy: the next row would not have fitted.
    for batch in batches[:-1]:
        assert (len(batch) + 1) * lengths[batch].max() > budget


def test_no_rows_make_no_batches():
    assert list(token_budget_batches([], 100)) == []


def test_unpadded_batches_are_filled_to_the_budget_by_the_longest_rows_first():
    batches = [batch.tolist() for batch in filled_batches([2, 9, 3, 0, 3, 2], budget=6)]
    assert batches == [[1], [2, 4], [0, 5]]  # the long one alone; the row without tokens nowhere
    assert [len(batch) for batch in filled_batches([3] * 7, budget=9)] == [3, 3, 1]
    assert list(filled_batches([], 100)) == []


@given(st.lists(st.integers(0, 60), max_size=60), st.integers(1, 100))
def test_unpadded_batches_hold_every_row_with_tokens_once_and_no_two_fit_into_one(lengths, budget):
    batches = list(filled_batches(lengths, budget))
    sizes = [sum(lengths[place] for place in batch) for batch in batches]
    assert sorted(place for batch in batches for place in batch) == [p for p, n in enumerate(lengths) if n]
    assert all(size <= budget or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    assert all(size + lengths[after[0]] > budget for size, after in zip(sizes, batches[1:], strict=False))
