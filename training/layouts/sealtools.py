"""Fine-tuning files of Seal-Tools, read as the benchmark's own are (`strop.tools.sealtools`)."""

from __future__ import annotations

from dataclasses import replace

from strop.tools import sealtools
from strop.tools.errors import DataError
from strop.tools.task import Task
from strop.training.layouts.base import Origin, Row


class SealTools:
    """`Layout`."""

    name = "sealtools"

    def fits(self, row: Row) -> bool:
        return sealtools.is_row(row)

    def marked(self, row: Row) -> bool:
        return self.fits(row)

    def read(self, row: Row, origin: Origin) -> list[Task]:
        task = sealtools.read_row({**row, "id": origin.id_of(row)}, "")
        offered = {tool.name for tool in task.tools}
        for call in task.gold.calls if task.gold else ():
            if call.name not in offered:
                raise DataError(f"it calls {call.name!r}, which is not offered")
        return [replace(task, source=origin.source)]
