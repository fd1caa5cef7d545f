"""Words of the command line, which configuration is composed with."""

from collections.abc import Iterator

from tools.reliability.harness.hostile_kinds.kind import CODE, HostileKind


def overrides() -> Iterator[HostileKind]:
    """Yield words that name code, paths or variables, or that break a schema."""
    words = (
        f"+_target_={CODE[0]}", f"text._target_={CODE[0]}", f"encoder={{_target_:{CODE[0]}}}",
        f"++encoder._target_={CODE[0]}",
        f"index._partial_={CODE[0]}", "catalog=../../../etc/passwd", "catalog=/etc/passwd", "encoder=minilm@os",
        "hydra.searchpath=[file:///tmp]", f"hydra.callbacks.x._target_={CODE[0]}", "hydra.run.dir=/tmp/elsewhere",
        f"+hydra.job_logging._target_={CODE[0]}", "hydra/launcher=basic", "~hydra.job", "~encoder", "defaults=[x]",
        "encoder.query_prompt=${oc.env:HOME}", "encoder.model=${oc.env:HOME}", "text.fields=[${oc.env:HOME}]",
        "catalog.name=${oc.decode:x}", "encoder.query_prompt=${now:%Y}", f"+x=!!python/object/apply:{CODE[0]} []",
        "text.fields=7", "text.max_chars=x", "index.links=1e999", "index@text=hnsw", "+encoder@_global_=minilm",
        "segment_texts=-1", "canary_cosine=nan", "fusion.dense=inf",
    )  # fmt: skip
    for word in words:
        yield HostileKind(f"override {word}", overrides=(word,))
