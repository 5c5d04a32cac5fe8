"""Writes artifacts of the given sizes with plain mlflow and compares the downloaded files block by block."""

import filecmp
import random
import sys
import tempfile
from pathlib import Path

import mlflow

with tempfile.TemporaryDirectory() as folder, mlflow.start_run() as run:
    for size in map(int, sys.argv[1:]):
        sent, block = Path(folder) / f"{size}.bin", random.Random(size).randbytes(1 << 20)
        with sent.open("wb") as file:
            for start in range(
                0, size, len(block)
            ):  # each block begins with its number, so that no two blocks are equal
                file.write((start.to_bytes(8) + block[8:])[: size - start])
        mlflow.log_artifact(str(sent))
        back = mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path=sent.name, dst_path=f"{folder}/back"
        )
        print("same" if filecmp.cmp(sent, back, shallow=False) else "different", flush=True)
