"""Studies: training methods side by side on the embedded policy, each run in a process of its own."""
