"""The kubernetes target: a server as objects in one namespace of a cluster."""
