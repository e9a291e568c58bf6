"""``k3dn app``: a page on this machine to drop two views on."""
