"""Rule-based verifiers."""
