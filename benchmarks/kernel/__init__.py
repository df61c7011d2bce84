"""What the actor kernel costs, next to a bare queue: see benchmarks/README.md."""
