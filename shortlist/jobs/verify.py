"""Job ``verify``: everything that opening a bundle checks, one thing after the other, with what each came to.

The quick form reads every byte and parses nothing but JSON. The full one also loads everything, in a child first, and
asks the version what it answered when it was built.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from indexing.errors import ArtifactError, ShortlistError
from retrieval.config import RuntimeConfig
from shortlist.bundle import Bundle, encoded_in, open_bundle, verify_files
from shortlist.canary import Canary, check_first_stage, check_reranker, check_tower, read_canary
from shortlist.manifest import CANARY_FILE


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked.

    Attributes:
        name: What.
        found: What it came to, or why it was refused.
        passed: Whether it was as it must be.
    """

    name: str
    found: str
    passed: bool = True


@dataclass(slots=True)
class VerifyReport:
    """What verifying a bundle came to.

    Attributes:
        version: The live version; empty when CURRENT does not name one that can be read.
        checks: In the order they were made; the last one may have failed, and nothing after it was tried.
        size_bytes: Of the files and segments of the version.
        error: What refused the version, or ``None``.
    """

    version: str = ""
    checks: list[Check] = field(default_factory=list)
    size_bytes: int = 0
    error: ShortlistError | None = None

    def values(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        checks = [asdict(check) for check in self.checks]
        failed = (
            {"error": {"code": self.error.code, "message": str(self.error), "exit_code": 3}}
            if self.error is not None
            else {}
        )
        summary = {"version": self.version, "ok": self.error is None, "size_bytes": self.size_bytes}
        return summary | {"checks": checks} | failed

    def text(self) -> str:
        """Return the report as a table, a line per check."""
        width = max(len(check.name) for check in self.checks)
        lines = [f"{'ok ' if check.passed else '!! '} {check.name:<{width}}  {check.found}" for check in self.checks]
        verdict = f"{self.version} is whole" if self.error is None else f"{self.version or 'the bundle'} is refused"
        return "\n".join([*lines, verdict])


def verify(root: Path, *, full: bool) -> VerifyReport:
    """Check the live version of a bundle.

    Args:
        root: The bundle directory.
        full: Also load everything and ask the canary; needs the memory and the time of opening.

    Returns:
        The checks up to the first that failed.
    """
    report = VerifyReport()
    bundle: list[Bundle] = []

    def manifest() -> str:
        bundle.append(open_bundle(root, verify=False))
        report.version = bundle[0].manifest.version
        listed = bundle[0].manifest
        precision, reason = encoded_in(listed)
        encoded = f", encoded in {precision} ({reason})" if precision else ""
        return f"format {listed.format}, {listed.catalogue['accepted']} products{encoded}"

    def files() -> str:
        report.size_bytes = verify_files(bundle[0])
        listed = bundle[0].manifest
        return (
            f"{len(listed.files)} files, {len(listed.segments)} segments, {report.size_bytes / 2**20:.1f} MiB: SHA-256"
        )

    steps: list[tuple[str, Callable[[], str]]] = [("CURRENT and manifest", manifest), ("files", files)]
    steps.append(("journal", lambda: _journal(bundle[0])))
    try:
        for name, step in steps:
            _run(report, name, step)
        if full:
            for name, step in _full_steps(bundle[0]):
                _run(report, name, step)
    except ArtifactError as error:
        report.error = error
    finally:
        for opened in bundle:
            opened.lease.close()
    return report


def _run(report: VerifyReport, name: str, step: Callable[[], str]) -> None:
    """Take one step and note what it came to."""
    try:
        report.checks.append(Check(name, step()))
    except ArtifactError as error:
        report.checks.append(Check(name, str(error), passed=False))
        raise


def _journal(bundle: Bundle) -> str:
    from shortlist.living.journal import Journal
    from shortlist.living.standing import standing

    records = Journal(bundle.root).read()
    standing(records, journal_seq=bundle.manifest.journal_seq, where=bundle.manifest.version)
    return f"{len(records)} records, each with its digest"


def _full_steps(bundle: Bundle) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what loading the version proves."""
    from shortlist.generation import Generation
    from shortlist.living.changing import up_to_date
    from shortlist.loading import load_generation
    from shortlist.probe import Probe

    loaded: list[Generation] = []
    manifest = bundle.manifest

    def stored() -> str:
        bundle.open_vectors().verify()
        return f"{sum(segment.count for segment in manifest.segments)} vectors, held against the store's own records"

    def child() -> str:
        with Probe(bundle) as probe:
            probe.wait()
        return "indexes and products load in a process of their own, and answer"

    def load() -> str:
        loaded.append(load_generation(bundle, runtime=RuntimeConfig(), probing=False))
        models = [name for name in ("encoder", "reranker", "student") if f"{name}/modules.json" in manifest.files]
        return f"everything loads; {' and '.join(models) or 'no model'} as the fingerprint says"

    def applied() -> str:
        generation = up_to_date(loaded[0])
        return f"{len(generation.products.there)} products are shown once the journal is applied"

    yield "vector store", stored
    yield "child", child
    yield "models", load
    yield "canary", lambda: _canary(loaded[0], read_canary(bundle.folder / CANARY_FILE))
    yield "journal on top", applied


def _canary(generation: Any, canary: Canary) -> str:  # noqa: ANN401 - a Generation, whose module loads torch
    """Ask what was stored once more, to say how close the answers are."""
    tolerances = generation.bundle.manifest.canary
    stage = generation.retriever
    searches = check_first_stage(canary, stage, generation.products, overlap=float(tolerances["overlap"]))
    found = [f"{searches} searches answered as when it was built"]
    if generation.bundle.manifest.encoder is not None:
        smallest = check_tower(canary, generation.tower.encode_queries, cosine=float(tolerances["cosine"]))
        found.append(
            f"smallest cosine {smallest:.6f} of {len(canary.queries)} queries (at least {tolerances['cosine']})"
        )
    if canary.pairs:
        spread = float(tolerances["spread"])
        worst = check_reranker(
            canary, generation.reranker.score, generation.products, generation.template, spread=spread
        )
        found.append(f"{len(canary.pairs)} pairs at most {worst:.4f} deviations off (at most {spread})")
    return "; ".join(found)
