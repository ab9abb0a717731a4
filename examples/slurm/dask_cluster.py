"""Workers for `vsuda ... --dask FILE`, started as SLURM jobs and stopped when nobody needs them.

    python dask_cluster.py scheduler.json --partition cpu --most 20

needs `pip install 'vsuda[dask]' dask-jobqueue`. It runs until it is interrupted, on a login node or
in a small job of its own, and keeps between one and `--most` worker jobs, as many as there are
cases waiting.
"""

import argparse
import json
import signal
from pathlib import Path

from dask_jobqueue import SLURMCluster


def main() -> None:
    """Start the scheduler, write its address to the file, and wait to be interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="where vsuda finds the scheduler")
    parser.add_argument("--partition", help="SLURM partition of the worker jobs")
    parser.add_argument("--account", help="SLURM account that pays for them")
    parser.add_argument("--most", type=int, default=10, help="worker jobs at most")
    parser.add_argument("--memory", default="8GB", help="memory of each; a case beyond it fails")
    parser.add_argument("--time", default="02:00:00", help="time limit of each")
    parser.add_argument("--interface", help="network that nodes share, such as ib0; see `ip addr`")
    words = parser.parse_args()
    cluster = SLURMCluster(
        queue=words.partition,
        account=words.account,
        # A worker process takes one case at a time.
        processes=1,
        cores=1,
        memory=words.memory,
        walltime=words.time,
        interface=words.interface,
    )
    cluster.adapt(minimum_jobs=1, maximum_jobs=words.most)
    words.file.write_text(json.dumps({"address": cluster.scheduler_address}))
    print(f"vsuda COMMAND ... --dask {words.file}", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        cluster.close()
    finally:
        words.file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
