"""The latent cache: how encoded trajectories are stored, proven, built, checked and read while training.

One folder per encoder, source and split (`location`, `fingerprint`); bytes and their record in `layout`, `store` and
`manifest`; `checking` says what is sound, `building` makes the rest, `reading` serves, in the memory that `residency`
chooses. `stages.caches` does all of it for a run.
"""
