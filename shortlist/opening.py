"""What `SearchEngine.open` was asked for, kept so that a reload opens the next version in the same way."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from retrieval.config import Precision, RuntimeConfig
from retrieval.query_lane import QueryLane, joins
from shortlist.bundle import live_version, open_bundle
from shortlist.caches import CacheConfig
from shortlist.canary import read_canary
from shortlist.generation import CallableTower, EncodeQueries, Generation
from shortlist.living.changing import up_to_date
from shortlist.loading import load_generation
from shortlist.manifest import CANARY_FILE

PROFILES = {"throughput": 0, "latency": 1}
"""Threads of one call, 0 for all cores."""

JOINED_AT_OPENING = 8
"""Stored queries that are encoded together and each alone: a batch as concurrent callers make it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A bundle directory and how its versions are opened.

    Attributes:
        root: The bundle directory.
        runtime: Device, threads and precision.
        encoder: A model folder or a function in place of the bundle's own query tower.
        reranking: Load the reranker if the bundle has one.
        cached: Take the digests of files that have not changed since they were hashed here.
        probing: Let a process of its own open indexes and products first.
        cache: What an engine may remember.
        joining: Encode queries of concurrent callers together where their vectors do not depend on it.
    """

    root: Path
    runtime: RuntimeConfig
    encoder: Path | EncodeQueries | None = None
    reranking: bool = True
    cached: bool = False
    probing: bool = True
    cache: CacheConfig = field(default_factory=CacheConfig)
    joining: bool = True

    def load(self, *, beside: Generation | None = None) -> Generation:
        """Return the live version: every file verified, its answers proven and warm from that, the journal applied.

        Args:
            beside: A generation that serves meanwhile; the models that both have in common are shared.

        Raises:
            ArtifactError: Missing, altered, of another format, or built with another encoder; the message says which.
            ConfigError, EnvironmentProblem: The runtime cannot be had.
            StorageError: A file cannot be read.
        """
        loaded = load_generation(
            open_bundle(self.root, cached=self.cached),
            runtime=self.runtime,
            encoder=self.encoder,
            reranking=self.reranking,
            probing=self.probing,
            beside=beside,
        )
        return up_to_date(self._with_lane(loaded, beside))

    def _with_lane(self, loaded: Generation, beside: Generation | None) -> Generation:
        """Lead queries to the tower in one lane; one that is shared keeps its lane, and with it what it remembers."""
        tower = loaded.tower
        if tower is None or isinstance(tower, CallableTower):  # a caller's own function is called as the caller asks
            return loaded
        if beside is not None and beside.tower is tower and beside.lane is not None:
            lane = beside.lane
        else:
            stored = read_canary(loaded.bundle.folder / CANARY_FILE).queries[:JOINED_AT_OPENING]
            same = joins(tower, stored)  # asked in any case: the shapes of single queries have run once then
            lane = QueryLane(tower, joining=same and self.joining, cache=self.cache.query_vectors())
        return replace(loaded, retriever=loaded.retriever.using(encoder=lane))

    def is_live(self, generation: Generation) -> bool:
        """Whether CURRENT names the very version that a generation is made of.

        Raises:
            ArtifactNotFound, ArtifactCorrupt: CURRENT is gone, or does not hold what this release writes.
            StorageError: It cannot be read.
        """
        return live_version(self.root) == (generation.bundle.manifest.version, generation.bundle.manifest_sha256)


def runtime_of(*, device: str, index_device: str, threads: int, profile: str, precision: str) -> RuntimeConfig:
    """Return what the words of `SearchEngine.open` mean; threads that are given count before those of the profile.

    Raises:
        ValueError: An unknown profile or precision, or what `RuntimeConfig` refuses.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    if precision not in Precision.__members__:
        raise ValueError(f"precision must be one of {', '.join(Precision.__members__)}, got {precision!r}")
    return RuntimeConfig(
        device=device,
        index_device=index_device,
        threads=threads or PROFILES[profile],
        precision=Precision[precision],
    )
