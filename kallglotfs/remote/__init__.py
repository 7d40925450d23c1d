"""The network: sessions, API, budget, leases, storage. The only package that speaks HTTP."""
