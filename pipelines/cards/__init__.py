"""Model cards, and the weights in the box that they describe."""
