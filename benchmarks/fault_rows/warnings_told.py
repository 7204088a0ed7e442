"""What a part of the library warns of, kept for counting."""

from __future__ import annotations

import logging


class Warnings(logging.Handler):
    """told: the messages since it was made. name: of the logger, a module's."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []
        logger = logging.getLogger(name)
        logger.addHandler(self)
        logger.propagate = False  # hundreds of lines that are expected

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())
