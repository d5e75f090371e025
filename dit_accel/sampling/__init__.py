"""Images from a pipeline: which model, which solver, which seeds."""
