"""Fine-tuning files of Seal-Tools, read as the benchmark's own are (`strop.tools.sealtools`)."""

from __future__ import annotations

from dataclasses import replace

from strop.tools import sealtools
from strop.tools.task import Task
from strop.training.layouts.base import Origin, Row
from strop.training.layouts.conversation import refuse_unoffered


class SealTools:
    """`Layout`."""

    name = "sealtools"

    def fits(self, row: Row) -> bool:
        return sealtools.is_row(row)

    def marked(self, row: Row) -> bool:
        return self.fits(row)

    def read(self, row: Row, origin: Origin) -> list[Task]:
        task = sealtools.read_row({**row, "id": origin.id_of(row)}, "")
        refuse_unoffered("it", task.gold.calls if task.gold else (), {tool.name for tool in task.tools})
        return [replace(task, source=origin.source)]
