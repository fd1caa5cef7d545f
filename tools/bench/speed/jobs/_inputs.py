"""What several measurements are given: product texts and vectors, by stated recipes."""

import numpy as np

from indexing.types import FloatMatrix
from retrieval.catalog import open_catalog
from retrieval.text import TextTemplate
from shortlist.compose import load_config
from shortlist.config import BuildConfig
from tools.bench.speed.records import Options

WORDS = [
    "wireless",
    "black",
    "steel",
    "keyboard",
    "mouse",
    "sofa",
    "charger",
    "with",
    "for",
    "large",
    "portable",
    "lamp",
]
CENTRES = 256


def product_texts(options: Options, *, count: int) -> tuple[list[str], str]:
    """Return product texts, and where they are from in words.

    They are Icecat's, through the default text template, ``count`` of them drawn with the seed; where the data is not
    there, made up of a dozen words, 3 to 60 each.
    """
    generator = np.random.default_rng(options.seed)
    source = options.data / "icecat"
    if not source.is_dir():
        return [" ".join(generator.choice(WORDS, generator.integers(3, 60))) for _ in range(count)], "made-up texts"
    config = load_config(BuildConfig, ["catalog=icecat"])
    template = TextTemplate(config.text)
    batches = open_catalog(config.catalog, source).products()
    texts = [template.render(product) for batch in batches for product in batch.products]
    chosen = generator.choice(len(texts), min(count, len(texts)), replace=False)
    return [texts[place] for place in chosen], "Icecat"


def clustered_vectors(count: int, dim: int, *, seed: int) -> FloatMatrix:
    """Return seeded unit vectors around a few hundred centres, as catalogues have departments; float32 [count, dim]."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((CENTRES, dim), dtype=np.float32)
    vectors = centres[generator.integers(0, CENTRES, count)]
    vectors += generator.standard_normal((count, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors, dtype=np.float32)
