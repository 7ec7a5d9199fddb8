"""SPIFFE identity: the certificate authority, X.509-SVIDs and their rotation, delivery over SDS and the
Workload API, JWT-SVIDs, the bundles of other trust domains. And the key sets of those who issue tokens to end
users.

Certificate signing requests and the time come in; certificates, trust bundles and SDS secrets go out.
Private keys are made where they are used and never travel. Imports nothing else of Marline but, from
`compile`, the names by which Envoy's configuration refers to its secrets, and, from `api` and `mesh`, what a
key set is and where it is to be had.
"""
