"""A living catalogue: products upserted and deleted since a version was built, in a journal beside the versions."""
