"""Writes the JSON schemas of what iuscore writes, from its records, so that they cannot differ.

python docs/generate_schemas.py
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from iuscore.engine.records import RunRecord
from iuscore.engine.values import RunValue
from iuscore.explain.compare import Comparison
from iuscore.explain.select import Selection
from iuscore.models import ModelRecord
from iuscore.scoring import SetSummary

NOT_IN_FILES = {"read_sha256", "unknown"}
"""Fields of the records that are no part of a file."""

RECORDS = {
    "config": ModelRecord,
    "run": RunRecord,
    "summary": SetSummary,
    "value": RunValue,
    "comparison": Comparison,
    "selection": Selection,
}

SCHEMAS = Path(__file__).resolve().parent / "schemas"


def pages() -> dict[Path, str]:
    """Every file this program writes, with its text."""
    found = {}
    for name, record in RECORDS.items():
        schema = msgspec.json.schema(record)
        for part in schema["$defs"].values():
            part["properties"] = {key: value for key, value in part["properties"].items() if key not in NOT_IN_FILES}
        found[SCHEMAS / f"{name}.json"] = json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
    return found


if __name__ == "__main__":
    SCHEMAS.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
