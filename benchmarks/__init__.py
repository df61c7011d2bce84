"""What the runtime costs, measured: see benchmarks/README.md."""
