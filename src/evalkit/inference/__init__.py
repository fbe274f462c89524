"""Inference written once, for every estimate."""
