"""The grounds: catalogues with judged queries, and the models that every pipeline uses on them."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from retrieval.catalog import Catalog, open_catalog
from retrieval.models import model_folder
from retrieval.text import TextTemplate
from shortlist.compose import load_config
from shortlist.config import BuildConfig, EvaluateConfig
from tools.machine import ROOT

SHARED = Path(os.environ.get("SHORTLIST_SHARED_DATA", ROOT.parent / "shared" / "data"))
GROUNDS = ("icecat", "homedepot", "store")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A catalogue with judged queries, and the models that everybody uses on it.

    Attributes:
        name: As asked for.
        catalog: Products, queries and judgments.
        model: The dual encoder.
        cross_encoder: Without one, nobody reranks.
        complete: A product without a judgment has grade 0.
    """

    name: str
    catalog: Catalog
    model: Path
    cross_encoder: Path | None
    complete: bool = False


def grounds(names: Sequence[str], demo: Path, cross_encoder: Path | None) -> Iterable[Ground]:
    """Open the catalogues that were asked for; what is not there is said, not passed over.

    Args:
        names: Some of `GROUNDS`.
        demo: What ``make demo`` left: the store, with models of its own.
        cross_encoder: Of the grounds that have none of their own.
    """
    for name in names:
        if name == "store":
            models = demo / "models"
            if not models.is_dir():
                sys.exit(f"{demo} holds no models; make them with: make demo")
            catalog = _catalog(["catalog=demo", "catalog.split=test"], demo / "store")
            yield Ground(
                name=name,
                catalog=catalog,
                model=models / "retriever",
                cross_encoder=models / "reranker",
                complete=True,
            )
            continue
        if not (SHARED / name).is_dir():
            print(f"{name}: left out, {SHARED / name} is not there")
            continue
        overrides = ["catalog=homedepot", "catalog.split=dev"] if name == "homedepot" else [f"catalog={name}"]
        catalog = _catalog(overrides, SHARED / name)
        yield Ground(name=name, catalog=catalog, model=model_folder("minilm"), cross_encoder=cross_encoder)


def _catalog(overrides: Sequence[str], source: Path) -> Catalog:
    return open_catalog(load_config(EvaluateConfig, overrides).catalog, source)


def write_corpus(ground: Ground, path: Path, *, limit: int | None = None) -> None:
    """Write every product's text as Shortlist's default template renders it; an empty text becomes the id."""
    template = TextTemplate(load_config(BuildConfig).text)
    products = (product for batch in ground.catalog.products() for product in batch.products)
    with path.open("w", encoding="utf-8") as lines:
        for product in islice(products, limit):
            text = template.render(product).encode(errors="replace").decode()
            lines.write(json.dumps({"product_id": product.product_id, "text": text or product.product_id}) + "\n")
