"""Rows without padding that hold a prompt once for all that follows it: what every trainer here runs on."""
