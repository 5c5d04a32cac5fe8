"""The places where this user's MLflow clients find a login: the credentials file and the system's keyring."""
