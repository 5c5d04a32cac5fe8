"""Programs that run in the MLflow server's Python; they import nothing of deployer.

`launch.py` starts the server. deployer copies all folders except `programs/` next to it.
"""
