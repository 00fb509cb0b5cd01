"""The embedded policy."""
