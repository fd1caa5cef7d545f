"""Tiny random models that the real code opens and runs: two layers of BERT, the weights drawn from a seed."""

import string
from pathlib import Path
from typing import Any

from tools.reliability.harness.shop import WORDS

DIM = 32
MAX_TOKENS = 64
POSITIONS = 128


def write_encoder(folder: Path, *, seed: int = 0) -> Path:
    """Write a sentence-transformers folder: BERT, mean pooling, unit length."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from rerank.model import quiet_transformers

    body = _write_network(folder / "body", "BertModel", seed)
    with quiet_transformers():
        modules = [Transformer(str(body), max_seq_length=MAX_TOKENS), Pooling(DIM, pooling_mode="mean"), Normalize()]
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder / "encoder"))
    return folder / "encoder"


def write_cross_encoder(folder: Path, *, seed: int = 0) -> Path:
    """Write a CrossEncoder folder with a head of one logit."""
    from sentence_transformers import CrossEncoder

    from rerank.model import quiet_transformers

    body = _write_network(folder / "head", "BertForSequenceClassification", seed)
    with quiet_transformers():
        CrossEncoder(str(body), device="cpu", max_length=MAX_TOKENS).save_pretrained(str(folder / "cross_encoder"))
    return folder / "cross_encoder"


def _write_network(folder: Path, heading: str, seed: int) -> Path:
    import torch
    import transformers

    from rerank.model import quiet_transformers

    config = transformers.BertConfig(
        vocab_size=len(_vocabulary()),
        hidden_size=DIM,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * DIM,
        max_position_embeddings=POSITIONS,
        initializer_range=0.1,
        num_labels=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = getattr(transformers, heading)(config)
    # Words must outweigh positions and special tokens, or all texts of two random layers look alike.
    network.base_model.embeddings.word_embeddings.weight.data.mul_(5.0)
    if heading == "BertForSequenceClassification":
        network.classifier.weight.data.mul_(20.0)  # scores differ by tenths, not thousandths
    with quiet_transformers():
        network.save_pretrained(folder)
    tokenizer = transformers.BertTokenizer(vocab=_vocabulary(), do_lower_case=True, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    return folder


def _vocabulary() -> dict[str, int]:
    letters = [*string.ascii_lowercase, *string.digits]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    return {token: number for number, token in enumerate(pieces)}
