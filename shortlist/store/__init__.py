"""The built-in store: a made-up shop with queries and complete grades, to show and to test; not a benchmark.

From facts to files, each step a module:

```
house, facts, departments    what the shop knows and how it writes
listings, shop               makes and their variants: what a shopper reads
templates, splits, phrasing  how shoppers write; which phrasing and which synonyms are held out
queries, grades, judgments   what is asked, and how well each product answers
write                        products.parquet, queries.csv, judgments.csv, splits.csv
```
"""

from shortlist.store.write import StoreReport, write_store

__all__ = ["StoreReport", "write_store"]
