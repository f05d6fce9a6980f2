"""Losses: plain functions of tensors in `functions`, and the terms that are made of them in `terms`."""
