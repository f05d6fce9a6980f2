"""The version of archived settings, and bringing earlier ones up to date."""

from dataclasses import replace

from ups_engine.config.files import Document
from ups_engine.config.migrations import MIGRATIONS, upgrade
from ups_engine.config.paths import LATER
from ups_engine.formats import require_known

SCHEMA = "schema"
"""The key of an archive that states its version; the first version states none."""
VERSION = max([migration.version for migration in MIGRATIONS] + [mark.version for mark in LATER.values()])
"""Of the settings today."""


def up_to_date(document: Document, where: str, otherwise: int) -> tuple[Document, int]:
    """Bring the keys of an archive up to date.

    Args:
        document: what was read.
        where: the file, for messages.
        otherwise: version of a document that states none.

    Returns:
        The document with today's keys, and the version that it was of. What came later is still absent.

    Raises:
        FormatError: a newer UPS wrote it.
    """
    tables = {name: value for name, value in document.tables.items() if name != SCHEMA}
    version = require_known("settings", document.tables.get(SCHEMA, otherwise), VERSION, where)
    return replace(document, tables=upgrade(tables, version)), version
