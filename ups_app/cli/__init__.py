"""One file per group of commands, the frame that runs them, and what they print with."""
