"""The store of one machine: SQLite underneath, the Kubernetes API protocol on top.

Every write is admitted, committed to disk and only then visible and acknowledged. `EmbeddedStore` is
the way in for the same process, `server.serve` the one for `kubectl` and everybody else.
"""
