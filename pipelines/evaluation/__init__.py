"""What models are worth: measured on held-out pairs, compared, and decided upon by a gate."""
