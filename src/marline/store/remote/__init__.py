"""A client of any server that speaks the Kubernetes API protocol: ours or kube-apiserver.

A kubeconfig comes in; a `ResourceStore` goes out, and requests in the raw for the command line.
"""
