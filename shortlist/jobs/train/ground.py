"""What a recipe stands on: texts of the catalogue, and the queries parted into learned from, chosen by, and scored."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from indexing import storage
from indexing.errors import SourceDataError
from retrieval.catalog import Catalog, open_catalog
from retrieval.records import Judgment, Product, Qrels, Query
from retrieval.text import TextTemplate
from shortlist.jobs.evaluate import every_split, judged_queries
from shortlist.jobs.train.twins import fold_of
from shortlist.progress import say
from shortlist.training_config import TrainConfig

LEARN, FUSE, TUNE, SCORED = "learn", "fuse", "tune", "scored"
BUCKETS = 1000
"""Parts of the hash by which slices are drawn."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Catalogue and labels of a recipe.

    Attributes:
        name: Of the catalogue.
        products: The catalogue's products, in the order of its files.
        texts: product_id -> rendered text.
        queries: Role -> queries: ``learn`` is fitted on, ``tune`` stops and chooses, ``scored`` is looked at to report;
            with step ``final_fusion``, ``fuse`` is what the final fusion alone is fitted on.
        grades: query_id -> product_id -> grade, of all three.
        variants: product_id -> name of its variant group; products without one are left out.
        digests: File of the source -> SHA-256.
        split: How the queries were parted, in words.
        fold_of: query_id -> its fold, from 0; empty without a cross-validation. All queries are scored then, and `fold`
            says which by which.
    """

    name: str
    products: tuple[Product, ...]
    texts: Mapping[str, str]
    queries: Mapping[str, Sequence[Query]]
    grades: Qrels
    variants: Mapping[str, str]
    digests: Mapping[str, str]
    split: str
    fold_of: Mapping[str, int] = field(default_factory=dict)

    @property
    def folds(self) -> int:
        """Number of folds; 0 without a cross-validation."""
        return max(self.fold_of.values(), default=-1) + 1

    def fold(self, number: int) -> "Ground":
        """Return the ground of a fold, from 0: it is scored, the next one chooses, the others are learned from.

        With step ``final_fusion`` the one after the next is kept for that.
        """
        after = [(number + step) % self.folds for step in (1, 2)]
        return replace(self, queries=self._roles(number, *after), fold_of={})

    def whole(self) -> "Ground":
        """Return the ground for a build: nothing is scored, one fold chooses, the others are learned from."""
        return replace(self, queries=self._roles(-1, 0, 1), fold_of={})

    def _roles(self, scored: int, tune: int, fuse: int) -> dict[str, list[Query]]:
        role_of = {scored: SCORED, tune: TUNE} | ({fuse: FUSE} if FUSE in self.queries else {})
        found: dict[str, list[Query]] = {role: [] for role in self.queries}
        for query in self.queries[SCORED]:
            found[role_of.get(self.fold_of[query.query_id], LEARN)].append(query)
        return found

    def judgments(self, *roles: str) -> list[Judgment]:
        """Return the judgments of the queries in these roles."""
        return [
            Judgment(query.query_id, product_id, grade)
            for role in roles
            for query in self.queries[role]
            for product_id, grade in self.grades[query.query_id].items()
        ]

    @property
    def labelled(self) -> bool:
        """Whether there is anything to learn from."""
        return bool(self.queries[LEARN])


def read_ground(config: TrainConfig, source: Path, judgments: Path | None = None) -> Ground:
    """Read a catalogue and part its judged queries.

    With splits ``train``, ``dev`` and ``test`` they are learned from, chosen by and scored. Without a ``test`` the
    ``dev`` queries are scored, and a share of ``train``, drawn by the hash of the text, chooses. Without splits nothing
    may be learned from labels, and every judged query is scored; unless ``config.folds`` asks for a cross-validation.
    Where the recipe has step ``final_fusion``, a further share of ``train``, drawn so too, or a further fold, is
    learned from by that step alone.

    Raises:
        SourceDataError: As the reader does, when no query is judged, or fewer that ask for different things than folds.
    """
    catalog = open_catalog(config.catalog, source)
    products = tuple(product for batch in catalog.products() for product in batch.products)
    template = TextTemplate(config.text)
    queries, grades = judged_queries(catalog, judgments, every=every_split(config.catalog, source))
    splits = catalog.splits()
    parted, told = _part(queries, splits, tune_share=config.tune_share)
    if "final_fusion" in config.steps and parted[LEARN]:
        parted[FUSE] = [query for query in parted[LEARN] if _bucket(f"fuse {query.text}") < config.fuse_share * BUCKETS]
        fused = {query.query_id for query in parted[FUSE]}
        parted[LEARN] = [query for query in parted[LEARN] if query.query_id not in fused]
        told += f"; {config.fuse_share:.0%} of what is learned from is kept for the final fusion"
    numbers: dict[str, int] = {}
    if config.folds and splits:
        say(f"folds={config.folds} has no part: {catalog.name} has splits")
    elif config.folds:
        numbers, told = _fold(queries, config.folds, config.fold_seed)
        parted |= {FUSE: []} if "final_fusion" in config.steps else {}
    return Ground(
        name=catalog.name,
        products=products,
        texts={product.product_id: template.render(product) for product in products},
        queries=parted,
        grades={query.query_id: grades[query.query_id] for some in parted.values() for query in some},
        variants=variant_groups(products, config.variants),
        digests=_digests(catalog, source),
        split=told,
        fold_of=numbers,
    )


def _fold(queries: Sequence[Query], folds: int, seed: int) -> tuple[dict[str, int], str]:
    try:
        numbers = fold_of([query.text for query in queries], folds=folds, seed=seed)
    except ValueError as error:
        raise SourceDataError(f"{error}; judge more queries, or set folds=0 to learn from no label") from error
    told = (
        f"no splits: {folds} folds by sha256 of seed {seed} and normalised text, twins together; each query is scored "
        "once, by what the other folds made, of which the next one chose and the rest was learned from"
    )
    return {query.query_id: number for query, number in zip(queries, numbers, strict=True)}, told


def _part(
    queries: Sequence[Query], splits: Mapping[str, str], *, tune_share: float
) -> tuple[dict[str, list[Query]], str]:
    named = {
        name: [query for query in queries if splits.get(query.query_id) == name] for name in ("train", "dev", "test")
    }
    if named["test"]:
        roles = {LEARN: named["train"], TUNE: named["dev"], SCORED: named["test"]}
        return roles, "train is learned from, dev chooses, test is scored"
    if not splits:
        return {
            LEARN: [],
            TUNE: [],
            SCORED: list(queries),
        }, "no splits: no label is learned from, all queries are scored"
    tuned = {query.query_id for query in named["train"] if _bucket(query.text) < tune_share * BUCKETS}
    roles = {
        LEARN: [query for query in named["train"] if query.query_id not in tuned],
        TUNE: [query for query in named["train"] if query.query_id in tuned],
        SCORED: named["dev"],
    }
    return roles, f"dev is scored; of train, {tune_share:.0%} chosen by sha256(text) choose, the rest is learned from"


def _bucket(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") % BUCKETS


def variant_groups(products: Sequence[Product], column: str) -> dict[str, str]:
    """Return the variant group of every product that has one: an attribute or a kept column of this name."""
    if not column:
        return {}
    found = ((product.product_id, product.attributes.get(column) or product.extra.get(column)) for product in products)
    return {product_id: str(value) for product_id, value in found if value not in (None, "")}


def _digests(catalog: Catalog, source: Path) -> dict[str, str]:
    return {str(path.relative_to(source)): storage.digest(path).sha256 for path in catalog.files()}
