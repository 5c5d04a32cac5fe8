"""Programs of one file each, which run on their own and are not delivered with the server."""
