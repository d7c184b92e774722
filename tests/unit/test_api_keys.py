"""PAGELINE_API_KEYS: what its entries open, and that they need not hold a secret."""

import hashlib
import json

import pytest
from typer.testing import CliRunner

from pageline.cli import app
from shared import api_keys
from shared.api_keys import Scope
from shared.errors import BadSetting
from shared.settings import load

HEX = hashlib.sha256(b"s3cret").hexdigest()


@pytest.mark.parametrize(
    ("entry", "scope"),
    [
        ("s3cret", Scope.ADMIN),
        ("read:s3cret", Scope.READ),
        ("call:s3cret", Scope.CALL),
        ("admin:s3cret", Scope.ADMIN),
        (f"sha256={HEX}", Scope.ADMIN),
        (f"call:sha256={HEX.upper()}", Scope.CALL),
    ],
)
def test_an_entry_opens_what_its_scope_says(entry: str, scope: Scope) -> None:
    found = api_keys.find(api_keys.read([entry]), "s3cret")
    assert found is not None
    assert found.scope is scope
    assert api_keys.find(api_keys.read([entry]), entry if ":" in entry or "=" in entry else "other") is None


def test_a_secret_with_a_colon_that_names_no_scope_is_one_secret() -> None:
    assert api_keys.find(api_keys.read(["team:s3cret"]), "team:s3cret") is not None


def test_nothing_is_no_key() -> None:
    assert api_keys.find(api_keys.read([f"sha256={hashlib.sha256(b'').hexdigest()}"]), "") is None


def test_of_a_key_entered_twice_the_higher_scope_counts() -> None:
    found = api_keys.find(api_keys.read(["admin:s3cret", "read:s3cret"]), "s3cret")
    assert found is not None
    assert found.scope is Scope.ADMIN


@pytest.mark.parametrize("entry", ["read:", "sha256=abc", f"call:sha256={HEX}0", "admin:sha256="])
def test_an_entry_that_is_neither_is_refused_at_the_start_with_the_remedy(entry: str) -> None:
    with pytest.raises(BadSetting, match="pageline keys new"):
        _ = load({"PAGELINE_API_KEYS": entry}).api_keys


def test_a_new_key_fits_its_entry_which_does_not_hold_it() -> None:
    secret = api_keys.new()
    entry = api_keys.entry_of(secret, Scope.CALL)
    assert secret not in entry
    found = api_keys.find(load({"PAGELINE_API_KEYS": f"other, {entry}"}).api_keys, secret)
    assert found is not None
    assert found.scope is Scope.CALL


def test_the_command_prints_a_key_with_its_entry_once() -> None:
    said = CliRunner().invoke(app, ["keys", "new", "--scope", "call", "--json"])
    made = json.loads(said.stdout)
    found = api_keys.find(api_keys.read([made["entry"]]), made["key"])
    assert (made["scope"], found and found.scope) == ("call", Scope.CALL)
    assert made["key"] not in made["entry"]
