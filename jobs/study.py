"""What `ray job submit` runs: `wetakd run` with the same arguments, on the cluster that runs the job.

    ray job submit --working-dir . -- python jobs/study.py jobs/cifar10.yaml --set storage=s3://bucket/wetakd

Ray names the cluster in RAY_ADDRESS, and the study joins it. Storage must outlive the job, so a relative path is
refused; WETAKD_STORAGE and MLFLOW_TRACKING_URI in the job's environment stand above the file. Exit codes are those of
`wetakd run`: 0 done, 1 our own fault or work that failed, 2 the user's mistake, 130 interrupted, 141 the
reader of the output left before its end, 143 ended by SIGTERM.
"""

from __future__ import annotations

import sys

from wetakd.commands.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["run"]
    main()
