"""A real single-node Kubernetes cluster, built and started on this machine without Docker; see ../README.md."""
