"""What this user's MLflow clients read their login from: the credentials file, and the system's keyring."""
