"""Time against fidelity, plans and peers beside dense with fewer steps: one run, one document."""
