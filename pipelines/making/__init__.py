"""Making a version: the plan, its shards, publishing them."""
