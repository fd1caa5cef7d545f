"""A whole bundle of a real encoder and a real cross-encoder, both random and tiny: under a megabyte, built in seconds.

Where the stub of `shop` would hide what the libraries do with a file, this is what they are given.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from indexing.config import FlatConfig
from rerank.config import CrossEncoderConfig
from retrieval.config import (
    EncoderConfig,
    FileFormat,
    LexicalConfig,
    RrfConfig,
    RuntimeConfig,
    TabularCatalog,
    TextConfig,
)
from shortlist.building.job import build
from shortlist.config import BuildConfig
from tools.reliability.harness.shop import WORDS

WIDTH, MAX_TOKENS = 8, 32


def write_tower(folder: Path) -> Path:
    """Write a sentence-transformers folder with a random one-layer BERT of width 8."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with tempfile.TemporaryDirectory() as body:
        _network("BertModel").save_pretrained(body)
        _tokenizer().save_pretrained(body)
        modules = [Transformer(body, max_seq_length=MAX_TOKENS), Pooling(WIDTH, pooling_mode="mean"), Normalize()]
        SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)
    return folder


def write_cross_encoder(folder: Path) -> Path:
    """Write a CrossEncoder folder: the same random body below a mean and one linear layer, as training makes it."""
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with tempfile.TemporaryDirectory() as body:
        _network("BertModel").save_pretrained(body)
        _tokenizer().save_pretrained(body)
        transformer = Transformer(body, max_seq_length=MAX_TOKENS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        head = Dense(WIDTH, 1, activation_function=torch.nn.Identity(), module_output_name="scores")
    modules = [transformer, Pooling(WIDTH, pooling_mode="mean"), head]
    CrossEncoder(modules=modules, device="cpu", activation_fn=torch.nn.Sigmoid()).save_pretrained(
        str(folder), create_model_card=False
    )
    return folder


def build_tiny(folder: Path) -> Path:
    """Build a bundle of twelve products below ``folder`` (models, catalogue and all) and return its directory."""
    write_catalogue(folder / "catalogue")
    config = BuildConfig(
        catalog=TabularCatalog(name="tiny", format=FileFormat.jsonl, products="products.jsonl", keep=["*"]),
        text=TextConfig(fields=["title"]),
        encoder=EncoderConfig(model=str(write_tower(folder / "tower")), query_max_tokens=0),
        lexical=LexicalConfig(),
        index=FlatConfig(),
        fusion=RrfConfig(),
        reranker=CrossEncoderConfig(model=str(write_cross_encoder(folder / "cross-encoder")), weight=0.5),
        runtime=RuntimeConfig(device="cpu", threads=1),
        canary_queries=4,
    )
    build(config, source=folder / "catalogue", out=folder / "bundle")
    return folder / "bundle"


def write_catalogue(folder: Path) -> Path:
    """Write twelve products and four queries."""
    folder.mkdir(parents=True)
    lines = [
        {
            "product_id": f"p{number:02d}",
            "title": " ".join(WORDS[(number + 5 * place) % 12] for place in range(2 + number % 4)),
            "price": number + 0.5,
        }
        for number in range(12)
    ]
    (folder / "products.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    queries = "".join(f"q{number},{word} {WORDS[number + 4]}\n" for number, word in enumerate(WORDS[:4]))
    (folder / "queries.csv").write_text(f"query_id,text\n{queries}", encoding="utf-8")
    return folder


def _tokenizer() -> Any:  # noqa: ANN401 - transformers has no types here
    from transformers import BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: number for number, token in enumerate([*special, *WORDS])}
    return BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=MAX_TOKENS)


def _network(heading: str) -> Any:  # noqa: ANN401 - as above
    import torch
    import transformers

    config = transformers.BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=MAX_TOKENS,
        initializer_range=0.3,
        num_labels=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        network = getattr(transformers, heading)(config)
    # Words must outweigh positions and special tokens, or all texts of a random layer look alike.
    network.embeddings.word_embeddings.weight.data.mul_(4.0)
    return network
