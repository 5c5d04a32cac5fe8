"""Writes artifacts of the given sizes with plain mlflow and compares what comes back, block by block."""

import filecmp
import random
import sys
import tempfile
from pathlib import Path

import mlflow

with tempfile.TemporaryDirectory() as folder, mlflow.start_run() as run:
    for size in map(int, sys.argv[1:]):
        sent, chance = Path(folder) / f"{size}.bin", random.Random(size)
        with sent.open("wb") as file:
            for start in range(0, size, 1 << 20):
                file.write(chance.randbytes(min(1 << 20, size - start)))
        mlflow.log_artifact(str(sent))
        back = mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path=sent.name, dst_path=f"{folder}/back"
        )
        print("same" if filecmp.cmp(sent, back, shallow=False) else "different", flush=True)
