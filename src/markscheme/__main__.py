"""`python -m markscheme`, which torchrun can start: `torchrun --nproc-per-node 2 -m markscheme grpo ...`."""

from markscheme.cli import main

if __name__ == "__main__":
    main()
