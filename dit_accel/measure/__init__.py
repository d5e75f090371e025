"""What a plan costs and what it keeps: MACs, time, memory, fidelity, and where it was measured."""
