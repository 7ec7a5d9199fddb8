"""What is wrong or risky in a set of resources, although each of them is valid: `analyze` takes a
`MeshSnapshot` and returns `Finding`s, each with its code, its place, why it matters and how to mend it. Pure.

Codes are Istio's (istio.io, "Configuration Analysis Messages") where the condition is the same; what Istio
does not look at has codes that begin with MAR. A check is a function of the snapshot, in the module of
what it is about; `checks` lists them all.
"""
