"""What the numbers of a report rest on, as names and values, so that two reports can be told apart line by line."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from shortlist.evaluation.records import Evaluation

Origins: TypeAlias = dict[str, dict[str, str]]
"""Group -> name -> value; a group that was not recorded is empty."""


def origins(
    provenance: Mapping[str, Any], *, convention: str, resampling: Mapping[str, int], versions: Mapping[str, str]
) -> Origins:
    """Return what a report rests on, from its parts as report.json holds them.

    Raises:
        KeyError, TypeError, AttributeError: If a part is not what this release writes.
    """
    told = {
        "catalogue": provenance["source"],
        "judgments": provenance["judgments"],
        "bundle": provenance["bundle"],
        "bundle version": provenance["generation"],
        "query tower": provenance["fingerprint"],
    }
    return {
        "what was measured": {name: str(value) for name, value in told.items() if value},
        "how it was measured": {
            "convention": convention,
            "resampling trials": f"{resampling['trials']:,}",
            "resampling seed": str(resampling["seed"]),
            **provenance.get("configuration", {}),
        },
        "the bundle": dict(provenance["settings"]),
        "digests (SHA-256)": dict(provenance["digests"]),
        "versions": dict(versions),
    }


def origins_of(evaluation: Evaluation) -> Origins:
    """Return what an evaluation rests on."""
    return origins(
        asdict(evaluation.provenance),
        convention=evaluation.options.convention.name,
        resampling={"trials": evaluation.options.trials, "seed": evaluation.options.seed},
        versions=evaluation.versions,
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values as dotted names and texts, in their order; what is empty is left out.

    >>> flat({"index": {"kind": "hnsw", "links": 32, "note": ""}, "systems": ["bm25", "dense"]})
    {'index.kind': 'hnsw', 'index.links': '32', 'systems': 'bm25, dense'}
    """
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            found[prefix + name] = ", ".join(map(str, value))
        elif value is not None:
            found[prefix + name] = str(value)
    return {name: value for name, value in found.items() if value}
