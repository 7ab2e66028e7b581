"""Received instances as durable files."""
