"""Settings: the schema, the layers that fill it, where every value came from, and the archive of a run's settings."""
