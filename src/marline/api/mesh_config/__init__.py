"""MeshConfig: what holds for the whole mesh, in a ConfigMap as Istio's users have it."""
