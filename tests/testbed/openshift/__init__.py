"""The OpenShift parts of the cluster: Routes and a router, projects, and the security context of pods."""
