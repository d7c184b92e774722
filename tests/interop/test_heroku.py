"""The manifest of deploy/ against the schema that Heroku itself publishes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.interop.program import CACHE

SCHEMA: Final = CACHE / "node_modules" / "@heroku" / "mcp-server" / "dist" / "utils" / "app-json.schema.json"
MANIFEST: Final = Path(__file__).parents[2] / "deploy" / "app.json"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not SCHEMA.exists(), reason="Heroku's schema is not there: it takes npm and `make interop`"),
]


def takes(manifest: Path) -> bool:
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", SCHEMA, manifest]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_heroku_takes_the_manifest(tmp_path: Path) -> None:
    assert takes(MANIFEST)
    wrong = tmp_path / "app.json"
    wrong.write_text(json.dumps({**json.loads(MANIFEST.read_text()), "formation": [{"process": "web"}]}))
    assert not takes(wrong), "the schema checks something"
