"""From the mesh to Envoy's configuration: `(MeshSnapshot, Proxy) → Envoy resources`.

One module per Envoy concept. A builder takes exactly the values that it needs, so its arguments are
the cache key; what it returns is serialised once and shared by every proxy that needs it. Pure: no
I/O, no clock, no state. Imports `mesh` and `api`.
"""
