"""The settings of a scoring server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """How a scoring server is reached, and what it takes on.

    Raises:
        ValueError: if a setting makes no sense.
    """

    host: str = "127.0.0.1"
    """Address to listen on. One that other machines can reach needs --api-key-variable."""
    port: int = 8000
    """Port to listen on; 0: any that is free."""
    processes: int | None = None
    """Processes that score; by default one a core, and one in all for a reward model, which each has to hold."""
    api_key_variable: str | None = None
    """The environment variable with the key that clients must send as a bearer token."""
    max_body_mb: int = 16
    """MiB that a request may have."""
    max_waiting: int = 10_000
    """Samples that may wait for a process; a request that does not fit is answered by 429."""
    deadline_s: float = 30.0
    """For one sample, once a process has it; then the process is ended, and the sample is undecided. A reward model has
    it for a batch of up to 32, and then for each of them."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port must be between 0 and 65535, got {self.port}")
        for name in ("processes", "max_body_mb", "max_waiting"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not self.deadline_s > 0:
            raise ValueError(f"deadline_s must be above 0, got {self.deadline_s}")
