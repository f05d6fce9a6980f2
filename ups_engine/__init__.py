"""The engine of UPS: data, networks, training, evaluation and runs. It knows nothing of a terminal."""
