"""What every job works with; one per action worker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.breaker import Breaker
from shared.bus import Bus
from shared.meta.metrics import Spelling
from shared.outbound import Outbound
from shared.records.sink import Sink
from shared.tally import Tally
from workers.action.graph import Graph


@dataclass
class Desk:
    """The bus, Graph, the Pages' access tokens, and where experiences with Graph are noted."""

    bus: Bus
    graph: Graph
    tokens: Mapping[str, str]
    forward_url: str = ""
    media_version_start: int = 0
    """See `shared.calls.changing`."""
    metrics_spelling: Spelling = "sec"
    look_again: Callable[[], None] = lambda: None
    """Reads the tokens again, where they are kept in files that have changed."""
    sinks: tuple[Sink, ...] = ()
    """Where call records go."""
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        """Make what is on the same wire."""
        self.breaker = Breaker(self.bus.wire)
        self.outbound = Outbound(self.bus)
