"""The run directory, which is all that a run and its watchers share: lease, events, commands, checkpoints.

Only `checkpoints`, with `resume` and `tensor_file` under it, imports torch; the rest answers from a few files, at once.
"""
