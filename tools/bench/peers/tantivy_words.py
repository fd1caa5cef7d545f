"""Tantivy with its English analyser (`en_stem`) and its query parser in the lenient form."""

import tantivy
from protocol import Options, serve


class Tantivy:
    """Words alone."""

    def __init__(self, options: Options) -> None:
        """Declare one stored id and one text field."""
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("product_id", stored=True, tokenizer_name="raw")
        builder.add_text_field("text", stored=False, tokenizer_name="en_stem")
        self.schema = builder.build()
        self.folder = options.folder

    def build(self, product_ids: list[str], texts: list[str]) -> None:
        """Add every product and commit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        writer = tantivy.Index(self.schema, path=str(self.folder)).writer()
        for product_id, text in zip(product_ids, texts, strict=True):
            writer.add_document(tantivy.Document(product_id=product_id, text=text))
        writer.commit()
        writer.wait_merging_threads()

    def open(self, product_ids: list[str], texts: list[str]) -> None:
        """Open the index for reading."""
        self.index = tantivy.Index.open(str(self.folder))
        self.index.reload()
        self.searcher = self.index.searcher()

    def search(self, query: str, k: int) -> list[tuple[str, float]]:
        """Parse what was typed, quotes and colons forgiven, and rank."""
        parsed, _errors = self.index.parse_query_lenient(query, ["text"])
        hits = self.searcher.search(parsed, k).hits
        return [(self.searcher.doc(address)["product_id"][0], score) for score, address in hits]


if __name__ == "__main__":
    serve(Tantivy)
