"""What the platform's speed is measured against: named yardsticks, ratios from one run. See docs/benchmarks.md."""
