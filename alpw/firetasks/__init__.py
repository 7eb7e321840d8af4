"""Firetasks: fetch by id, call one science function, store, return an FWAction. Each may run twice."""
