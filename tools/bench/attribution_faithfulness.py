"""Count how often the words named behind a cross-encoder's score stand the deletion test.

Takes hits of drawn queries from a bundle with a reranker and prints, over them, what deleting words in their order and
in random ones costs, and how many attributions each of two rules would believe: the one in use (more lost than in
random orders on average, and agreement beyond chance), and the stricter one that every random order must lose less.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from retrieval.readers.labels import read_queries
from shortlist import SearchEngine

SEED = 7


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True, help="CSV with query_id and text")
    parser.add_argument("--count", type=int, default=10, help="queries drawn")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 7], help="hits looked into, by rank")
    arguments = parser.parse_args()
    engine = SearchEngine.open(arguments.bundle)
    queries = read_queries(arguments.queries, id_column="query_id", text_column="text")
    drawn = np.random.default_rng(SEED).choice(len(queries), size=min(arguments.count, len(queries)), replace=False)
    found = []
    for query in (queries[place].text for place in drawn.tolist()):
        hits = engine.search(query, k=max(arguments.ranks)).hits
        asked = [hits[rank - 1].product_id for rank in arguments.ranks if rank <= len(hits)]
        found += [engine.explain(query, product_id, k=max(arguments.ranks)).attribution for product_id in asked]
    tested = [one for one in found if one is not None and one.test.is_faithful is not None]
    if not tested:
        print("nothing to test: no reranker that is asked, or pairs of too few words")
        return 1
    drop, random_drop, agreement = (
        np.array([getattr(one.test, name) for one in tested]) for name in ("drop", "random_drop", "agreement")
    )
    print(f"{len(tested)} attributions of {len(found)} tested")
    print(f"  lost in their order {drop.mean():.2f}, in random orders {random_drop.mean():.2f} (means)")
    print(f"  agreement {agreement.min():.2f} to {agreement.max():.2f}, median {np.median(agreement):.2f}")
    print(f"  believed: {sum(bool(one.test.is_faithful) for one in tested)}")
    print(f"  believed if every random order must lose less: {sum(t.test.beaten == t.test.orders for t in tested)}")
    pairs, elapsed_ms = (np.median([getattr(one, name) for one in tested]) for name in ("pairs", "elapsed_ms"))
    print(f"  {pairs:.0f} pairs scored in {elapsed_ms:.0f} ms (medians)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
