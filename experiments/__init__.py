"""Programs that run solvers, write records and render: validation, campaigns, benchmarks."""
