"""What is told of a call once it is closed: its canonical line, its trace, and its figures among those of all."""

from shared import log
from shared.calls.canonical import canonical, handlers_ended, waited
from shared.tally import Tally
from workers.media.holding import Holding
from workers.media.sampler import Sampler
from workers.media.tracing import Tracing


class Endings:
    """Tells of the calls that this worker closes. Who dies in between tells nothing; the call's log still does."""

    def __init__(self, sampler: Sampler, tracing: Tracing | None) -> None:
        self._sampler = sampler
        self._tracing = tracing
        self.tally = Tally()
        self._log = log.get()

    def tell(self, held: Holding, *, worker: str) -> None:
        """Tell of a call whose log ends with `Closed`, which this worker wrote."""
        call_id, told = held.performer.call_id, [entry.fact for entry in held.log]
        try:
            self._sampler.ended(held.sounded())
            line = canonical(call_id, told, worker=worker, pseudonym=log.pseudonym)
            self._sampler.took(waited(told, line["answer_ms"]))
            for how in handlers_ended(told):
                self.tally.handler_ended(how)
            self._log.info("call.summary", **line)
            if self._tracing is not None:
                self._tracing.tell(call_id, told, line)
        except Exception:  # noqa: BLE001 logged: the call has ended as it should, and what is left of it has to be let go
            self._log.exception("call.untold", call=call_id)
