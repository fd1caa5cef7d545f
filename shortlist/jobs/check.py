"""Job ``check``: look at a whole catalogue as a build would, without loading a model."""

from pathlib import Path

from retrieval.catalog import open_catalog
from retrieval.models import model_folder
from retrieval.survey import Survey, survey
from retrieval.text import TextTemplate
from shortlist.building.ingest import product_counter
from shortlist.config import CheckConfig


def check(config: CheckConfig, *, source: Path, quarantine: Path | None = None) -> Survey:
    """Survey a catalogue.

    Args:
        config: Layout, text template, and the encoder whose tokenizer counts.
        source: Folder of the catalogue's files.
        quarantine: New file for bad rows; they are counted in any case.

    Raises:
        SourceDataError: With ``catalog.on_bad_rows=fail``, at the first batch with a bad row.
        ConfigError: The template names a field that no product has, or there is no such model.
    """
    folder = model_folder(config.encoder.model) if config.encoder.model else None
    counter = product_counter(folder, config.encoder)
    return survey(open_catalog(config.catalog, source), TextTemplate(config.text), counter, quarantine=quarantine)
