"""Finding the user's handler; what cannot be used is refused with the name, the cause and the remedy."""

import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from shared.errors import HandlerUnusable
from workers.media.handler import load

Write = Callable[[str], str]

_numbers = count(1)


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Write a module with a name of its own into the user's folder and return the name."""
    modules, path = set(sys.modules), list(sys.path)

    def module(source: str) -> str:
        name = f"users_module_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield module
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("users_module_"):
            del sys.modules[name]


GOOD = "async def answer(call):\n    await call.answer()\n"


def test_a_handler_in_the_users_folder_is_found(write: Write, tmp_path: Path) -> None:
    name = write(GOOD)
    script = load(f"{name}:answer", folder=tmp_path)
    assert script.name == f"{name}:answer"
    assert script.handler.__module__ == name
    assert script.on_lost is None


def test_an_on_lost_beside_the_handler_is_found(write: Write, tmp_path: Path) -> None:
    name = write(GOOD + "async def on_lost(call):\n    pass\n")
    on_lost = load(f"{name}:answer", folder=tmp_path).on_lost
    assert on_lost is not None
    assert on_lost.__name__ == "on_lost"


def test_the_users_folder_comes_last_on_the_import_path(write: Write, tmp_path: Path) -> None:
    """Prepended, their `json.py` would be everybody's `json`."""
    (tmp_path / "json.py").write_text("raise AssertionError('the wrong json')\n")
    name = write("import json\n" + GOOD)
    load(f"{name}:answer", folder=tmp_path)
    assert sys.path[-1] == str(tmp_path)


def test_the_folder_is_put_on_the_import_path_once(write: Write, tmp_path: Path) -> None:
    name = write(GOOD)
    for _ in range(3):
        load(f"{name}:answer", folder=tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


@pytest.mark.parametrize("handler", ["workers.handlers.announce:answer", "workers.handlers.echo:answer"])
def test_our_own_handlers_are_usable(handler: str, tmp_path: Path, write: Write) -> None:
    assert load(handler, folder=tmp_path).name == handler


@pytest.mark.parametrize("name", ["reception", "reception:", ":answer", "", ":"])
def test_a_name_of_another_form_is_refused_with_an_example(name: str, tmp_path: Path) -> None:
    with pytest.raises(HandlerUnusable, match=r"^CALL_HANDLER=.*module:function.*reception:answer"):
        load(name, folder=tmp_path)


def test_a_missing_module_is_named_with_where_it_was_looked_for(write: Write, tmp_path: Path) -> None:
    with pytest.raises(HandlerUnusable, match=rf"CALL_HANDLER=nowhere:answer.*no module nowhere in {tmp_path}"):
        load("nowhere:answer", folder=tmp_path)


def test_a_missing_module_of_a_package_is_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(HandlerUnusable, match=r"no module workers\.handlers\.nowhere"):
        load("workers.handlers.nowhere:answer", folder=tmp_path)


def test_a_module_that_imports_something_missing_says_what(write: Write, tmp_path: Path) -> None:
    name = write("import surely_not_installed\n" + GOOD)
    with pytest.raises(HandlerUnusable, match=f"importing {name} failed.*surely_not_installed"):
        load(f"{name}:answer", folder=tmp_path)


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        pytest.param("1 / 0\n", "ZeroDivisionError", id="it raises"),
        pytest.param("async def answer(call)\n", "SyntaxError", id="it is no Python"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(write: Write, tmp_path: Path, source: str, cause: str) -> None:
    name = write(source)
    with pytest.raises(HandlerUnusable, match=f"CALL_HANDLER={name}:answer: importing {name} failed: {cause}"):
        load(f"{name}:answer", folder=tmp_path)


def test_a_missing_function_is_named_with_its_file(write: Write, tmp_path: Path) -> None:
    name = write(GOOD)
    with pytest.raises(HandlerUnusable, match=rf"{name}\.py has no function reply"):
        load(f"{name}:reply", folder=tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "def answer(call):\n    pass\n",
        "answer = 5\n",
        "class answer:\n    pass\n",
        "async def answer(call):\n    yield\n",
    ],
)
def test_what_is_no_coroutine_function_is_refused_with_the_remedy(write: Write, tmp_path: Path, source: str) -> None:
    name = write(source)
    with pytest.raises(HandlerUnusable, match="answer is not a coroutine function; write `async def`"):
        load(f"{name}:answer", folder=tmp_path)


def test_an_on_lost_that_is_no_coroutine_function_is_refused(write: Write, tmp_path: Path) -> None:
    name = write(GOOD + "def on_lost(call):\n    pass\n")
    with pytest.raises(HandlerUnusable, match="on_lost is not a coroutine function"):
        load(f"{name}:answer", folder=tmp_path)


@pytest.mark.parametrize("shadow", ["shared", "workers", "ingress", "pageline", "simulator"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_something_of_the_users_named_like_one_of_our_packages_is_refused(
    write: Write, tmp_path: Path, shadow: str, kind: str
) -> None:
    name = write(GOOD)
    if kind == "folder":
        (tmp_path / shadow).mkdir()
    else:
        (tmp_path / f"{shadow}.py").write_text("")
    with pytest.raises(HandlerUnusable, match=rf"{shadow}.* has the name of one of pageline's own packages.*Rename it"):
        load(f"{name}:answer", folder=tmp_path)


def test_our_own_folder_shadows_nothing() -> None:
    ours = Path(sys.modules["shared"].__path__[0]).parent
    assert load("workers.handlers.echo:answer", folder=ours).name == "workers.handlers.echo:answer"
