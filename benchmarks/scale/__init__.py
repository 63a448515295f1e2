"""Measures `tow connect` in a cluster that is as large as a cluster gets."""
