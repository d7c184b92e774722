"""The functions a job may name, and the call of one within its time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

from rq.exceptions import DeserializationError
from rq.job import Job
from rq.timeouts import JobTimeoutException
from rq.utils import import_attribute

from shared.errors import PagelineError

JobFunction: TypeAlias = Callable[..., Awaitable[Any]]


class JobRefused(PagelineError):
    """The job does not name a function this worker runs, or is not JSON. It is never tried again."""


class Repertoire:
    """Every function that a job may name. A name that is not here is refused; nothing is imported to find it."""

    def __init__(self, functions: Mapping[str, JobFunction]) -> None:
        self._functions = dict(functions)

    @classmethod
    def of(cls, names: Iterable[str]) -> "Repertoire":
        """Import functions by their dotted names, which are ours and not from a job."""
        return cls({name: import_attribute(name) for name in names})

    async def perform(self, job: Job, context: Any) -> Any:
        """Call the job's function with the context and the job's arguments, and return its result.

        Raises:
            JobRefused: see there.
            JobTimeoutException: the time limit in the job has passed.
        """
        function = self._resolve(job)
        limit_s = job.timeout if job.timeout and job.timeout > 0 else None
        try:
            async with asyncio.timeout(limit_s) as limit:
                return await function(context, *job.args, **job.kwargs)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise JobTimeoutException(f"{job.func_name} was stopped after {limit_s} s, its timeout") from error

    def _resolve(self, job: Job) -> JobFunction:
        try:
            name = job.func_name
        except DeserializationError:
            raise JobRefused(f"job {job.id} is not JSON; enqueue it with shared.jobs.enqueue") from None
        if isinstance(name, str) and name in self._functions:
            return self._functions[name]
        raise JobRefused(f"{name} is not a function this worker runs; those are {', '.join(sorted(self._functions))}")
