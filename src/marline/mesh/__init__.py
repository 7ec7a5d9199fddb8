"""What the mesh is at one moment: services, endpoints, workloads, and which policy applies to whom.

`Resource`s and `ChangeSet`s come in; an immutable, indexed `MeshSnapshot` goes out, and with each
change an `Impact` that names what it touches. Pure. Imports `api` only.
"""
