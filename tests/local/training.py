"""A researcher's script with plain mlflow; only environment variables configure it."""

import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

features, labels = load_iris(return_X_y=True)
mlflow.set_experiment("iris")
mlflow.sklearn.autolog(registered_model_name="iris")
with mlflow.start_run() as run:
    trained = LogisticRegression(max_iter=200).fit(features, labels)
client = mlflow.MlflowClient()
version = client.search_model_versions("name='iris'")[0].version
client.set_registered_model_alias("iris", "challenger", version)
loaded = mlflow.sklearn.load_model("models:/iris@challenger")
assert (loaded.predict(features) == trained.predict(features)).all()
found = mlflow.search_runs(experiment_names=["iris"], filter_string="metrics.training_score > 0.5")
assert list(found.run_id) == [run.info.run_id]
assert [model.name for model in client.search_registered_models()] == ["iris"]
print("all done")
