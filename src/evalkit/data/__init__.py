"""Contracts, sources and catalogues: how tables come in."""
