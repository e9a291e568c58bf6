"""From sharp photographs and RGB-D scenes to weights, by one command."""
