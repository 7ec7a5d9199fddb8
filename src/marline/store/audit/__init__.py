"""The audit logs: who changed what through the API, and what requests AUDIT policies matched, in files that
show whether anybody has changed them since.

Each record holds the hash of the one before (`records`), so that nothing can be taken out, changed or put in
without breaking the chain; the last hash is kept in the store as well, so that nothing can be cut off at the
end. `log` writes, `reading` reads and verifies; `intake` takes in what proxies have written (`requests`).
Knows nothing of HTTP and of SQLite.
"""
