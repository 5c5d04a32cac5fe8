"""Programs that run in the MLflow server's Python; they import nothing of deployer.

`launch.py` starts the server. deployer delivers this whole package, except `programs/`, to the server.
"""
