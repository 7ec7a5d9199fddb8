"""Who may do what with the API: Kubernetes' RBAC over the roles and bindings that are stored.

In goes a user and what the user asks (`Attributes`), out comes whether a rule allows it. Knows nothing of
HTTP; may import `marline.store.embedded.state` and what is below it.
"""
