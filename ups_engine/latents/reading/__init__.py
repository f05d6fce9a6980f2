"""Reading caches while training: readers of memory and of files, prefetched batches, completing while reading."""
