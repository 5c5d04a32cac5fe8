"""The sizes of request bodies: as sent, decompressed and decoded."""
