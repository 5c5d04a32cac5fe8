"""Object storage by S3: the keys that people already have, and a trial of what a server would use."""
