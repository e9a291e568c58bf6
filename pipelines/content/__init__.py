"""What the pictures of a pair show, whatever their names say: measured once, for ingest and deblur.

Knows no files and no datasets; takes arrays.
"""
