"""The safeguards of opening, the journal, tombstones and queries, and who must notice when one is taken out."""

from tools.reliability.harness.safeguards_storage import PROGRAM, Mutation

BUNDLE = ("tests/unit/shortlist/test_bundle.py",)
JOURNAL = "tests/unit/shortlist/test_journal.py"
LIVING = "tests/integration/test_living_catalogue.py"
LAYERED = "tests/property/test_layered_index_properties.py"
LEXICAL = ("tests/property/test_layered_lexical_properties.py",)
SWAP = "tests/integration/test_hot_swap.py"

SERVING: tuple[Mutation, ...] = (
    # --- what is opened -----------------------------------------------------------------------------------------------
    Mutation(
        "the comparison of a file with its digest",
        "shortlist/bundle.py",
        "    if actual != expected:\n",
        "    if False:\n",
        BUNDLE,
    ),
    Mutation(
        "the comparison of the manifest with its digest",
        "shortlist/bundle.py",
        "    if digest is not None and actual != digest:\n",
        "    if False:\n",
        BUNDLE,
    ),
    Mutation(
        "that a file must be listed",
        "shortlist/bundle.py",
        "        if path not in expected and path != bundle.folder / MANIFEST:\n",
        "        if False:\n",
        BUNDLE,
    ),
    Mutation(
        "that a listed name cannot leave the bundle",
        "shortlist/manifest.py",
        '        if not FILE_NAME.fullmatch(name) or ".." in name:\n',
        "        if False:\n",
        BUNDLE,
    ),
    Mutation(
        "the comparison of the query tower's fingerprint",
        "shortlist/loading.py",
        "        _require_fingerprint(bundle, config, folder, text)\n",
        "",
        (
            "tests/integration/test_fingerprint_contract.py"
            "::test_a_folder_that_differs_in_one_thing_is_refused_with_the_field_named",
        ),
    ),
    Mutation(
        "that the query tower gives the stored vectors again",
        "shortlist/loading.py",
        '        check_tower(canary, tower.encode_queries, cosine=float(bundle.manifest.canary["cosine"]))\n',
        "        pass\n",
        (
            f"{SWAP}::test_a_candidate_that_does_not_reproduce_its_stored_queries_is_refused_though_its_encoder_is_shared",
        ),
    ),
    Mutation(
        "that the stored searches are answered again",
        "shortlist/loading.py",
        '    check_first_stage(canary, retriever, products, overlap=float(manifest.canary["overlap"]))\n',
        "",
        ("tests/integration/test_bad_candidates.py",),
    ),
    Mutation(
        "the child that loads first",
        "shortlist/loading.py",
        "        probe.wait()\n",
        "",
        ("tests/integration/test_probe.py::test_a_loader_that_crashes_is_a_refused_version_and_the_signal_is_named",),
    ),
    Mutation(
        "the look at the types in an index file",
        "indexing/faiss_file.py",
        "        found = self.take(4)\n        if found != expected:\n",
        "        found = self.take(4)\n        if False:\n",
        ("tests/unit/indexing/test_faiss_file.py",),
    ),
    # --- the journal --------------------------------------------------------------------------------------------------
    Mutation(
        "the sync of a record's name",
        "indexing/storage/writing.py",
        "        raise\n    confirm(path)\n    return written\n",
        "        raise\n    return written\n",
        (f"{JOURNAL}::test_a_record_survives_a_power_cut_right_after_the_call_has_returned",),
    ),
    Mutation(
        "the comparison of a record with the digest in its name",
        "shortlist/living/journal.py",
        "    if not sha256.startswith(file.sha256_head):\n",
        "    if False:\n",
        (JOURNAL,),
    ),
    Mutation(
        "that a record follows the one before it",
        "shortlist/living/journal.py",
        "    if previous != before.sha256:\n",
        "    if False:\n",
        (JOURNAL,),
    ),
    Mutation(
        "the journal's lock",
        "shortlist/living/journal.py",
        "        with storage.exclusive_lock(self.folder / _LOCK, purpose=purpose, wait_s=LOCK_WAIT_S):\n"
        "            yield JournalWriter(self)\n",
        "        yield JournalWriter(self)\n",
        (f"{JOURNAL}::test_writers_of_several_processes_take_turns_and_no_record_is_lost",),
    ),
    Mutation(
        "that a writer reads what others wrote before it writes",
        "shortlist/living/changing.py",
        "        latest = followed(generation)\n        position = writer.append(Delete(wanted)",
        "        latest = generation\n        position = writer.append(Delete(wanted)",
        (f"{LIVING}::test_writers_see_each_other_before_they_write",),
    ),
    Mutation(
        "that what came while a version was loaded is applied to it",
        "shortlist/serving.py",
        "                    candidate = followed(candidate)  # what was upserted while it was loaded\n",
        "",
        (f"{SWAP}::test_what_was_upserted_while_a_version_was_loaded_is_in_it",),
    ),
    Mutation(
        "that a rollback applies the journal first",
        "shortlist/versions.py",
        "up_to_date(load_generation(bundle, runtime=RuntimeConfig(), probing=probing))",
        "load_generation(bundle, runtime=RuntimeConfig(), probing=probing)",
        (f"{LIVING}::test_a_version_that_cannot_show_what_was_upserted_since_is_not_gone_back_to",),
    ),
    # --- tombstones ---------------------------------------------------------------------------------------------------
    Mutation(
        "the look at tombstones in a filtered search by vector",
        "indexing/layered.py",
        "eligible=eligible[:n] & self._alive)",
        "eligible=eligible[:n])",
        (LAYERED,),
    ),
    Mutation(
        "the look at tombstones in a search by vector",
        "indexing/layered.py",
        "        if not self._dead_count:\n",
        "        if True:\n",
        (LAYERED,),
    ),
    Mutation(
        "the look at tombstones in a search by words",
        "retrieval/layered_lexical.py",
        "        if self._any_dead:\n",
        "        if False:\n",
        LEXICAL,
    ),
    Mutation(
        "the look at tombstones in the table of products",
        "retrieval/layered_products.py",
        "        return product_id in self._base and not self._dead[self._base.row_of(str(product_id))]\n",
        "        return product_id in self._base\n",
        (PROGRAM + "deletes",),
    ),
    Mutation(
        "that a delete stands until a later upsert",
        "shortlist/living/standing.py",
        "                    deleted[product_id] = seq\n",
        "                    pass\n",
        ("tests/property/test_standing_properties.py",),
    ),
    Mutation(
        "that a build leaves deleted products out",
        "shortlist/building/ingest.py",
        "            kept = batch if restore else without(batch, deleted)\n",
        "            kept = batch\n",
        ("tests/integration/test_building_over_a_journal.py",),
    ),
    # --- queries, vectors, processes ----------------------------------------------------------------------------------
    Mutation(
        "the longest query that is taken",
        "retrieval/text.py",
        '    _check_length(len(text), max_chars, "")\n',
        "",
        ("tests/unit/retrieval/test_text.py",),
    ),
    Mutation(
        "the look for vectors that are no numbers",
        "indexing/checks.py",
        "        bad = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT_TOLERANCE))",
        "        bad = np.flatnonzero(np.abs(lengths - 1) > _UNIT_TOLERANCE)",
        ("tests/unit/indexing/test_vector_checks.py",),
    ),
    Mutation(
        "the refusal of a forked process",
        "indexing/forks.py",
        "    if _owner:\n",
        "    if False:\n",
        (
            "tests/integration/test_threads_and_forks.py"
            "::test_after_use_every_call_in_a_forked_child_is_refused_at_once",
        ),
    ),
)
"""Add yours at the end of the part it belongs to."""
