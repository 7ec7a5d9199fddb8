"""The delta-xDS protocol: a sans-I/O session for one stream, and the gRPC server that drives many.

Requests of an Envoy and new `Blob`s of the compiler come in; responses go out, in make-before-break
order, each step gated on the acknowledgement of the one before. Imports `compile`, `mesh`, `api`.
"""
