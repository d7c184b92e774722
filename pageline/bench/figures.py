"""The figures of a run: what one stack did, round by round, and the few numbers a reader needs."""

import math
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec


class Webhooks(msgspec.Struct, frozen=True, kw_only=True):
    """Webhooks that one stack confirmed, per round."""

    stack: str
    keeps: str
    """What is left of an event when the process dies."""
    per_cpu_s: list[float]
    """Webhooks per CPU-second of the web process, one figure per round."""
    per_s: list[float]
    redis_per_cpu_s: list[float]
    """Webhooks per CPU-second of Redis; empty where there is none."""

    def summary(self, against: "Webhooks") -> dict[str, Any]:
        """Return the medians and how this stack compares with another one in the same run."""
        mine, theirs = statistics.median(self.per_cpu_s), statistics.median(against.per_cpu_s)
        redis = statistics.median(self.redis_per_cpu_s) if self.redis_per_cpu_s else None
        return {
            "stack": self.stack,
            "keeps": self.keeps,
            "webhooks_per_cpu_s": round(mine),
            "cpu_us_per_webhook": round(1e6 / mine, 1),
            "redis_cpu_us_per_webhook": None if redis is None else round(1e6 / redis, 1),
            "webhooks_per_s": round(statistics.median(self.per_s)),
            f"times_{against.stack}": round(mine / theirs, 2),
            "rounds": [round(each) for each in self.per_cpu_s],
        }


class Delays(msgspec.Struct, frozen=True):
    """How long one stack took from the webhook to its `accept`, in milliseconds, per round."""

    stack: str
    rounds: list[list[float]]
    unanswered: int = 0

    def summary(self) -> dict[str, Any]:
        """Return the percentiles over all rounds, and each round's median."""
        delays_ms = [delay_ms for each in self.rounds for delay_ms in each]
        percentiles = {f"p{share}_ms": round(percentile(delays_ms, share), 2) for share in (50, 90, 99)}
        return {
            "stack": self.stack,
            "calls": len(delays_ms) + self.unanswered,
            "unanswered": self.unanswered,
            **percentiles,
            "max_ms": round(max(delays_ms), 2),
            "spread_ms": spread(delays_ms),
            "rounds_p50_ms": [round(percentile(each, 50), 2) for each in self.rounds if each],
        }


def spread(values: Sequence[float]) -> list[float]:
    """Return how values are spread: the percentiles 0, 2, 4 … 100, for a curve."""
    return [round(percentile(values, share), 2) for share in range(0, 101, 2)]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` percent of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share / 100 * len(ranked)) - 1)]


def machine() -> dict[str, Any]:
    """Return what a reader must know of the machine and the versions to compare figures."""
    packages = ("uvicorn", "uvloop", "starlette", "fastapi", "pydantic", "rq", "httpx", "aiortc")
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_1min_before": round(os.getloadavg()[0], 2),
        "versions": {name: found for name in packages if (found := _version(name))},
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:
        return None
