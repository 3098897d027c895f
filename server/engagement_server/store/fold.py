"""How text is folded before it is compared, and which version of these rules the store has applied."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apsw


def fold_version() -> str:
    """Identifies the rules and the Unicode tables of the fold: texts folded by another may differ."""
    return f"casefold, Unicode {unicodedata.unidata_version}"


def refold_entities(connection: apsw.Connection) -> None:
    """Folds the names of all entity lists again, inside the transaction of the caller."""
