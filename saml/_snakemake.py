"""What this workflow does about Snakemake itself."""

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
