"""One look at a whole catalogue before anything expensive: what it has, what it lacks, what a model will not see."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from retrieval.catalog import Catalog, ProductBatch, ReadReport
from retrieval.config import TextConfig
from retrieval.readers.rows import DUPLICATE
from retrieval.records import Product, Scalar
from retrieval.text import TextTemplate, text_key
from retrieval.tokens import TokenCounter, TokenCounts

FIELDS = ("description", "brand", "category", "attributes", "price")
"""What a product may lack; product_id and title are in the row contract."""


@dataclass(frozen=True, slots=True)
class LengthStatistics:
    """Lengths of the texts in tokens: nearest-rank percentiles and the longest."""

    p50: int
    p95: int
    longest: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a catalogue looks like through a text template.

    Attributes:
        name: Name of the catalogue.
        report: What became of its rows.
        duplicates: Rows set aside because another has their product_id.
        empty_shares: Field or kept column -> share of products without it, 0 to 1; all 0 without products.
        empty_texts: Products whose text is empty.
        shared_texts: Products whose text another product before them has; they will share one vector.
        price_range: Lowest and highest price; ``None`` when no product has one.
        dim: Dimension of the vectors that the catalogue brings; 0 for none.
        tokens: Counts over the texts; ``None`` without a model.
        lengths: Statistics of the lengths; ``None`` without a model or products.
        warnings: What the owner of the catalogue should know, in words.
    """

    name: str
    report: ReadReport
    duplicates: int
    empty_shares: Mapping[str, float]
    empty_texts: int
    shared_texts: int
    price_range: tuple[float, float] | None
    dim: int
    tokens: TokenCounts | None
    lengths: LengthStatistics | None
    warnings: tuple[str, ...]


def survey(
    catalog: Catalog, template: TextTemplate, counter: TokenCounter | None, *, quarantine: Path | None = None
) -> Survey:
    """Stream a catalogue once and say what is in it; loads no model.

    Args:
        catalog: With ``on_bad_rows=quarantine``, bad rows are counted; with ``fail``, the first batch with one raises.
        template: Makes the texts.
        counter: Counts their tokens; ``None`` leaves that out.
        quarantine: New JSON Lines file for the bad rows; ``None`` counts them without writing.

    Raises:
        SourceDataError: As `retrieval.catalog.Catalog.products`.
        ConfigError: If the template names a field that no product has.
    """
    tally = _Tally()
    for batch in catalog.products(quarantine=quarantine):
        tally.add(batch, template, counter)
    report = catalog.report
    tokens = tally.tokens if counter is not None else None
    warnings = [*_catalog_warnings(tally, report)]
    if counter is not None:
        warnings += token_warnings(tally.tokens, template.config, max_tokens=counter.max_tokens)
    return Survey(
        name=catalog.name,
        report=report,
        duplicates=sum(count for problem, count in report.problems.items() if problem.endswith(f": {DUPLICATE}")),
        empty_shares=tally.empty_shares(),
        empty_texts=tally.empty_texts,
        shared_texts=tally.texts - tally.empty_texts - len(tally.keys),
        price_range=tally.price_range,
        dim=tally.dim,
        tokens=tokens,
        lengths=length_statistics(tally.lengths),
        warnings=tuple(warnings),
    )


def token_warnings(counts: TokenCounts, config: TextConfig, *, max_tokens: int) -> list[str]:
    """Return what ``counts`` mean for the model that counted, where they exceed the thresholds of ``config``."""
    warnings = []
    if counts.truncated_share > config.truncation_warning:
        warnings.append(
            f"{_percent(counts.truncated_share)} of the texts have more than the {max_tokens} tokens that the model "
            f"reads; it will not see the rest: put what matters first in text.fields, or raise the encoder's "
            f"product_max_tokens"
        )
    if counts.unknown_share > config.unknown_warning:
        warnings.append(
            f"{_percent(counts.unknown_share)} of all tokens are unknown to the model, and products that differ only "
            f"in these become one vector: choose an encoder.model for the language of the catalogue"
        )
    return warnings


def length_statistics(lengths: Counter[int]) -> LengthStatistics | None:
    """Return percentiles of a histogram length -> texts, by the nearest rank; ``None`` when it is empty."""
    total = lengths.total()
    if not total:
        return None
    return LengthStatistics(
        p50=_percentile(lengths, 0.50 * total), p95=_percentile(lengths, 0.95 * total), longest=max(lengths)
    )


@dataclass(slots=True)
class _Tally:
    """Sums over the batches so far."""

    texts: int = 0
    empty_texts: int = 0
    keys: set[bytes] = field(default_factory=set)
    filled: Counter[str] = field(default_factory=Counter)
    columns: dict[str, None] = field(default_factory=lambda: dict.fromkeys(FIELDS))
    price_range: tuple[float, float] | None = None
    dim: int = 0
    tokens: TokenCounts = field(default_factory=TokenCounts)
    lengths: Counter[int] = field(default_factory=Counter)

    def add(self, batch: ProductBatch, template: TextTemplate, counter: TokenCounter | None) -> None:
        """Add a batch of products."""
        texts = [template.render(product) for product in batch.products]
        self.texts += len(texts)
        self.empty_texts += texts.count("")
        self.keys.update(text_key(text) for text in texts if text)
        for product in batch.products:
            self._add_fields(product)
        if batch.vectors is not None:
            self.dim = batch.vectors.shape[1]
        if counter is not None:
            self.tokens += counter.count(texts, lengths=self.lengths)

    def empty_shares(self) -> dict[str, float]:
        """Return the share of products without each field or kept column."""
        return {name: 1 - self.filled[name] / self.texts if self.texts else 0.0 for name in self.columns}

    def _add_fields(self, product: Product) -> None:
        self.columns.update(dict.fromkeys(product.extra))
        self.filled.update(name for name in FIELDS if _is_filled(getattr(product, name)))
        self.filled.update(name for name, value in product.extra.items() if _is_filled(value))
        if product.price is not None:
            low, high = self.price_range or (product.price, product.price)
            self.price_range = min(low, product.price), max(high, product.price)


def _is_filled(value: Scalar | Mapping[str, str]) -> bool:
    return value is not None and value != "" and value != {}


def _catalog_warnings(tally: _Tally, report: ReadReport) -> Iterator[str]:
    if not tally.texts:
        yield "the catalogue has no products"
    if report.quarantined:
        yield f"{report.quarantined} of {report.rows} rows are set aside: {_most_frequent(report.problems)}"
    for column in report.absent_columns:
        yield f"no row has the configured column {column!r}"
    if report.rescaled_vectors:
        yield f"{report.rescaled_vectors} vectors were not of unit length and were scaled to it"
    if tally.empty_texts:
        yield f"{tally.empty_texts} products have an empty text; text.fields names nothing that they have"


def _most_frequent(problems: Mapping[str, int]) -> str:
    ordered = sorted(problems.items(), key=lambda entry: (-entry[1], entry[0]))[:3]
    return ", ".join(f"{problem} ({count})" for problem, count in ordered)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _percentile(lengths: Counter[int], rank: float) -> int:
    seen = 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= rank:
            return length
    return max(lengths)
