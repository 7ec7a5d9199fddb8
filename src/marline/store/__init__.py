"""Where resources live: `ResourceStore` and its homes.

`embedded` keeps them in SQLite and serves the Kubernetes API protocol over HTTPS; `remote` is a client
of any server that speaks that protocol, kube-apiserver or our own. Imports `api` only (and `mesh` for
`ChangeSet`).
"""
