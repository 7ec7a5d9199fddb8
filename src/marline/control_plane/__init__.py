"""The running control plane: the rooms wired together.

`python -m marline.control_plane --home PATH` is started by the node agent, which restarts it if it ends.
`wiring` connects the rooms, `endpoints` is what the API server answers besides Kubernetes' paths; no other
logic lives here.
"""
