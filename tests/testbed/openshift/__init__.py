"""What makes the cluster an OpenShift: Routes and their router, projects, and the security context of their pods."""
