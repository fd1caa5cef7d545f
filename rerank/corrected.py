"""The final fusion with learned trees: the convex mix, plus what the trees make of the features of `rerank.features`.

The trees were boosted on top of the mix (`rerank.boosting`), so that none of them is the mix itself, few of them move
it little, and products that they cannot tell apart stay in its order. They lie in ``final_trees.json`` beside the
cross-encoder: numbers and names alone, no pickle, nothing that runs.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexing import storage
from indexing.errors import ArtifactCorrupt, ArtifactIncompatible
from rerank.config import CrossEncoderConfig
from rerank.features import FEATURES, MEANING, fixed_features, with_rerank
from rerank.final import Convex, ConvexMix, FinalFusion, LookUp
from rerank.folder import stored_weight
from rerank.fusion import Doubles, FloatVector
from rerank.trees import Trees, read_trees
from retrieval.records import Candidate, Product

TREES_FILE = "final_trees.json"
FORMAT = 1
KEYS = {"format", "features", "meaning", "popularity", "trees", "sha256", "evidence"}

MAX_BYTES = 16 << 20
"""Longest file that is read; 200 trees of 15 leaves take half a MiB."""

_ADVICE = "learn it again with step final_fusion of: shortlist train"


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """A convex mix and trees on top of it; the cross-encoder is asked even where its weight in the mix is 0.

    Attributes:
        convex: The mix.
        trees: Over the columns of `FEATURES`.
        popularity: Attribute or kept column that says how popular a product is; empty for none.
    """

    convex: Convex
    trees: Trees
    popularity: str = ""

    @property
    def asks(self) -> bool:
        """Always."""
        return True

    @property
    def identity(self) -> str:
        """The weight, and a digest of the trees and of what they look at."""
        return f"{self.convex.identity} and trees {_digest(_body(self.trees, self.popularity))[:16]}"

    def over(self, query: str, candidates: Sequence[Candidate], products: LookUp) -> "CorrectedMix":
        """Take up candidates; their products are looked up when they are prepared."""
        return CorrectedMix(self, query, candidates, products, self.convex.over(query, candidates, products))


@dataclass(slots=True, eq=False)
class CorrectedMix:
    """Candidates of a `Corrected` fusion."""

    fusion: Corrected
    query: str
    candidates: Sequence[Candidate]
    products: LookUp
    convex: ConvexMix
    fixed: Doubles | None = field(default=None, init=False)

    @property
    def count(self) -> int:
        """How many candidates there are."""
        return len(self.candidates)

    def prepare(self) -> None:
        """Look the products up and compute all features but those of the cross-encoder."""
        self._fixed()

    def _fixed(self) -> Doubles:
        if self.fixed is None:
            self.fixed = fixed_features(self.query, self.candidates, self.products(), popularity=self.fusion.popularity)
        return self.fixed

    def scores(self, cross: npt.ArrayLike) -> FloatVector:
        """Return mix and trees together, float32 [m]."""
        parts = self.convex.parts(cross)
        said = self.fusion.trees.scores(with_rerank(self._fixed(), cross))
        return (parts["first"] + parts["rerank"] + said).astype(np.float32)

    def parts(self, cross: npt.ArrayLike) -> Mapping[str, Doubles]:
        """Return both summands of the mix, ``trees.NAME`` for every feature that adds something, and ``trees``.

        The last is what the trees give to every candidate alike.
        """
        found, alike = self.fusion.trees.contributions(with_rerank(self._fixed(), cross))
        told = {f"trees.{name}": column for name, column in zip(FEATURES, found.T, strict=True) if column.any()}
        return {**self.convex.parts(cross), **told, "trees": np.full(len(found), alike)}

    def is_settled(self, cross: Doubles, *, k: int) -> bool:
        """Return whether all are scored: nothing is proven of trees."""
        del k
        return len(cross) == self.count


def fusion_of(config: CrossEncoderConfig, folder: Path) -> FinalFusion:
    """Return the final fusion of a cross-encoder: the weight that is configured, else what is stored with the model.

    Raises:
        ConfigError: When nothing is configured and nothing stored.
        ArtifactCorrupt, ArtifactIncompatible: What is stored cannot be used.
    """
    if config.weight >= 0:
        return Convex(config.weight)
    convex = Convex(stored_weight(folder))
    return read_corrected(folder, convex) if (folder / TREES_FILE).is_file() else convex


def write_trees(folder: Path, fusion: Corrected, evidence: Mapping[str, Any]) -> None:
    """Write ``final_trees.json`` beside a cross-encoder.

    Args:
        folder: Of the cross-encoder, which holds the convex weight.
        fusion: Whose trees.
        evidence: What was seen of it on queries it did not learn from; JSON values, for people.

    Raises:
        StorageError: If the file system refuses.
    """
    body = _body(fusion.trees, fusion.popularity)
    storage.write_json(folder / TREES_FILE, {**body, "sha256": _digest(body), "evidence": dict(evidence)})


def read_corrected(folder: Path, convex: Convex) -> Corrected:
    """Read ``final_trees.json``.

    Raises:
        ArtifactIncompatible: Its format is another, or its trees look at features that this release does not have or
            gives another meaning.
        ArtifactCorrupt: It is not what a training writes, or was altered since.
    """
    path = folder / TREES_FILE
    found = storage.parse_json(storage.read_bytes(path, at_most_bytes=MAX_BYTES), where=path)
    if not isinstance(found, dict) or type(found.get("format")) is not int or found["format"] != FORMAT:
        shown = found.get("format") if isinstance(found, dict) else found
        raise ArtifactIncompatible(f"{path} has format {shown!r:.80}, this release reads {FORMAT}; {_ADVICE}")
    if found.get("features") != list(FEATURES) or found.get("meaning") != MEANING:
        raise ArtifactIncompatible(
            f"{path} looks at the features {found.get('features')!r:.400} (meaning {found.get('meaning')!r:.40}), this "
            f"release has {list(FEATURES)} (meaning {MEANING!r}); {_ADVICE}"
        )
    try:
        if set(found) != KEYS or not isinstance(found["popularity"], str):
            raise ValueError(f"expected the fields {sorted(KEYS)}, got {sorted(found)!r:.200}")
        trees = read_trees(found["trees"], features=len(FEATURES))
    except (TypeError, ValueError, OverflowError) as error:
        raise ArtifactCorrupt(f"{path} is not what a training writes: {error}; {_ADVICE}") from error
    if found["sha256"] != _digest(_body(trees, found["popularity"])):
        raise ArtifactCorrupt(f"{path} was altered since it was written: its sha256 is another; {_ADVICE}")
    return Corrected(convex, trees, found["popularity"])


def products_of(by_id: Mapping[str, Product], product_ids: Sequence[str]) -> LookUp:
    """Return a look-up of these products in a mapping."""
    return lambda: [by_id[product_id] for product_id in product_ids]


def _body(trees: Trees, popularity: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "features": list(FEATURES),
        "meaning": MEANING,
        "popularity": popularity,
        "trees": trees.plain(),
    }


def _digest(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
