"""Who sends a request: logins, passwords, and the limits of guesses."""
