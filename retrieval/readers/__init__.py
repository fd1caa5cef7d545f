"""Readers of catalogues: one module per layout, and the row contract they share.

Formats: `parquet`, `jsonl`, `delimited`. Layouts: `tabular`, `icecat`, `wands`, `esci`, `beir`. Contract: `rows` (one
row), `vectors` (a column of vectors), `ledger` (an account of every row), `labels` (queries, judgments, splits).
"""
