"""What the machine has and uses: memory under all its limits, GPUs. Knows no model and starts no CUDA context."""
