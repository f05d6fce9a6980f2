"""The step loop of all stages and what it is made of: optimiser, learning rate, moving average, randomness."""
