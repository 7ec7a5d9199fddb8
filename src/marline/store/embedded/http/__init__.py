"""The Kubernetes API protocol: requests in, objects, tables, watch streams and `Status` errors out.

Nothing here knows how objects are kept or what may be written; that is `objects` one level up.
"""
