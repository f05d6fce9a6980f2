"""What state caches are in: the judgement of each trajectory, encoding a sample anew, and the report."""
