"""Writes the JSON schemas of what iuscore writes, from its records, so that they cannot differ.

python docs/generate_schemas.py
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from iuscore.scoring import SetSummary

SCHEMAS = Path(__file__).resolve().parent / "schemas"


def pages() -> dict[Path, str]:
    """Every file this program writes, with its text."""
    schema = msgspec.json.schema(SetSummary)
    return {SCHEMAS / "summary.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n"}


if __name__ == "__main__":
    SCHEMAS.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
