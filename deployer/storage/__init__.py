"""Access to external storage: finds existing S3 keys, and tries S3 services and databases."""
