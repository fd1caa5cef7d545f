"""What the steps of a recipe share: configuration, ground, artefacts so far, and the systems that they make up."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from indexing import storage
from indexing.exact import best_first
from indexing.types import FloatMatrix
from retrieval.attacks import misspelt
from retrieval.config import ConvexConfig, EncoderConfig, FusionConfig, RrfConfig, ZscoreConfig
from retrieval.dev import DevSet, dev_set
from retrieval.encoder import DualEncoder
from retrieval.fusion import Ranked, fuse, source_weights
from retrieval.lexical import LexicalIndex
from retrieval.models import model_files, model_folder
from retrieval.records import Candidate, Product, Query, Run
from retrieval.retriever import scores_of
from retrieval.spelling import Spelling
from retrieval.text import normalise_query
from shortlist.jobs.train.ground import LEARN, TUNE, Ground
from shortlist.jobs.train.steps import Ranker
from shortlist.progress import progress
from shortlist.stored import thaw
from shortlist.training_config import TrainConfig

POOL = 1000
"""Products that every source hands to the first fusion, as the evaluation's runs are long."""


AT_ONCE = 256
"""Queries scored against the catalogue at a time: bounds memory at 256 scores per product."""

MISSPELT = "dense, one edit"
"""The system ``dense``, asked with one seeded edit in every query."""

TYPO_SEED = 7

OTHER_FUSIONS: Mapping[str, FusionConfig] = {
    "hybrid, rrf": RrfConfig(),
    "hybrid, zscore": ZscoreConfig(),
    "hybrid, convex": ConvexConfig(),
}
"""The first fusions that need no training, whatever is configured: a recipe has to beat the best of them."""

FEW = 1000
"""Labelled queries up to which all of them choose while no label was learned from; with more, the tuning queries do,
since to rank so many again and again takes longer than they tell more."""


