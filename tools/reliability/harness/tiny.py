"""A whole bundle of a real encoder and a real cross-encoder, both random and tiny: under a megabyte, built in seconds.

Where the stub of `shop` would hide what the libraries do with a file, this is what they are given.
"""

import json
from pathlib import Path

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
from tools.reliability.harness.models import TINY, write_encoder, write_network
from tools.reliability.harness.shop import WORDS


def write_cross_encoder(folder: Path) -> Path:
    """Write a CrossEncoder folder of the kind that ``train-reranker`` makes: transformer, pooling, one linear layer."""
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from rerank.model import quiet_transformers

    body = write_network(folder / "body", "BertModel", 13, TINY)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        head = Dense(TINY.dim, 1, activation_function=torch.nn.Identity(), module_output_name="scores")
        transformer = Transformer(str(body), max_seq_length=TINY.max_tokens)
        modules = [transformer, Pooling(TINY.dim, pooling_mode="mean"), head]
        model = CrossEncoder(modules=modules, device="cpu", activation_fn=torch.nn.Sigmoid())
        model.save_pretrained(str(folder / "cross_encoder"))
    return folder / "cross_encoder"


def build_tiny(folder: Path) -> Path:
    """Build a bundle of twelve products below ``folder`` (models, catalogue and all) and return its directory."""
    write_catalogue(folder / "catalogue")
    models = [write_encoder(folder / "tower", seed=11, size=TINY), write_cross_encoder(folder / "reranker")]
    for model in models:
        (model / "README.md").unlink()  # half of the model's bytes
    config = BuildConfig(
        catalog=TabularCatalog(name="tiny", format=FileFormat.jsonl, products="products.jsonl", keep=["*"]),
        text=TextConfig(fields=["title"]),
        encoder=EncoderConfig(model=str(models[0]), query_max_tokens=0),
        lexical=LexicalConfig(),
        index=FlatConfig(),
        fusion=RrfConfig(),
        reranker=CrossEncoderConfig(model=str(models[1]), weight=0.5),
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
