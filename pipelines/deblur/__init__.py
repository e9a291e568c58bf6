"""``k3dn deblur``: photographs in, sharp photographs out, with all that their files say."""
