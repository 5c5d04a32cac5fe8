"""Programs that run in the MLflow server's Python; they import nothing of deployer.

`launch.py` starts the server, and gets all folders but `programs/` delivered beside it.
"""
