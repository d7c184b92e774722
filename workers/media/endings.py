"""What is told of a call once it is closed: its canonical line, and its figures among those of all."""

from shared import log
from shared.calls.canonical import canonical
from workers.media.holding import Holding
from workers.media.sampler import Sampler


class Endings:
    """Tells of the calls that this worker closes. Who dies in between tells nothing; the call's log still does."""

    def __init__(self, worker: str, sampler: Sampler) -> None:
        self._worker = worker
        self._sampler = sampler
        self._log = log.get()

    def tell(self, held: Holding) -> None:
        """Tell of a call whose log ends with `Closed`."""
        told = [entry.fact for entry in held.log]
        self._sampler.ended(held.sounded())
        line = canonical(held.performer.call_id, told, worker=self._worker, pseudonym=log.pseudonym)
        self._log.info("call.summary", **line)
