"""The local target: runs servers as processes of this machine (Linux), without a container engine or root."""
