"""A run from beginning to end: its plan, the forecast of what it will need, its stages, its commands, its return."""
