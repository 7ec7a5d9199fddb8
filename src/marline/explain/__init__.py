"""What would happen to a request, and what a change would do: read from what Envoy is given.

`explain` follows one request through the compiled resources of a proxy (the very messages that Envoy gets)
with an interpreter of Envoy's documented behaviour, and names the resource and field behind each decision.
`diff` compares what proxies have before and after a proposed change, and says what follows from it. What
the interpreter does not know it says (`CannotTell`), rather than guess. A `MeshSnapshot`, `Proxy`s and a
`Request` come in; values of plain text and numbers go out. Pure. Imports `analyze`, `compile`, `mesh` and
`api`.
"""
