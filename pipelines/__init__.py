"""The steps of the pipeline on Ray Data, Ray Train and MLflow, and the ``k3dn`` command."""
