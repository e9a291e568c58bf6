"""Networks of others, written from their papers, to compare K3DN with at equal cost.

They go through the door that every network goes through, ``package.module:factory``:

    k3dn train model=k3dn.baselines.dpdnet:dpdnet network.width=16
    k3dn train model=k3dn.baselines.nafnet:nafnet network.width=16
"""
