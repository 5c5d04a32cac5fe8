"""What a user asks for: the spec, its file, and the platforms that it may name."""
