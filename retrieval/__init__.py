"""Text in, candidates out: catalogues, texts, the dual encoder, lexical search, first fusion and contrastive training.

Import from the module that owns a name (``from retrieval.records import Product``); this package alone loads nothing.
"""
