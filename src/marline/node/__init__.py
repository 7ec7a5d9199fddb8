"""What runs on each machine: Envoys and applications, supervised; traffic captured; probes; DNS.

Application files and `run` requests come in; processes, registrations (`WorkloadEntry`) and their
readiness go out, through the API. Every kernel object that it makes (process, network namespace,
nftables table) has one owner that removes it.
"""
