"""How a model gets better: synthesis, trainers, rounds, reports."""
