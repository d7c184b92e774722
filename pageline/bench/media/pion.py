"""The pion baseline: built from Debian's own Go packages, where they are installed; nothing is downloaded."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pageline.bench import baselines
from pageline.bench.processes import BenchFailed, running
from pageline.bench.stacks import Stack, baseline_settings
from shared.embedded import free_port

LIBRARIES: Final = Path("/usr/share/gocode")
NEEDED: Final = LIBRARIES / "src/github.com/pion/webrtc"
SOURCE: Final = Path(baselines.__file__).parent / "pion_echo" / "main.go"


def installed() -> bool:
    """Return whether Go and pion are there: `apt-get install golang-go golang-github-pion-webrtc.v3-dev`."""
    return shutil.which("go") is not None and NEEDED.is_dir()


def build(home: Path) -> Path:
    """Return the program, built; Go finds `/v3` packages only from a tree of its own with a go.mod in it.

    Raises:
        BenchFailed: it does not compile.
    """
    tree = home / "go" / "src" / "pion_echo"
    program = home / "pion_echo"
    if program.exists():
        return program
    tree.mkdir(parents=True)
    shutil.copy(SOURCE, tree)
    (tree / "go.mod").write_text("module pion_echo\n")
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": f"{home / 'go'}:{LIBRARIES}", "GOFLAGS": ""}
    built = subprocess.run(
        ["go", "build", "-o", str(program), "pion_echo"], cwd=tree, env=env, capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        raise BenchFailed(f"the pion baseline does not compile:\n{built.stderr}")
    return program


@contextmanager
def echo(home: Path, *, graph_port: int) -> Iterator[Stack]:
    """Run it on one processor, as everybody here runs."""
    port = free_port()
    env = {**baseline_settings(graph_port), "PORT": str(port), "GOMAXPROCS": "1"}
    with running(f"pion-{graph_port}", [str(build(home))], env, home, module=False) as server:
        at = f"http://127.0.0.1:{port}/webhook"
        server.await_answer(at)
        yield Stack("pion", at, server, media=server)
