"""The commands, a file each. Nothing is imported here, so that `markscheme score` never waits for torch."""
