"""What goes wrong, when, and for how long: drawn from the seed, over before the settling begins."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final

from tests.simulation import processes
from tests.simulation.cable import Weather
from tests.simulation.graph import Temper
from tests.simulation.postman import Manners
from tests.simulation.processes import SETTINGS, Machine
from tests.simulation.queues import ignore
from tests.simulation.world import World

OUTAGES: Final = "outages"
"""Redis is away for everybody, and nothing else is wrong."""
KINDS: Final = (
    "calm",
    "media",
    "media",
    "action",
    "graph",
    "redis",
    "redis",
    OUTAGES,
    "frozen",
    "media and graph",
    "orphans",
    "doubt",
    "storm",
    "storm",
)

STARTED_S: Final = 3.0
"""What a process takes to be useful again."""
NEXT_ATTEMPT_S: Final = 12.0
"""What passes between two attempts at a farewell, at the most."""
JOB_AGAIN_S: Final = 8.0
"""What passes before a dead action worker's job is run again, at the most."""
ORPHANED_FOR_S: Final = SETTINGS.lease_seconds + 8.0
"""Others have the calls of a lost worker by then, and what it ordered was tried again since."""


class Troubles:
    """The troubles of one run, and until when they excuse that a consumer hears nothing."""

    def __init__(self, world: World, machines: Sequence[Machine]) -> None:
        self.kind = ""
        self._excuse_until_s = 0.0
        self._world = world
        self._machines = machines
        self._chance = world.chance

    def plan(self, for_s: float, moments_s: Sequence[float]) -> None:
        """Draw them all, most of them soon after the moments at which calls begin."""
        chance = self._chance
        self.kind = kind = self._world.plant.kind or chance.choice(KINDS)
        self._world.trace.note(f"seed {self._world.seed}: {kind}", who="plan")
        self._world.postman.manners = Manners(late=0.2, latest_s=4.0, together=0.2, twice=0.2, lost_answer=0.05)
        if kind == "calm":
            return
        many = chance.randint(1, 3) if chance.random() < 0.5 else chance.randint(4, 12)
        for _ in range(many):
            soon_s = chance.choice(moments_s) + chance.choice((chance.uniform(0.0, 1.0), chance.uniform(0.0, 8.0)))
            self._world.outside(soon_s if chance.random() < 0.7 else chance.uniform(0.5, for_s), self._strike, kind)

    def excuse_until_s(self) -> float:
        """Return until when what went wrong so far excuses silence."""
        return min(self._excuse_until_s, self._world.loop.time())

    def _excuse(self, for_s: float) -> None:
        """Excuse silence for that long from now on."""
        self._excuse_until_s = max(self._excuse_until_s, self._world.loop.time() + for_s)

    def end(self) -> None:
        """Let everything be well."""
        world = self._world
        world.trace.note("troubles are over", who="plan")
        for calm, state in ((Weather(), world.weather), (Temper(), world.temper), (Manners(), world.postman.manners)):
            _copy(calm, state)
        world.queues.on_order = ignore
        for machine in self._machines:
            machine.thaw()
            if machine.line is not None:
                machine.line.cut_until_s = 0.0
                machine.line.fuse = 0

    # -- strokes -----------------------------------------------------------------------------------------------------

    def _strike(self, kind: str) -> None:
        chance = self._chance
        strokes: dict[str, tuple[Callable[[], None], ...]] = {
            "media": tuple(
                self._on(processes.media, do)
                for do in (self._kill, self._freeze, self._deploy, self._light, self._light)
            ),
            "action": tuple(
                self._on(processes.action, do) for do in (self._kill, self._freeze, self._light, self._light)
            ),
            "graph": (self._graph_ails, self._graph_ails, self._media_ails),
            "redis": (self._redis_ails, self._redis_goes, self._on(None, self._cut), self._on(None, self._cut)),
        }
        strokes[OUTAGES] = (self._redis_goes, self._redis_flaps, self._redis_flaps)
        strokes["frozen"] = (self._on(processes.media, self._freeze),)
        strokes["orphans"] = (self._orphan,)
        strokes["doubt"] = (self._doubt,)
        strokes["media and graph"] = strokes["media"] + strokes["graph"]
        strokes["storm"] = (
            *(stroke for several in tuple(strokes.values()) for stroke in several),
            self._on(processes.web, self._kill),
            self._on(processes.web, self._freeze),
        )
        chance.choice(strokes[kind])()

    def _on(self, life: processes.Life | None, do: Callable[[Machine], None]) -> Callable[[], None]:
        def stroke() -> None:
            do(self._chance.choice([each for each in self._machines if life is None or each.life is life]))

        return stroke

    def _kill(self, machine: Machine) -> None:
        again_after_s = self._chance.choice((0.5, self._chance.uniform(0.5, 15.0)))
        machine.kill("SIGKILL", again_after_s=again_after_s)
        self._excuse_absence(machine, again_after_s)

    def _light(self, machine: Machine) -> None:
        """Have the process killed or frozen right after one of its next steps."""
        if machine.line is None:
            return
        machine.line.fuse = self._chance.randint(1, 25)
        fate = self._kill if self._chance.random() < 0.7 else self._freeze
        machine.line.on_burnt = lambda: fate(machine)

    def _freeze(self, machine: Machine) -> None:
        self._freeze_for(machine, self._chance.choice((0.3, 2.0, 5.5, 7.0, self._chance.uniform(1.0, 25.0))))

    def _freeze_for(self, machine: Machine, for_s: float) -> None:
        machine.freeze()
        self._world.outside(for_s, machine.thaw)
        self._excuse_absence(machine, for_s)

    def _doubt(self) -> None:
        """Have Graph carry out everything and tell nobody."""
        temper = self._world.temper
        temper.lost_reply, temper.broken_after_acting = self._chance.choice(((1.0, 0.0), (0.0, 1.0)))
        self._for_a_while(temper, "lost_reply", "broken_after_acting", at_most_s=6.0)

    def _orphan(self) -> None:
        """Have whoever gives the next order lose its calls while Graph, out of reach, keeps the order waiting."""
        self._world.temper.refused = 1.0
        self._for_a_while(self._world.temper, "refused", at_least_s=ORPHANED_FOR_S)
        self._world.queues.on_order = self._orphaned

    def _orphaned(self, call_id: str) -> None:
        self._world.queues.on_order = ignore
        owner = self._world.watch.stories[call_id].owner
        for machine in self._machines:
            if machine.process is not None and machine.process.name == owner:
                self._world.outside(0, self._lose, machine)

    def _lose(self, machine: Machine) -> None:
        """Have a media worker away for longer than its lease."""
        if self._chance.random() < 0.5:
            self._kill(machine)
        else:
            self._freeze_for(machine, self._chance.uniform(SETTINGS.lease_seconds + 1.0, 25.0))

    def _excuse_absence(self, machine: Machine, for_s: float) -> None:
        """Excuse that a process is away: one of several media workers is missed by nobody."""
        others = [each for each in self._machines if each.life is machine.life and each is not machine]
        if machine.life is processes.action:
            self._excuse(for_s + JOB_AGAIN_S)
        elif any(each.process is not None and not each.process.frozen for each in others):
            self._excuse(0)
        else:
            self._excuse(for_s + STARTED_S)

    def _deploy(self, machine: Machine) -> None:
        if machine.stop is None or machine.process is None:
            return
        self._world.trace.note(f"{machine.process} gets SIGTERM", who="machine")
        machine.process.context.run(machine.stop.set)

    def _cut(self, machine: Machine) -> None:
        if machine.line is None:
            return
        for_s = self._chance.choice((0.5, 3.0, 8.0, self._chance.uniform(0.5, 20.0)))
        self._world.trace.note(f"{machine.process} is cut off from Redis for {for_s:.1f} s", who="weather")
        machine.line.cut_until_s = self._world.loop.time() + for_s
        self._excuse(for_s + (JOB_AGAIN_S if machine.life is processes.action else STARTED_S))

    def _redis_goes(self) -> None:
        self._redis_away(self._chance.choice((0.3, 4.0, self._chance.uniform(1.0, 30.0))))

    def _redis_flaps(self) -> None:
        """Have Redis away for too short to tell it from one worker's trouble, and again."""
        again_after_s = 0.0
        for _ in range(self._chance.randint(1, 3)):
            for_s = self._chance.uniform(0.3, SETTINGS.lease_seconds / 2)
            self._world.outside(again_after_s, self._redis_away, for_s)
            again_after_s += for_s + self._chance.uniform(0.0, 2.0)

    def _redis_away(self, for_s: float) -> None:
        self._world.trace.note(f"Redis is away for {for_s:.1f} s", who="weather")
        self._world.weather.down_until_s = self._world.loop.time() + for_s
        self._excuse(for_s + STARTED_S)
        for machine in self._machines:
            if machine.line is not None:
                for cable in machine.line.cables:
                    cable.hang_up()

    def _redis_ails(self) -> None:
        chance, weather = self._chance, self._world.weather
        weather.lost_request = chance.choice((0.0, 0.03))
        weather.lost_reply = chance.choice((0.0, 0.03, 0.1))
        weather.arrives_late = chance.choice((0.0, 0.0, 0.5))
        weather.slow, weather.slowest_s = chance.choice(((0.0, 0.0), (0.2, 0.3), (0.1, 3.0)))
        self._for_a_while(weather, "lost_request", "lost_reply", "arrives_late", "slow")

    def _graph_ails(self) -> None:
        chance, temper = self._chance, self._world.temper
        names = [each.name for each in fields(temper)]
        for name in chance.sample(names, chance.randint(1, 3)):
            setattr(temper, name, chance.choice((0.2, 0.6, 1.0)))
        self._for_a_while(temper, *names)

    def _media_ails(self) -> None:
        chance, air = self._chance, self._world.air
        air.no_offer, air.no_connection, air.answer_refused, air.goodbye_lost = (
            chance.choice((0.0, 0.5)) for _ in range(4)
        )
        self._for_a_while(air, "no_offer", "no_connection", "answer_refused", "goodbye_lost")

    def _for_a_while(self, state: Any, *names: str, at_least_s: float = 1.0, at_most_s: float = 20.0) -> None:
        """Set the named rates back to 0 after a while."""
        told = ", ".join(f"{name} {getattr(state, name)}" for name in names if getattr(state, name))
        self._world.trace.note(f"for a while: {told or 'nothing'}", who="weather")

        def be_well() -> None:
            for name in names:
                setattr(state, name, 0.0)

        for_s = self._chance.uniform(at_least_s, at_most_s)
        self._world.outside(for_s, be_well)
        self._excuse(for_s + NEXT_ATTEMPT_S)


def _copy(calm: Any, state: Any) -> None:
    for each in fields(calm):
        setattr(state, each.name, getattr(calm, each.name))
