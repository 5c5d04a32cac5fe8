"""The kubernetes target: runs a server as objects in one namespace of a cluster."""
