"""Pair records, dataset versions, and the steps that write them: ingest, synth, regenerate."""
