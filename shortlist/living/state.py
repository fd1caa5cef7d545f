"""The part of a generation that changes with the journal: its layers, where their vectors come from, how far it is."""

from dataclasses import dataclass
from typing import Self

from indexing.vectors import VectorStore
from retrieval.fingerprint import Fingerprint
from retrieval.text import TextTemplate
from shortlist.first_stage import FirstStage
from shortlist.living.journal import START, Position
from shortlist.living.layers import Layers
from shortlist.living.vectors import VectorSource
from shortlist.manifest import Manifest
from shortlist.product_vectors import EncodeProducts


@dataclass(frozen=True, slots=True)
class Living:
    """What a generation needs to become the next one.

    Attributes:
        layers: The version and what changed since.
        source: Where newer products get their vectors.
        position: The last record of the journal that was applied.
    """

    layers: Layers
    source: VectorSource
    position: Position

    @classmethod
    def over(
        cls,
        manifest: Manifest,
        stage: FirstStage,
        template: TextTemplate,
        *,
        store: VectorStore,
        encode: EncodeProducts | None,
    ) -> Self:
        """Return a version before any record is applied.

        Args:
            manifest: Of the version.
            stage: Its first stage.
            template: How its products become text.
            store: The part of the vector store that it uses.
            encode: Its product tower; ``None`` when it has none.
        """
        source = VectorSource(
            tower=Fingerprint(manifest.fingerprint).product_side.digest,
            brought="vectors" in manifest.fingerprint,
            store=store,
            encode=encode,
        )
        return cls(Layers.over(stage, template), source, START)
