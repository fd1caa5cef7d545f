"""What every test stands on: no network, a toy shop, two tiny random models, and the development data if present."""

import os
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Set before numpy or torch is imported. One thread keeps tiny models fast (no pool to wake) and sums in one order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The libraries then refuse to look for a model online instead of trying and waiting; subprocesses inherit it.
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import numpy as np
import pytest

from rerank.final import Convex
from retrieval.records import Judgment, Product, Query

# Generated cases may be slow on a busy machine, which is not a defect; CI draws the same cases each time.
hypothesis.settings.register_profile(
    "local", deadline=None, max_examples=50, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("local"), derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


# --- network ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _network_is_blocked() -> Iterator[None]:
    """Fail the test that opens a connection; only sockets of the same machine's file system stay open.

    ``pytest.fail`` raises what ``except Exception`` does not catch, so a library cannot fall back in silence.
    """
    import socket

    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_unless_unix(self.family == socket.AF_UNIX, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_unless_unix(self.family == socket.AF_UNIX, address)
        return connect_ex(self, address)

    def refused_lookup(host: Any, *_: Any, **__: Any) -> None:
        _refuse_unless_unix(False, host)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", refused_lookup)
        yield


def _refuse_unless_unix(is_unix: bool, address: Any) -> None:
    if not is_unix:
        pytest.fail(f"network is blocked in tests: a connection to {address!r} was tried")


# --- versions are tried here, not in a child -------------------------------------------------------------------------


class _Everything(set[str]):
    def __contains__(self, _: object) -> bool:
        return True


@pytest.fixture(scope="session", autouse=True)
def _versions_count_as_tried() -> Iterator[None]:
    """Start no child per opened bundle, which would double the suite's time; tests/integration/test_probe.py does."""
    from shortlist import probe

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_passed", _Everything())
        yield


# --- development data -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the development data: ``../shared/data`` beside the clone, or where SHORTLIST_SHARED_DATA points."""
    beside_clone = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SHORTLIST_SHARED_DATA") or beside_clone)
    if not folder.is_dir():
        pytest.skip(f"no development data at {folder} (set SHORTLIST_SHARED_DATA to a folder with icecat/, homedepot/)")
    return folder


# --- a toy shop -------------------------------------------------------------------------------------------------------

# type -> (category, what it is part of or goes with, price of the cheapest)
TOY_TYPES = {
    "wireless mouse": ("computers", "", 12.0),
    "mechanical keyboard": ("computers", "", 45.0),
    "laptop": ("computers", "", 499.0),
    "laptop sleeve": ("computers", "laptop", 15.0),
    "usb charger": ("phones", "phone", 9.0),
    "phone": ("phones", "", 199.0),
    "phone case": ("phones", "phone", 7.5),
    "headphones": ("audio", "", 29.0),
    "bluetooth speaker": ("audio", "", 35.0),
    "sofa": ("furniture", "", 350.0),
    "office chair": ("furniture", "", 89.0),
    "running shoes": ("sports", "", 60.0),
}
# brand, colour, letter of the model number: one variant of every type
TOY_VARIANTS = (
    ("Acme", "black", "A"),
    ("Acme", "red", "B"),
    ("Norvik", "white", "N"),
    ("Norvik", "blue", "P"),
    ("Solari", "green", "S"),
)
TOY_QUERIES = {
    "q-mouse": ("wireless mouse", {"type": "wireless mouse"}),
    "q-red-mouse": ("red wireless mouse", {"type": "wireless mouse", "colour": "red"}),
    "q-norvik-laptop": ("norvik laptop", {"type": "laptop", "brand": "Norvik"}),
    "q-couch": ("couch", {"type": "sofa"}),
    "q-black-shoes": ("black running shoes", {"type": "running shoes", "colour": "black"}),
    "q-typo": ("headphnes", {"type": "headphones"}),
    "q-case": ("phone case", {"type": "phone case"}),
    "q-model": ("P200", {"type": "office chair", "colour": "blue"}),
    "q-acme-chair": ("acme office chair", {"type": "office chair", "brand": "Acme"}),
    "q-speaker": ("bluetooth speaker green", {"type": "bluetooth speaker", "colour": "green"}),
}


def _toy_product(number: int, kind: str, brand: str, colour: str, letter: str) -> Product:
    category, goes_with, price = TOY_TYPES[kind]
    position = number // len(TOY_VARIANTS)
    return Product(
        product_id=f"{number:04d}",
        title=f"{brand} {colour} {kind} {letter}{100 + 10 * position}",
        description=f"A {colour} {kind} by {brand}" + (f" for your {goes_with}" if goes_with else ""),
        brand=brand,
        category=category,
        attributes={"type": kind, "colour": colour},
        price=price + number % len(TOY_VARIANTS),
        extra={"in_stock": number % 3 != 0, "rating": 1 + number % 5},
    )


def _toy_grade(product: Product, wanted: dict[str, str]) -> int:
    """Grade by facts: 3 all that was asked, 2 the right type, 1 the right category, else 0."""
    facts = {"type": product.attributes["type"], "colour": product.attributes["colour"], "brand": product.brand}
    if facts["type"] == wanted["type"]:
        return 3 if all(facts[name] == value for name, value in wanted.items()) else 2
    return 1 if product.category == TOY_TYPES[wanted["type"]][0] else 0


@pytest.fixture(scope="session")
def tiny_products() -> tuple[Product, ...]:
    """Return the 60 products of a toy shop: 12 types in 5 variants, ids "0000" to "0059"."""
    kinds = [(kind, *variant) for kind in TOY_TYPES for variant in TOY_VARIANTS]
    return tuple(_toy_product(number, *kind) for number, kind in enumerate(kinds))


@pytest.fixture(scope="session")
def tiny_queries() -> tuple[Query, ...]:
    """Return ten queries of the toy shop, among them a synonym, a typo and a model number."""
    return tuple(Query(query_id=query_id, text=text) for query_id, (text, _) in TOY_QUERIES.items())


@pytest.fixture(scope="session")
def tiny_judgments(tiny_products: tuple[Product, ...]) -> tuple[Judgment, ...]:
    """Return the grade of every pair of the toy shop, 0 to 3, from the facts alone."""
    return tuple(
        Judgment(query_id=query_id, product_id=product.product_id, grade=_toy_grade(product, wanted))
        for query_id, (_, wanted) in TOY_QUERIES.items()
        for product in tiny_products
    )


# --- tiny random models -----------------------------------------------------------------------------------------------

TINY_MAX_TOKENS = 64
TINY_WORDS = """
    a about adapter air all aluminium an and apple are armchair audio baby back bag battery bed bike black blue
    bluetooth bottle box brand brown by cable camera card case chair charger cheap children clean clock coffee
    colour compact compatible computer cooker corner cotton couch cover cup desk digital dining disk display
    dock door double drive dry earbuds electric ergonomic fast fit floor foam foldable for frame fridge from
    garden gift glass gold gray green grey grill hair hand hard hdmi headphones headset heavy high home hot hub
    in ink is it kettle keyboard kitchen lamp laptop large lather leather led light long low machine magnetic
    mat mechanical medium memory men metal microphone microwave mini modern monitor mount mouse mug new noise
    not of office on or oven pack pad pair pen phone pillow pink plastic player plug pocket portable pot power
    printer pro purple rack rechargeable red replacement rug running screen set shelf shirt shoes shower silver
    size sleeve slim small smart sofa soft sound speaker spoon sports stainless stand steel storage surround
    table tablet tea that the this to toaster tool top towel toy travel tripod tv type usb vacuum wall warm wash
    watch water waterproof white wide window wireless with women wood work yellow you your
"""


def _tiny_vocabulary() -> dict[str, int]:
    """Return special tokens, every ASCII character alone and as a continuation, some endings, and common shop words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*string.ascii_lowercase, *string.digits]
    endings = ["##s", "##ing", "##er", "##ed", "##ly", "##est", "##ness", "##less"]
    pieces = [*letters, *string.punctuation, *(f"##{letter}" for letter in letters), *endings, *TINY_WORDS.split()]
    return {token: number for number, token in enumerate([*special, *dict.fromkeys(pieces)])}


def _tiny_tokenizer() -> Any:
    """Build a BERT tokenizer on the spot; characters outside ASCII, Chinese for one, become [UNK]."""
    from transformers import BertTokenizer

    return BertTokenizer(vocab=_tiny_vocabulary(), do_lower_case=True, model_max_length=TINY_MAX_TOKENS)


def _tiny_bert(heading: str) -> Any:
    """Return the random network, its body the same under every heading ("BertModel" or one with a task's head)."""
    import torch
    import transformers

    config = transformers.BertConfig(
        vocab_size=len(_tiny_vocabulary()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.1,
        num_labels=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        network = getattr(transformers, heading)(config)
        body = transformers.BertModel(config)
    # Words must outweigh positions and special tokens, or all texts of two random layers look alike.
    body.embeddings.word_embeddings.weight.data.mul_(5.0)
    network.base_model.load_state_dict(body.state_dict())
    if heading == "BertForSequenceClassification":
        network.classifier.weight.data.mul_(20.0)  # scores differ by tenths, not thousandths
    return network


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sentence-transformers folder with a random two-layer BERT, dimension 32, the same at every run."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    body = tmp_path_factory.mktemp("tiny_bert")
    _tiny_bert("BertModel").save_pretrained(body)
    _tiny_tokenizer().save_pretrained(body)
    folder = tmp_path_factory.mktemp("tiny_model")
    modules = [Transformer(str(body), max_seq_length=TINY_MAX_TOKENS), Pooling(32, pooling_mode="mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_cross_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a CrossEncoder folder: the same random body under a head of one logit, which differs from pair to pair."""
    from sentence_transformers import CrossEncoder

    body = tmp_path_factory.mktemp("tiny_head")
    _tiny_bert("BertForSequenceClassification").save_pretrained(body)
    _tiny_tokenizer().save_pretrained(body)
    folder = tmp_path_factory.mktemp("tiny_cross_encoder")
    CrossEncoder(str(body), device="cpu", max_length=TINY_MAX_TOKENS).save_pretrained(str(folder))
    return folder


# --- a generation without a bundle ------------------------------------------------------------------------------------


class WordTower:
    """A tower without a network: a text's vector is the sum of its words', which are drawn once for each word."""

    dim = 16

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors, float32 [n, 16]; texts without a word share one."""
        return np.stack([self._encode(text) for text in texts])

    encode_products = encode_queries

    def read_chars(self, text: str) -> int:
        """Every text is read to its end."""
        return len(text)

    def _encode(self, text: str) -> np.ndarray:
        drawn = [np.random.default_rng(list(word.encode())).standard_normal(self.dim) for word in text.lower().split()]
        total = np.sum([np.ones(self.dim) / 100, *drawn], axis=0)
        return (total / np.linalg.norm(total)).astype(np.float32)


@dataclass(frozen=True)
class WordReranker:
    """Scores a pair by what the words of the product are worth, whatever is asked."""

    worth: Mapping[str, float]
    weight: float = 0.5

    @property
    def fusion(self) -> Convex:
        """Of that weight."""
        return Convex(self.weight)

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """Return float32 [n]."""
        del query
        return np.array(
            [sum(self.worth.get(word.strip("."), 0.0) for word in text.split()) for text in texts], dtype=np.float32
        )


@pytest.fixture(scope="session")
def make_generation(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return a function that puts a generation together out of products: no network, no build, milliseconds.

    Vectors are `WordTower`'s. ``index`` takes the exact index and returns the one to search with; ``fusion`` and
    ``reranker`` stand as they are given.
    """
    from indexing.exact import ExactIndex
    from indexing.vectors import ArrayVectors
    from rerank.cost import BatchCost
    from rerank.reranker import PassThrough
    from retrieval.config import LexicalConfig, RrfConfig, TextConfig
    from retrieval.lexical import LexicalIndex
    from retrieval.products import ProductTable
    from retrieval.retriever import Retriever
    from retrieval.text import TextTemplate
    from shortlist.first_stage import FirstStage
    from shortlist.generation import Generation
    from shortlist.living.layers import Layers
    from shortlist.living.state import Living

    def make(
        products: Sequence[Product],
        *,
        index: Callable[[Any], Any] = lambda exact: exact,
        fusion: Any = None,
        reranker: Any = None,
        cost: Any = None,
    ) -> Generation:
        folder = tmp_path_factory.mktemp("generation")
        ProductTable.write(folder / "products.parquet", [products])
        table = ProductTable.open(folder / "products.parquet")
        template, tower = TextTemplate(TextConfig()), WordTower()
        texts = [template.render(table.get(row)) for row in range(table.count)]
        vectors = ArrayVectors(tower.encode_products(texts))
        dense = index(ExactIndex(vectors, tie_rank=table.tie_rank))
        lexical = LexicalIndex.build(texts, LexicalConfig())
        manifest = SimpleNamespace(version="v1", journal_seq=0)  # as much of a bundle as a journal needs
        return Generation(
            name="v1",
            bundle=SimpleNamespace(root=folder, folder=folder, manifest=manifest),  # type: ignore[arg-type]
            template=template,
            products=table,
            vectors=vectors,
            retriever=Retriever(tower, dense, lexical, table, fusion or RrfConfig()),
            reranker=reranker or PassThrough(),
            tower=tower,
            cost=cost or BatchCost(0.0, 1e-9),
            living=Living(Layers.over(FirstStage(table, vectors, dense, lexical), template), None, None),  # type: ignore[arg-type]
        )

    return make


@pytest.fixture(scope="session")
def word_reranker() -> type[WordReranker]:
    """Return the class of a reranker whose scores a test decides."""
    return WordReranker
