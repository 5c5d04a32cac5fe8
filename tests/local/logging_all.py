"""Uses MLflow as a researcher's program does: python logging_all.py EXPERIMENT_NAME; prints `done` at the end."""

import sys

import mlflow
from mlflow import MlflowClient


class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


@mlflow.trace
def double(number: int) -> int:
    return number * 2


name = sys.argv[1]
client = MlflowClient()
mlflow.set_experiment(name)
with mlflow.start_run() as run:
    mlflow.log_metric("m", 1.0)
    mlflow.log_text("some text", "folder/file.txt")
    logged = mlflow.pyfunc.log_model(
        name="model", python_model=Model(), registered_model_name=f"{name}-registered", pip_requirements=["mlflow"]
    )
assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/folder/file.txt") == "some text"

versions = [
    mlflow.register_model(f"models:/{logged.model_id}", f"{name}-of-model"),
    mlflow.register_model(f"models:/{name}-registered/1", f"{name}-copied"),
    client.copy_model_version(f"models:/{name}-registered/1", f"{name}-promoted"),
]
for source in (f"runs:/{run.info.run_id}/folder", f"{run.info.artifact_uri}/folder"):
    client.create_registered_model(f"{name}-{source[:4]}")
    versions.append(client.create_model_version(f"{name}-{source[:4]}", source, run.info.run_id))
assert mlflow.pyfunc.load_model(f"models:/{name}-promoted/1").predict([1]) == [1]
for version in versions:
    client.delete_model_version(version.name, version.version)

mlflow.genai.register_prompt(f"{name}-prompt", "Say {{word}}")
assert mlflow.genai.load_prompt(f"prompts:/{name}-prompt/1").format(word="yes") == "Say yes"

assert double(21) == 42
mlflow.flush_trace_async_logging()
trace = mlflow.get_trace(mlflow.get_last_active_trace_id())
assert trace.data.spans[0].outputs == 42
client.set_trace_tag(trace.info.trace_id, "reviewed", "yes")
client.delete_traces(trace.info.experiment_id, trace_ids=[trace.info.trace_id])
print("done")
