"""Servers as processes of this machine (Linux): no container engine, no root."""
