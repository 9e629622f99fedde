"""What this workflow does about Snakemake itself."""

import os
from functools import cache, wraps
from typing import Any

_DEFAULT_LIMIT = (100, 1)  # Snakemake's own: jobs started, in so many seconds


def without_polling(workflow: Any) -> None:
    """Let Snakemake choose jobs when one has ended, not every second for each that ever ended.

    Snakemake 9 limits how many jobs start in a second. For that it chooses again a second after each time it
    chose, and so once more in every second from then on: after a hundred jobs a hundred times a second, and
    each time it asks for the sizes of all inputs. In an experiment of 200 jobs that took up to half a core.
    Nothing here comes near the limit, so it is lifted; one that was asked for stays
    (`--max-jobs-per-timespan`).

    Args:
        workflow: Snakemake's, when it has made its scheduler and started no job: `onstart`.
    """
    scheduler: Any = getattr(workflow, "scheduler", None)
    limiter = getattr(scheduler, "job_rate_limiter", None)
    if limiter is not None and (limiter.max_jobs, limiter.timespan) == _DEFAULT_LIMIT:
        scheduler.job_rate_limiter = None


def with_short_planning() -> None:
    """Let Snakemake plan with less: what it has found out already, it does not find out again.

    Three things took a third of the time for thousands of speakers. The job that makes a file was looked for
    whenever another job reads it, though there is a dictionary of known ones to look in: only files that
    nobody makes are entered there. A job was looked at again for each of its files that is read, and all its
    inputs gone through. And to see whether a file is written into a folder that another job makes, all paths
    were sorted; now each file's folders are looked up. What is planned is the same.
    """
    from snakemake.dag import DAG

    if hasattr(DAG.update, "__wrapped__"):
        return
    update, check = DAG.update, DAG.check_directory_outputs

    @wraps(update)
    async def remembering(
        self: Any,
        jobs: Any,
        file: Any = None,
        visited: Any = None,
        known_producers: Any = None,
        **options: Any,
    ) -> Any:
        known = {} if known_producers is None else known_producers
        is_planned = len(jobs) == 1 and jobs[0] in self._dependencies and jobs[0] not in (visited or ())
        producer = jobs[0] if is_planned else await update(self, jobs, file, visited, known, **options)
        if file is not None:
            known[file] = [producer]
        return producer

    @wraps(check)
    def looking_up(self: Any) -> None:
        makers = {os.path.abspath(file): job for job in self.jobs for file in job.output}

        @cache
        def maker_of(folder: str) -> Any:
            """The job that makes this folder or one that it is in."""
            if folder in makers or folder == os.path.dirname(folder):
                return makers.get(folder)
            return maker_of(os.path.dirname(folder))

        if any(maker_of(os.path.dirname(path)) not in (None, job) for path, job in makers.items()):
            check(self)  # it knows what to say

    DAG.update, DAG.check_directory_outputs = remembering, looking_up