@dataclass
class Bench:
    """A recipe at work.

    Attributes:
        config: The recipe.
        ground: What it stands on.
        out: Its folder.
        vectors: Where vectors are kept; runs of other seeds share them.
        artefacts: Name -> path of what is kept so far.
        rankers: System -> how it ranks, besides ``bm25``, ``dense`` and ``hybrid``.
        fitted: Whether anything that is kept so far learned from labels.
    """

    config: TrainConfig
    ground: Ground
    out: Path
    vectors: Path
    artefacts: dict[str, Path] = field(default_factory=dict)
    rankers: dict[str, Ranker] = field(default_factory=dict)
    fitted: bool = False

    def on(self, ground: Ground) -> "Bench":
        """Return a bench with nothing learned yet over the same catalogue and other queries."""
        other = replace(self, ground=ground, artefacts={}, rankers={}, fitted=False)
        other.__dict__["lexical"] = self.lexical  # built once: what words find does not depend on who asks
        return other

    @property
    def unseen(self) -> list[Query]:
        """The queries that may choose: the tuning queries, and those to learn from while nothing kept so far did."""
        tune, learn = self.ground.queries[TUNE], self.ground.queries[LEARN]
        return [*tune] if self.fitted or len(tune) + len(learn) > FEW else [*tune, *learn]

    @property
    def pool(self) -> DevSet | None:
        """The choosing queries over the pool of products that stops a training; ``None`` where none choose."""
        config, ground = self.config.retriever, self.ground
        if not ground.queries[TUNE]:
            return None
        rng = np.random.default_rng(config.seed)
        return dev_set(self.queries(TUNE), ground.judgments(TUNE), ground.texts, pool=config.dev_pool, rng=rng)

    @property
    def encoder(self) -> EncoderConfig:
        """The dual encoder as it is now: the last that was kept, or the untrained one."""
        folder = self.artefacts.get("encoder")
        return self.config.encoder if folder is None else replace(self.config.encoder, model=str(folder))

    @property
    def fusion(self) -> FusionConfig:
        """The first fusion as it is now: the one that was learned, or the configured one."""
        path = self.artefacts.get("fusion")
        return self.config.fusion if path is None else thaw("fusion", storage.read_json(path), FusionConfig)

    @cached_property
    def product_ids(self) -> tuple[str, ...]:
        """Ids in the order of rows; rows ascend with the id, so that a stable order settles ties as everywhere."""
        return tuple(sorted(self.ground.texts))

    @cached_property
    def lexical(self) -> LexicalIndex:
        """BM25 over the catalogue's texts."""
        return LexicalIndex.build([self.ground.texts[name] for name in self.product_ids], self.config.lexical)

    @cached_property
    def by_id(self) -> dict[str, Product]:
        """product_id -> product."""
        return {product.product_id: product for product in self.ground.products}

    def asked(self, query: str) -> str:
        """Return a query as it is searched: normalised, and corrected where that is kept."""
        text = normalise_query(query)
        if not self.spelling:
            return text
        if text not in self._asked:
            self._asked[text] = self.corrector.corrected(text)
        return self._asked[text]

    def queries(self, *roles: str) -> list[Query]:
        """Return the queries in these roles to learn from: as they are searched, where they are corrected first."""
        every = [query for role in roles for query in self.ground.queries[role]]
        return [replace(query, text=self.asked(query.text)) for query in every] if self.spelling else every

    @property
    def spelling(self) -> bool:
        """Whether unknown words of queries are corrected now: as configured, or as a step found better."""
        return self.config.lexical.spelling or "spelling" in self.artefacts

    @cached_property
    def corrector(self) -> Spelling:
        """What corrects them; the words that an encoder knows do not change with its training."""
        return Spelling(self.lexical, DualEncoder.open(self.config.encoder, self.config.runtime).knows)

    def recalled(self, queries: Sequence[Query], depth: int) -> list[tuple[Candidate, ...]]:
        """Return what the first stage hands on for every query, with the scores of its sources, best first."""
        texts, rows = [self.asked(query.text) for query in queries], np.arange(len(self.product_ids))
        found = []
        weights = source_weights(self.fusion)
        for every in self.sources(texts, max(depth, POOL)):
            lists = {name: of for name, of in every.items() if weights[name] > 0}  # an engine asks no others
            fused, scores = fuse(self.fusion, lists, tie_rank=rows, depth=depth)
            sources = scores_of(fused, lists)
            ranked = zip(fused.tolist(), scores.tolist(), sources, strict=True)
            found.append(
                tuple(
                    Candidate(product_id=self.product_ids[row], row=row, score=score, rank=rank, sources=said)
                    for rank, (row, score, said) in enumerate(ranked, start=1)
                )
            )
        return found

    def run(self, system: str, queries: Sequence[Query], depth: int) -> Run:
        """Rank the catalogue for every query with one of the systems that there are now."""
        if system == MISSPELT:
            return self.run("dense", misspelt(queries, edits=1, seed=TYPO_SEED), depth)
        if system in self.rankers:
            return self.rankers[system](queries, depth)
        found = self.ranked(system, [self.asked(query.text) for query in queries], depth)
        return {
            query.query_id: [(self.product_ids[row], float(score)) for row, score in zip(rows, scores, strict=True)]
            for query, (rows, scores) in zip(queries, found, strict=True)
        }

    def ranked(self, system: str, texts: Sequence[str], depth: int) -> list[Ranked]:
        """Return rows and scores of ``bm25``, ``dense``, ``hybrid`` or another fusion for query texts, best first."""
        wide = max(depth, POOL)
        if system == "bm25":
            return [cut(self._by_words(text, wide), depth) for text in texts]
        if system == "dense":
            return [cut(found, depth) for found in self._by_vector(texts, wide)]
        fusion, rows = OTHER_FUSIONS.get(system, self.fusion), np.arange(len(self.product_ids))
        return [fuse(fusion, lists, tie_rank=rows, depth=depth) for lists in self.sources(texts, wide)]

    def sources(self, texts: Sequence[str], depth: int = POOL) -> list[dict[str, Ranked]]:
        """Return what each source hands to the first fusion, by its name, for query texts."""
        dense, lexical = self._by_vector(texts, depth), [self._by_words(text, depth) for text in texts]
        return [{"dense": near, "lexical": shared} for near, shared in zip(dense, lexical, strict=True)]

    def _by_vector(self, texts: Sequence[str], depth: int) -> list[Ranked]:
        """Return what the encoder as it is finds; kept until the encoder changes."""
        key = self._key()
        if self._near_key != key:
            self._near_key, self._near = key, {}
        new = [text for text in dict.fromkeys(texts) if (text, depth) not in self._near]
        products, rows = self.product_vectors(), np.arange(len(self.product_ids))
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            scores = self.tower().encode_queries(some) @ products.T
            for text, row in zip(some, scores, strict=True):
                best = best_first(row, rows, k=depth, tie_rank=None)
                self._near[text, depth] = (rows[best], row[best])
        return [self._near[text, depth] for text in texts]

    def _by_words(self, text: str, depth: int) -> Ranked:
        """Return what BM25 finds; kept, since every step asks the same queries of the same words."""
        if (text, depth) not in self._found:
            self._found[text, depth] = self.lexical.search(text, depth)
        return self._found[text, depth]

    def tower(self) -> DualEncoder:
        """Open the dual encoder as it is now."""
        key = self._key()
        if self._opened is None or self._opened[0] != key:
            self._opened = (key, DualEncoder.open(self.encoder, self.config.runtime))
        return self._opened[1]

    _opened: tuple[str, DualEncoder] | None = None
    _found: dict[tuple[str, int], Ranked] = field(default_factory=dict)
    _near: dict[tuple[str, int], Ranked] = field(default_factory=dict)
    _near_key: str = ""
    _keys: dict[str, str] = field(default_factory=dict)
    _asked: dict[str, str] = field(default_factory=dict)

    def _key(self) -> str:
        """Return the encoder's name, hashed once: a step's folder does not change when it is made."""
        settings = repr(self.encoder)
        if settings not in self._keys:
            self._keys[settings] = encoder_key(self.encoder)
        return self._keys[settings]

    def product_vectors(self) -> FloatMatrix:
        """Return the vectors of all products under the encoder as it is now, float32 [n, d]; kept on disk."""
        path = self.vectors / f"{self._key()}-{self._text_key[:16]}.f32"
        tower = self.tower()
        shape = (len(self.product_ids), tower.dim)
        if not path.exists():
            storage.make_folder(path.parent)
            with progress("encode the catalogue", shape[0], unit="products") as advance:
                texts = [self.ground.texts[name] for name in self.product_ids]
                storage.replace_bytes(path, tower.encode_products(texts, progress=advance))
        vectors: FloatMatrix = storage.map_array(path, np.float32, shape)
        return vectors

    @cached_property
    def _text_key(self) -> str:
        found = hashlib.sha256()
        for name in self.product_ids:
            found.update(hashlib.sha256(self.ground.texts[name].encode("utf-8", "surrogatepass")).digest())
        return found.hexdigest()


def cut(found: Ranked, depth: int) -> Ranked:
    """Return the first ``depth`` of what was found."""
    return found[0][:depth], found[1][:depth]


def encoder_key(encoder: EncoderConfig) -> str:
    """Return a name for an encoder's weights and settings."""
    found = hashlib.sha256(repr(replace(encoder, model="")).encode())
    folder = model_folder(encoder.model)
    for path in model_files(folder):
        found.update(storage.digest(path).sha256.encode())
    return found.hexdigest()[:24]


def digest_of(values: Mapping[str, object]) -> str:
    """Return a digest of settings that does not depend on their order."""
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()
