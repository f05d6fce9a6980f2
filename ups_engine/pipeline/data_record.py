"""What a run keeps of its data, brought up to date."""

from ups_engine.data.collection import Collection
from ups_engine.data.survey import RECORD_VERSION
from ups_engine.runs.directory import RunDirectory


def enter_data(run: RunDirectory, collection: Collection) -> None:
    """Write a run's data record where there is none, or one of an earlier version.

    Raises:
        RunError: the record is damaged, or the disk refuses the write.
    """
    record = run.data_record()
    if record is None or record.get("version") != RECORD_VERSION:
        run.write_data_record(collection.record())
