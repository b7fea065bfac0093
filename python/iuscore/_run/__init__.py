"""Helpers of long runs: signals, worker processes, atomic writes, and records in JSON. Private."""
