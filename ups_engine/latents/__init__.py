"""The latent cache: how encoded trajectories are stored, proven, built, checked and read while training.

One folder per encoder, source and split (`location`, `fingerprint`); bytes and their record in `layout`, `store` and
`manifest`; `examine` says what is sound, `build` makes the rest, `check` reports, `residency` and `readers` serve.
"""
