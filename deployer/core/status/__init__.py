"""What observed objects, responses and logs say about a server."""
