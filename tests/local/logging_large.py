"""Logs large data as a researcher's program does: python logging_large.py EXPERIMENT_NAME; prints `done` at the end."""

import sys

import mlflow
import pandas

COLUMNS, RECORDS = 5_000, 1_000

mlflow.set_experiment(sys.argv[1])


@mlflow.trace
def echo(text: str) -> str:
    return text


text = "many words, and commas, " * 125_000  # 3 MB
with mlflow.start_run() as run:
    frame = pandas.DataFrame({f"a column with a long name {number}": [1.0] for number in range(COLUMNS)})
    mlflow.log_input(mlflow.data.from_pandas(frame, name="wide"))
    echo(text)
mlflow.flush_trace_async_logging()
trace = mlflow.get_trace(mlflow.get_last_active_trace_id())
assert trace.data.spans[0].outputs == text
(logged,) = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
assert len(logged.dataset.schema) > 300_000, len(logged.dataset.schema)

dataset = mlflow.genai.datasets.create_dataset(name=sys.argv[1], experiment_id=[run.info.experiment_id])
dataset.merge_records(
    [{"inputs": {"question": f"{number}, and so on"}, "expectations": {"n": 1}} for number in range(RECORDS)]
)
assert len(mlflow.genai.datasets.get_dataset(dataset_id=dataset.dataset_id).to_df()) == RECORDS
print("done")
