"""A small shop and an encoder without torch: whole builds in milliseconds, to be killed, starved and raced at will.

The model folder is a real one (a tokenizer, weights in safetensors), so that fingerprints, copies and checks are those
of any build; only the network is replaced. The stub's vectors depend, in the last bits, on the texts that are encoded
together, as a real network's do: a build that resumes with other batches ends with other bytes and is found out.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from indexing.config import FlatConfig
from indexing.types import FloatMatrix
from rerank.config import RerankerConfig
from retrieval.config import (
    EncoderConfig,
    FileFormat,
    LexicalConfig,
    RrfConfig,
    RuntimeConfig,
    TabularCatalog,
    TextConfig,
)
from retrieval.encoder import DualEncoder
from retrieval.folder import copy_model_folder
from retrieval.tower import read_settings
from shortlist.building.job import build
from shortlist.config import BuildConfig
from shortlist.engine import SearchEngine
from tools.reliability.harness.processes import import_what_it_imports

DIM = 16
WORDS = ("red", "blue", "black", "mouse", "keyboard", "sofa", "lamp", "usb", "wireless", "steel", "shelf", "chair")


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a new folder in memory where there is one: what is tried here is the order of calls, not the disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="reliability-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def write_model(folder: Path, *, seed: int = 0) -> Path:
    """Write a sentence-transformers folder that passes every check and has ``seed``'s own fingerprint."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    (folder / "1_Pooling").mkdir(parents=True)
    vocabulary = {token: number for number, token in enumerate(["[UNK]", "[PAD]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"words": np.full((len(vocabulary), DIM), seed, dtype=np.float32)}, folder / "model.safetensors")
    kinds = ("Transformer", ""), ("Pooling", "1_Pooling")
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(kinds)
    ]
    contents = {
        "modules.json": modules,
        "config.json": {"model_type": "bert", "hidden_size": DIM, "max_position_embeddings": 64},
        "1_Pooling/config.json": {"word_embedding_dimension": DIM, "pooling_mode_mean_tokens": True},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_shop(
    folder: Path, *, products: int = 12, titles: Callable[[int], str] | None = None, first_price: float = 0.0
) -> Path:
    """Write a catalogue of JSON Lines with queries; every title is a product's own."""
    folder.mkdir(parents=True)
    lines = [
        {
            "product_id": f"p{number:03d}",
            "title": titles(number)
            if titles
            else f"{WORDS[number % len(WORDS)]} {WORDS[number // 3 % len(WORDS)]} {number}",
            "price": first_price + number + 0.5,
            "stock": number % 4,
        }
        for number in range(products)
    ]
    (folder / "products.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    queries = "".join(f"q{number},{word}\n" for number, word in enumerate(WORDS[:4]))
    (folder / "queries.csv").write_text(f"query_id,text\n{queries}", encoding="utf-8")
    return folder


def build_config(model: Path, *, segment_texts: int = 4) -> BuildConfig:
    """Return what a build of the shop is told; one thread, so that equal builds have equal bytes."""
    return BuildConfig(
        catalog=TabularCatalog(name="shop", format=FileFormat.jsonl, products="products.jsonl", keep=["*"]),
        text=TextConfig(fields=["title"], unknown_warning=1.0),
        encoder=EncoderConfig(model=str(model)),
        lexical=LexicalConfig(),
        index=FlatConfig(),
        fusion=RrfConfig(),
        reranker=RerankerConfig(),
        runtime=RuntimeConfig(device="cpu", threads=1),
        segment_texts=segment_texts,
        canary_queries=2,
    )


class StubEncoder:
    """A tower of arithmetic: a text's vector is drawn from its words, and moved a little by the texts beside it.

    Attributes:
        encoded: Every product text that was encoded, in order.
    """

    def __init__(self, folder: Path, config: EncoderConfig) -> None:
        """Take the folder that is copied into the bundle."""
        self.folder = folder
        self.config = config
        self.settings = read_settings(folder, config)
        self.dim = self.settings.dimension
        self.encoded: list[str] = []

    def encode_queries(self, texts: Sequence[str]) -> FloatMatrix:
        """Return unit vectors, float32 [n, d]; a query's does not depend on the others, so that canaries hold."""
        return _unit(np.stack([_drawn(text) for text in texts]))

    def encode_products(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> FloatMatrix:
        """Return unit vectors, float32 [n, d], of texts that share a batch."""
        self.encoded += texts
        together = _drawn("\n".join(texts)) * np.float32(1e-5)
        if progress is not None:
            progress(len(texts))
        return _unit(np.stack([_drawn(text) for text in texts]) + together)

    def save(self, folder: Path) -> None:
        """Copy the model folder, as the real encoder does."""
        copy_model_folder(self.folder, folder, settings=self.settings)


@contextmanager
def stub_encoder(stub: type[StubEncoder] = StubEncoder) -> Iterator[list[StubEncoder]]:
    """Open stubs instead of networks for the length of a ``with`` block; yields those that were opened."""
    opened: list[StubEncoder] = []

    def open_stub(_cls: type[DualEncoder], config: EncoderConfig, _runtime: RuntimeConfig) -> StubEncoder:
        opened.append(stub(Path(config.model), config))
        return opened[-1]

    original = DualEncoder.__dict__["open"]
    DualEncoder.open = classmethod(open_stub)  # type: ignore[assignment, method-assign]
    try:
        yield opened
    finally:
        DualEncoder.open = original  # type: ignore[method-assign]


def warm_up(folder: Path) -> None:
    """Build and search once in a child, and import here what that imported; ``folder`` is new."""
    model, source = write_model(folder / "model"), write_shop(folder / "shop")

    def build_and_search() -> None:
        with stub_encoder():
            build(build_config(model), source=source, out=folder / "out")
            SearchEngine.open(folder / "out", probe=False).search(WORDS[0])

    import_what_it_imports(build_and_search)


def _drawn(text: str) -> FloatMatrix:
    """Return a vector that the text's words decide, float32 [d]."""
    words = text.split() or [""]
    rows = [np.frombuffer(hashlib.shake_128(word.encode()).digest(4 * DIM), "<u4") for word in words]
    return np.sum([row.astype(np.float32) / np.float32(2**31) - 1 for row in rows], axis=0, dtype=np.float32)


def _unit(vectors: FloatMatrix) -> FloatMatrix:
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
