"""Building caches: making a store, encoding what it lacks, and mending it."""
