"""Small random models that the real code opens and runs: a layer or two of BERT, the weights drawn from a seed."""

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.reliability.harness.shop import WORDS


@dataclass(frozen=True, slots=True)
class Size:
    """How large a network is, and whether its vocabulary has letters besides the shop's words."""

    dim: int
    layers: int
    positions: int
    max_tokens: int
    letters: bool


SMALL = Size(dim=32, layers=2, positions=128, max_tokens=64, letters=True)
TINY = Size(dim=8, layers=1, positions=32, max_tokens=32, letters=False)


def write_encoder(folder: Path, *, seed: int = 0, size: Size = SMALL) -> Path:
    """Write a sentence-transformers folder: BERT, mean pooling, unit length."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from rerank.model import quiet_transformers

    body = write_network(folder / "body", "BertModel", seed, size)
    with quiet_transformers():
        modules = [
            Transformer(str(body), max_seq_length=size.max_tokens),
            Pooling(size.dim, pooling_mode="mean"),
            Normalize(),
        ]
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder / "encoder"))
    return folder / "encoder"


def write_cross_encoder(folder: Path, *, seed: int = 0) -> Path:
    """Write a CrossEncoder folder with a head of one logit."""
    from sentence_transformers import CrossEncoder

    from rerank.model import quiet_transformers

    body = write_network(folder / "head", "BertForSequenceClassification", seed, SMALL)
    with quiet_transformers():
        CrossEncoder(str(body), device="cpu", max_length=SMALL.max_tokens).save_pretrained(
            str(folder / "cross_encoder")
        )
    return folder / "cross_encoder"


def write_network(folder: Path, heading: str, seed: int, size: Size) -> Path:
    """Write a folder of transformers, with its tokenizer; ``heading`` is the class of the network."""
    import torch
    import transformers

    from rerank.model import quiet_transformers

    config = transformers.BertConfig(
        vocab_size=len(_vocabulary(size)),
        hidden_size=size.dim,
        num_hidden_layers=size.layers,
        num_attention_heads=2,
        intermediate_size=2 * size.dim,
        max_position_embeddings=size.positions,
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
    tokenizer = transformers.BertTokenizer(
        vocab=_vocabulary(size), do_lower_case=True, model_max_length=size.max_tokens
    )
    tokenizer.save_pretrained(folder)
    return folder


def _vocabulary(size: Size) -> dict[str, int]:
    letters = [*string.ascii_lowercase, *string.digits] if size.letters else []
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    return {token: number for number, token in enumerate(pieces)}
