"""``k3dn split``: a camera's dual-pixel raw file to the two views that ``k3dn deblur`` takes."""
