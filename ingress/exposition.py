"""What Redis knows of all processes, as Prometheus wants it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.breaker import Trouble
from shared.census import Census, WorkerCensus
from shared.dead import Standing
from shared.page_notes import Note
from shared.quality import Spread
from shared.tally import Tallied
from shared.vitals import Vitals


class Known(NamedTuple):
    """What was read for one scrape."""

    census: Census
    dead: Standing
    troubles: list[Trouble]
    tallied: Tallied
    spreads: dict[str, Spread]
    notes: list[Note]
    vitals: Vitals
    queued: dict[str, int]
    records_due: dict[str, int]


class Exposition(Collector):
    """The metrics of one scrape; without anything known, that Redis is away."""

    def __init__(self, known: Known | None) -> None:
        self._known = known

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics (prometheus_client calls this)."""
        return _families(self._known)


def _families(known: Known | None) -> Iterator[Metric]:
    yield GaugeMetricFamily("pageline_redis_up", "1 while Redis answers.", value=known is not None)
    if known is None:
        return
    workers = known.census.workers
    held, slots = sum(w.held for w in workers), sum(w.capacity or 0 for w in workers)
    yield GaugeMetricFamily("pageline_calls_held", "Calls owned by live media workers.", value=held)
    yield GaugeMetricFamily("pageline_media_slots", "Calls the live media workers can hold.", value=slots)
    yield GaugeMetricFamily("pageline_calls_waiting", "Calls without an owner.", value=known.census.waiting)
    waited = GaugeMetricFamily("pageline_call_waited_seconds", "For how long the most urgent of them has waited.")
    waited.add_metric([], known.census.waited_ms / 1000)
    yield waited
    yield _of_workers(workers)
    closed = CounterMetricFamily("pageline_calls_closed", "Calls closed, by outcome.", labels=["outcome"])
    for outcome, count in sorted(known.census.closed.items()):
        closed.add_metric([outcome], count)
    yield closed
    yield from _of_dead_letters(known.dead)
    yield from _of_graph(known.tallied)
    yield from _of_pages(known.troubles)
    yield _of_notes(known.notes)
    yield _of_records(known.records_due)
    yield from _of_processes(known.vitals)
    yield _of_queues(known.queued)
    yield from _of_calls(known.spreads)


def _of_workers(workers: Iterable[WorkerCensus]) -> Metric:
    """Count media workers: those that take calls, ask for none because they are overloaded, or drain."""
    states = Counter("draining" if w.capacity is None else "taking" if w.capacity else "overloaded" for w in workers)
    family = GaugeMetricFamily("pageline_media_workers", "Live media workers by what they do.", labels=["state"])
    for state in ("taking", "overloaded", "draining"):
        family.add_metric([state], states[state])
    return family


def _of_processes(vitals: Vitals) -> Iterator[Metric]:
    counted = Counter(vital.kind for vital in vitals.living)
    alive = GaugeMetricFamily("pageline_processes", "Processes that were heard of lately.", labels=["kind"])
    memory = GaugeMetricFamily("pageline_process_resident_bytes", "Memory of all of a kind.", labels=["kind"])
    cpu = CounterMetricFamily("pageline_process_cpu_seconds", "Processor time of all of a kind.", labels=["kind"])
    for kind in ("web", "media", "action"):
        alive.add_metric([kind], counted[kind])
        memory.add_metric([kind], sum(vital.rss_bytes for vital in vitals.living if vital.kind == kind))
        cpu.add_metric([kind], vitals.cpu_s.get(kind, 0.0))
    yield from (alive, memory, cpu)
    for name, figures in (
        ("p95", [vital.late_p95_ms for vital in vitals.living if vital.late_p95_ms is not None]),
        ("max", [vital.late_max_ms for vital in vitals.living if vital.late_max_ms is not None]),
    ):
        said = f"How late the 20 ms ticks of the latest media worker ran in 5 s, {name}."
        yield GaugeMetricFamily(f"pageline_media_late_{name}_seconds", said, value=max(figures, default=0.0) / 1000)


def _of_queues(queued: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily("pageline_queue_jobs", "Jobs that wait for an action worker.", labels=["queue"])
    for queue, jobs in queued.items():
        family.add_metric([queue], jobs)
    return family


def _of_dead_letters(dead: Standing) -> Iterator[Metric]:
    buried = CounterMetricFamily("pageline_dead_letters", "Dead letters ever buried, by reason.", labels=["why"])
    for why, count in sorted(dead.buried.items()):
        buried.add_metric([why], count)
    yield buried
    yield GaugeMetricFamily("pageline_dead_letters_kept", "Dead letters to be retried or dropped.", value=dead.kept)
    gone = CounterMetricFamily(
        "pageline_dead_letters_gone", "Dead letters that left: retried, dropped, or overflowed.", labels=["how"]
    )
    for how, count in sorted(dead.gone.items()):
        gone.add_metric([how], count)
    yield gone


def _of_graph(tallied: Tallied) -> Iterator[Metric]:
    actions = CounterMetricFamily("pageline_actions", "Graph actions by how they ended.", labels=["action", "verdict"])
    for (action, verdict), count in sorted(tallied.actions.items()):
        actions.add_metric([action, verdict], count)
    yield actions
    took = HistogramMetricFamily("pageline_graph_seconds", "What Graph's replies took.", labels=["action"])
    for action, latency in tallied.latencies.items():
        took.add_metric([action], latency.buckets, latency.sum_s)
    yield took
    handlers = CounterMetricFamily("pageline_handlers", "Handlers by how they ended.", labels=["how"])
    for how, count in sorted(tallied.handlers.items()):
        handlers.add_metric([how], count)
    yield handlers


def _of_pages(troubles: list[Trouble]) -> Iterator[Metric]:
    tripped = GaugeMetricFamily("pageline_breaker_open", "1 for a Page that Graph refuses.", labels=["page"])
    crowded = GaugeMetricFamily("pageline_graph_usage_percent", "Graph's limits, nearly used up.", labels=["page"])
    for trouble in troubles:
        tripped.add_metric([trouble.page], trouble.tripped)
        if trouble.percent:
            crowded.add_metric([trouble.page], trouble.percent)
    yield from (tripped, crowded)


def _of_notes(notes: list[Note]) -> Metric:
    said = "1 for a Page whose subscription, or call settings, are not at Meta what they should be."
    family = GaugeMetricFamily("pageline_page_adrift", said, labels=["page", "about"])
    for note in notes:
        family.add_metric([note.page, note.about], 1)
    return family


def _of_records(due: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily("pageline_records_waiting", "Call records that a sink is to be given.", labels=["sink"])
    for sink, count in sorted(due.items()):
        family.add_metric([sink], count)
    return family


def _of_calls(spreads: Mapping[str, Spread]) -> Iterator[Metric]:
    for figure, spread in spreads.items():
        said = f"{figure.replace('_', ' ')} of calls that ended (docs/quality.md)."
        yield HistogramMetricFamily(f"pageline_call_{figure}", said, buckets=spread.buckets, sum_value=spread.sum)
