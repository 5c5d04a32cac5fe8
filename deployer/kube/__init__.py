"""HTTP to a Kubernetes API server. Only this package imports the Kubernetes client."""
