"""The table of sabotages fits the tree: what it takes out is there, and so are the tests that have to notice."""

import ast
from pathlib import Path

import pytest

from tests.sabotage.sabotage import MechanismMoved, Sabotage
from tests.sabotage.stage import staged
from tests.sabotage.table import SABOTAGES

ROOT = Path(__file__).parents[2]
PROMISES = range(1, 11)


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.sentence.replace(" ", "_"))
def test_what_is_taken_out_is_there_once_and_the_tests_exist(sabotage: Sabotage) -> None:
    assert sabotage.sabotaged((ROOT / sabotage.file).read_text()) != ""
    assert [
        test for test in sabotage.tests if test.partition("::")[2].partition("[")[0] not in defined_beside(test)
    ] == []


def defined_beside(test: str) -> set[str]:
    module = ast.parse((ROOT / test.partition("::")[0]).read_text())
    return {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_promise_has_a_sabotage_and_every_sabotage_a_test() -> None:
    assert {sabotage.promise for sabotage in SABOTAGES} == set(PROMISES)
    assert all(sabotage.tests for sabotage in SABOTAGES)


def test_a_mechanism_that_has_moved_is_told() -> None:
    sabotage = Sabotage(1, "Nothing is done", "shared/clock.py", mechanism="done()", without="", tests=())
    for source in ("", "done() done()"):
        with pytest.raises(MechanismMoved, match="the mechanism has moved"):
            sabotage.sabotaged(source)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git says what a copy of the tree consists of")
def test_a_test_that_notices_is_red_one_that_cannot_run_is_not_and_the_tree_stays_whole() -> None:
    file = "shared/meta/signature.py"
    notices = "tests/unit/test_signature.py::test_one_changed_bit_anywhere_is_noticed"
    overlooks = "tests/unit/test_signature.py::test_the_reference_vectors_are_signed"
    before = (ROOT / file).read_text()
    with staged() as stage:
        with Sabotage(1, "Any signature is good", file, "return genuine", "return True", ()).applied(stage.tree):
            seen = stage.run([notices, overlooks])
            assert (ROOT / file).read_text() == before
        assert (seen[notices].red, seen[overlooks].red) == (True, False)
        assert "assert" in seen[notices].said
        with Sabotage(1, "Nothing can be imported", file, "import hmac", "import nothing", ()).applied(stage.tree):
            (unfit,) = stage.run([notices]).values()
        assert not unfit.red
        assert stage.run([notices])[notices].outcome == "passed"
